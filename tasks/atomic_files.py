"""Whole files, written so that nobody ever reads half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object], *, durable: bool = False) -> None:
    """Have `write` fill a file beside `path`, then put it in `path`'s place in one step. A missing folder is made.

    The name beside it begins with a dot and is like no other, so that two processes may write one path at once: the last
    one to end is the one that is read. Where `write` fails, what was at `path` stays.

    Args:
        path: Where the file is to lie.
        write: Called with the path of the file to fill, which exists and is empty.
        durable: Whether the bytes must have reached the disk before the file is at its place.

    Raises:
        OSError: Where the folder takes no file, for example because the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    unfinished = Path(name)
    try:
        write(unfinished)
        os.chmod(unfinished, 0o666 & ~_umask())  # as an ordinary file's: mkstemp's is for the owner alone
        if durable:
            _flush(unfinished)
        unfinished.replace(path)
        if durable:
            _flush(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def write_bytes_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write these bytes as `write_atomically` does. Raises OSError."""
    write_atomically(path, lambda unfinished: unfinished.write_bytes(content), durable=durable)


def write_text_atomically(path: Path, text: str, *, durable: bool = False) -> None:
    """Write this text as UTF-8, as `write_atomically` does. Raises OSError."""
    write_bytes_atomically(path, text.encode(), durable=durable)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """The process' mask; there is no way to read it but to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask

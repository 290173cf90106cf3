"""A write-ahead journal: records on disk within a second, whole or not at all, until they are published elsewhere.

A segment is one file of frames, each with its length and CRC-32, fsynced as it is written. A process that dies leaves
its segments; what it was writing ends in a torn frame, which is left out when they are read. Segments belong to whoever
holds their folder's lock, so that a successor takes over only what nobody writes any more.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

SUFFIX = ".journal"
MAGIC = b"penstock journal 1\n"
_HEAD = 8  # bytes: length and CRC-32 of a frame


class WriteAheadLog:
    """Writes segments into a folder of its own; not for several threads at once."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / "lock", thread_local=False)
        self._lock.acquire(timeout=0)
        self._file: BinaryIO | None = None
        self._count = 0

    def append(self, payload: bytes) -> None:
        """Write a frame; it is on the disk when this returns. Raises OSError, and then nothing of it stays."""
        if self._file is None:
            self._file = self._begin()
        start = self._file.tell()
        try:
            head = len(payload).to_bytes(4, "big") + zlib.crc32(payload).to_bytes(4, "big")
            _write_all(self._file, head + payload)
            os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):
                self._file.truncate(start)
                self._file.seek(start)
            raise

    def _begin(self) -> BinaryIO:
        self._count += 1
        path = self.folder / f"{self.folder.name}-{self._count:06d}{SUFFIX}"
        file = path.open("xb", buffering=0)
        try:
            _write_all(file, MAGIC)
            _sync(self.folder)
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        return file

    def rotate(self) -> None:
        """End the segment being written; the next records begin another."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def closed(self) -> list[Path]:
        """Segments that are complete, oldest first."""
        current = Path(self._file.name) if self._file else None
        return [path for path in list_segments(self.folder) if path != current]

    def close(self) -> None:
        """End the segment and give up the folder."""
        self.rotate()
        self._lock.release()


def list_segments(folder: Path) -> list[Path]:
    """Segments of a folder, oldest first.

    Args:
        folder: Folder of one log.

    Returns:
        Paths of the segments.
    """
    return sorted(folder.glob(f"*{SUFFIX}"))


def abandoned_logs(folder: Path) -> Iterator[Path]:
    """Folders of processes that are gone, each locked while the caller looks at it, and removed once it is empty.

    Args:
        folder: Folder of all logs of this machine.

    Yields:
        One folder at a time.
    """
    for each in sorted(path for path in folder.glob("*") if path.is_dir()):
        lock = FileLock(each / "lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            yield each
        finally:
            empty = not list_segments(each)
            lock.release()
            if empty:
                (each / "lock").unlink(missing_ok=True)
                with suppress(OSError):
                    each.rmdir()


def read(path: Path) -> list[bytes]:
    """The frames of a segment, up to the first that is not whole."""
    data = path.read_bytes()
    frames: list[bytes] = []
    at = len(MAGIC) if data.startswith(MAGIC) else len(data)
    while at + _HEAD <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        checksum = int.from_bytes(data[at + 4 : at + 8], "big")
        payload = data[at + _HEAD : at + _HEAD + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            break
        frames.append(payload)
        at += _HEAD + length
    return frames


def _write_all(file: BinaryIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

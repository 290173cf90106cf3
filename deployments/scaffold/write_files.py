"""Files written whole or not at all: each beside its place first, then all put in place by renames."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from schemas.errors import UsageError


def write_all(files: Mapping[Path, str]) -> None:
    """Write texts to their paths, over what is there. Raises UsageError, with nothing written, where one cannot be."""
    beside: dict[Path, str] = {}
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            beside[path] = _write_beside(path, text)
        for path, temporary in beside.items():
            os.replace(temporary, path)
    except OSError as error:
        raise UsageError(f"{error.filename or path}: cannot be written ({error.strerror or error})") from None
    finally:
        for temporary in beside.values():
            Path(temporary).unlink(missing_ok=True)


def _write_beside(path: Path, text: str) -> str:
    number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(number, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, 0o666 & ~mask)
    return temporary

"""Files that have landed as <landing>/<use case>/<input>/<name>: which there are, whose they are, which are whole.

A folder named <name>.parquet is one delivery, like a file.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import UsageError
from schemas.refs import Sha256
from schemas.usecase import registered, resolve
from tasks.parsing import fingerprint, is_parquet_folder

SUCCESS = "_SUCCESS"
UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", "~")
QUIET_SECONDS = 2.0  # for which a file is unchanged where nobody can tell whether it is still being written


@dataclass(frozen=True)
class LandedFile:
    """A file that has landed: whose it is, and its path below the use case's landing folder."""

    use_case: str
    input: str
    source: str
    path: Path

    def sha256(self) -> Sha256:
        """Hash of its bytes, by which it is known from now on. Raises UsageError where it cannot be read."""
        return fingerprint(self.path).sha256


def locate_landed(folder: Path, path: Path) -> LandedFile:
    """Which use case and input a landed file belongs to.

    Args:
        folder: The landing folder.
        path: The file.

    Returns:
        The file with its use case, its input, and its path below the use case's folder.

    Raises:
        UsageError: It lies elsewhere, or under a use case or an input that is not there.
    """
    try:
        use_case, name, *_, _ = relative = path.relative_to(folder).parts
    except ValueError:
        raise UsageError(f"{path}: files land as {folder}/<use case>/<input>/<name>") from None
    if use_case not in registered():
        known = ", ".join(sorted(registered())) or "none"
        raise UsageError(f"{path}: no use case {use_case!r} is registered; there are: {known}")
    resolve(use_case).input(name)
    return LandedFile(use_case, name, "/".join(relative[1:]), path)


def scan_landing_zone(folder: Path) -> list[Path]:
    """Every file that has landed, the oldest first; names of files in the making are left out.

    Args:
        folder: The landing folder.

    Returns:
        Paths of the files.
    """
    files = [path for path in folder.glob("*/*/**/*") if is_delivery(folder, path) and path.is_file()]
    return sorted({delivery_of(folder, path) for path in files}, key=arrived_at)


def delivery_of(folder: Path, path: Path) -> Path:
    """What a landed file belongs to: itself, or the folder of Parquet files that it lies in.

    Args:
        folder: The landing folder.
        path: A file below it.

    Returns:
        The file or the folder.
    """
    for end in range(2, len(path.relative_to(folder).parts) - 1):
        around = folder.joinpath(*path.relative_to(folder).parts[: end + 1])
        if is_parquet_folder(around):
            return around
    return path


def is_delivery(folder: Path, path: Path) -> bool:
    """Whether a path may be a delivery: not hidden, and not named as programs name what they are still writing.

    Args:
        folder: The landing folder.
        path: A path below it.

    Returns:
        Whether it may be one.
    """
    parts = path.relative_to(folder).parts if path.is_relative_to(folder) else (".",)
    return not any(part.startswith(".") or part.endswith(UNFINISHED) for part in parts)


def arrived_at(path: Path) -> tuple[int, str]:
    """What arrivals are sorted by."""
    try:
        return path.stat().st_mtime_ns, str(path)
    except OSError:
        return time.time_ns(), str(path)


def being_written(path: Path) -> bool | None:
    """Whether somebody has the file open to write it; None where that cannot be told (not our file, a network drive).

    Args:
        path: Where the file lies.

    Returns:
        True, False, or None where that cannot be told: of a folder, whose writer may be between two files, unless a file
        `_SUCCESS` says that it is done.
    """
    if path.is_dir():
        if any(being_written(each) for each in path.rglob("*") if each.is_file()):
            return True
        return False if (path / SUCCESS).exists() else None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # the kernel grants it only where there is no writer
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)
    return False


class SettlingFiles:
    """Files that have been seen, until they are whole: nobody writes them, and size and time stand still."""

    def __init__(self, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._quiet_seconds = quiet_seconds
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}

    def observe(self, paths: Iterable[Path]) -> None:
        """Files that are new or have changed."""
        for path in paths:
            self._seen.pop(path, None)
            self._seen[path] = ((-1, -1), 0.0)

    def pop_complete(self) -> list[Path]:
        """Files that are whole by now, in the order of their arrival; each is named once."""
        ready = [path for path in list(self._seen) if self._is_complete(path)]
        for path in ready:
            self._seen.pop(path)
        return sorted(ready, key=arrived_at)

    def _is_complete(self, path: Path) -> bool:
        try:
            now, state = time.monotonic(), _state(path)
        except OSError:
            self._seen.pop(path)  # it went away: nothing has landed
            return False
        before, since = self._seen[path]
        if state != before:
            self._seen[path] = (state, now)
            return False
        written = being_written(path)
        if written:
            self._seen[path] = (state, now)
        return written is False or (written is None and now - since >= self._quiet_seconds)


def _state(path: Path) -> tuple[int, int]:
    """Size and time of the last change, of a folder over all its files."""
    each = [file.stat() for file in ([path, *path.rglob("*")] if path.is_dir() else [path])]
    return sum(status.st_size for status in each), max(status.st_mtime_ns for status in each)

"""Files that are there whole or not at all, even after a power cut, and the content-addressed data files of a repository.

A file is written under a temporary name, fsynced, renamed and its folder fsynced. A temporary file is flocked by its
writer as long as that lives, so that the next process can tell what a dead one left behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from schemas.errors import IntegrityError, StoreError, UsageError
from tasks.temp_files import FULL

_CHUNK = 1 << 20
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")


@contextmanager
def reporting(action: str) -> Iterator[None]:
    """Turn what the operating system refuses into a StoreError of one line."""
    try:
        yield
    except OSError as error:
        mend = "free some space" if error.errno in FULL else "check that its folder is there and can be written"
        raise StoreError(f"cannot {action}: {error.strerror or error}; {mend}, then run it again") from error


def sync_folders(folders: Iterable[Path]) -> None:
    """Make the names in these folders durable."""
    for folder in sorted(set(folders)):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_below(folder: Path) -> None:
    """Make a folder and all that is in it durable."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folders(folders)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folders([folder.parent])


class Drafts:
    """The folder of temporary files; it lies on the same file system as their destinations."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def new(self, mode: int) -> Iterator[tuple[BinaryIO, Path]]:
        """An open file that no other process takes for a dead one; whatever was not renamed goes away at the end."""
        file, path = self._open(mode)
        try:
            with file:
                yield file, path
        finally:
            path.unlink(missing_ok=True)

    def _open(self, mode: int) -> tuple[BinaryIO, Path]:
        while True:
            path = self._folder / uuid.uuid4().hex
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:  # 0: swept between its creation and its lock
                return os.fdopen(handle, "wb"), path
            os.close(handle)

    def write(self, target: Path, content: bytes, mode: int = 0o444) -> None:
        """Put `content` at `target` in one step. The caller syncs the folder."""
        with self.new(mode) as (file, draft):
            file.write(content)
            finish(file, draft, target)

    def sweep(self) -> None:
        """Remove what killed processes left: files that nobody holds."""
        for path in self._folder.iterdir():
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def finish(file: BinaryIO, draft: Path, target: Path) -> None:
    """Give a written draft its name."""
    file.flush()
    os.fsync(file.fileno())
    draft.replace(target)


class DataFiles:
    """`<folder>/<aa>/<sha256>.<suffix>`: immutable, named by content, read in place."""

    def __init__(self, folder: Path, drafts: Drafts) -> None:
        self._folder, self._drafts = folder, drafts
        self._seen: dict[Path, tuple[int, ...]] = {}

    def put(self, source: Path | bytes, suffix: str) -> tuple[str, int]:
        """Store content once. Returns its sha256 and size. A stored copy that was damaged is replaced.

        Raises UsageError where `source` is no readable file.
        """
        with self._drafts.new(0o444) as (file, draft):
            digest, size = hashlib.sha256(), 0
            for chunk in _chunks(source):
                digest.update(chunk)
                size += file.write(chunk)
            target = self._path(digest.hexdigest(), suffix)
            if not self._sound(target, digest.hexdigest()):
                make_folder(target.parent)
                finish(file, draft, target)
            sync_folders([target.parent])
        return digest.hexdigest(), size

    def checked(self, sha256: str, suffix: str) -> Path:
        """The file of that content, hashed when this process first meets it or it has changed. Raises IntegrityError."""
        path = self._path(sha256, suffix)
        with suppress(OSError):
            state = path.lstat()
            mark = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            if self._seen.get(path) == mark:
                return path
            if self._sound(path, sha256):
                self._seen[path] = mark
                return path
        raise IntegrityError(
            f"the stored file {path.name} is missing or damaged: restore {path} from a backup, or upload its content again"
        )

    def read(self, sha256: str, suffix: str) -> bytes:
        """The content itself, hash-checked. Raises IntegrityError."""
        with suppress(OSError):
            content = self._path(sha256, suffix).read_bytes()
            if hashlib.sha256(content).hexdigest() == sha256:
                return content
        raise IntegrityError(f"the stored content {sha256} is missing or damaged: restore it, or upload it again")

    def _path(self, sha256: str, suffix: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}{suffix if _SUFFIX.fullmatch(suffix) else ''}"

    @staticmethod
    def _sound(path: Path, sha256: str) -> bool:
        """Whether a regular file with that content lies there; a link may lead out of the repository."""
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    if not source.is_file():
        raise UsageError(f"cannot upload {str(source)!r}: there is no such file")
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk

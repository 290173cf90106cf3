"""A bare git folder through dulwich, made safe against power cuts, full disks and kill -9.

dulwich reads everything here and writes what cannot fail half-way. Loose objects and refs are written by our own few
lines, because its writers go through `<name>.lock` and never fsync a folder: a writer that is killed, or that meets a
full disk, leaves the lock file behind, and whoever writes the same name next fails for ever (seen with 1.2.21).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from dulwich.file import FileLocked
from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID, ShaFile
from dulwich.refs import DiskRefsContainer, Ref
from dulwich.repo import Repo

from schemas.errors import ServiceUnavailable, StoreError
from tasks.versions.local.files import Drafts, make_folder, sync_folders

HEADS, TAGS = "refs/heads/", "refs/tags/"
_FORMAT = b"1"
_PATIENCE = 1.0  # s; a git command beside us holds a lock file for milliseconds


class _Objects(DiskObjectStore):
    def __del__(self) -> None:
        """Close packs (made by `git gc`) together with the thread that opened them."""
        self.close()


class GitFolder:
    """Objects and refs of a bare repository. Refs are changed only by whoever holds the store's lock."""

    def __init__(self, folder: Path, drafts: Drafts) -> None:
        self._folder, self._drafts = folder, drafts
        self._local = threading.local()  # dulwich's containers must not be shared between threads
        with Repo(folder, bare=True) as repository:
            written = repository.get_config().get((b"penstock",), b"formatversion")
        if written != _FORMAT:
            raise StoreError(
                f"cannot open {folder}: its format {written!r} is not {_FORMAT!r}; use the version that wrote it"
            )

    @staticmethod
    def create(folder: Path) -> None:
        """Lay out an empty bare repository in an empty folder."""
        with Repo.init_bare(folder, default_branch=b"main") as repository:
            config = repository.get_config()
            config.set((b"penstock",), b"formatversion", _FORMAT)
            config.write_to_path()

    @property
    def _objects(self) -> _Objects:
        if not hasattr(self._local, "objects"):
            self._local.objects = _Objects(self._folder / "objects")
        return cast(_Objects, self._local.objects)

    @property
    def _refs(self) -> DiskRefsContainer:
        if not hasattr(self._local, "refs"):
            self._local.refs = DiskRefsContainer(self._folder)
        return cast(DiskRefsContainer, self._local.refs)

    def load(self, object_id: str) -> ShaFile:
        """One object. Raises KeyError."""
        return self._objects[ObjectID(object_id.encode())]

    def has(self, object_id: str) -> bool:
        """Whether an object is there, whole or damaged."""
        try:
            return ObjectID(object_id.encode()) in self._objects
        except Exception:  # dulwich parses it; what damaged bytes raise has no common base
            return True

    def add(self, objects: Iterable[ShaFile]) -> None:
        """Make objects durable; one that is there is marked as young, which keeps `git gc` from pruning it."""
        sync_folders({self._add(item) for item in objects})

    def _add(self, item: ShaFile) -> Path:
        name = item.id.decode()
        path = self._folder / "objects" / name[:2] / name[2:]
        try:
            os.utime(path)
        except FileNotFoundError:
            make_folder(path.parent)
            self._drafts.write(path, item.as_legacy_object())
        return path.parent

    def ref(self, name: str) -> str | None:
        """The commit that a full ref name stands for."""
        value = self._refs.read_ref(Ref(name.encode()))
        return value.decode() if value else None

    def names(self, base: str, prefix: str) -> list[str]:
        """Names below refs/heads/ or refs/tags/, sorted."""
        names = (name.decode() for name in self._refs.subkeys(Ref(base.encode())))
        return sorted(name for name in names if name.startswith(prefix))

    def move(self, name: str, old: str | None, new: str) -> bool:
        """Compare-and-swap of a ref, durable on return; `old` None: it must be new. False where it is not `old`."""
        path = self._folder / name
        make_folder(path.parent)
        with self._locked(path):
            if self.ref(name) != old:
                return False
            self._drafts.write(path, f"{new}\n".encode(), 0o644)
        sync_folders([path.parent])
        return True

    def drop(self, name: str) -> None:
        """Remove a ref, durably."""
        path = self._folder / name
        _wait_until_unlocked(path)
        _wait_until_unlocked(self._folder / "packed-refs")
        try:
            self._refs.remove_if_equals(Ref(name.encode()), None)
        except FileLocked as error:
            raise ServiceUnavailable(
                f"cannot remove {name}: a git command holds {error.lockfilename!r}; try again"
            ) from None
        sync_folders([next(folder for folder in path.parents if folder.is_dir())])

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Hold git's own lock file of a ref, so that a git command beside us sees either value."""
        _wait_until_unlocked(path)
        lock = _lock_file(path)
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _wait_until_unlocked(path: Path) -> None:
    """Wait for git's lock file to go. The store's lock is ours: what stays was left by a killed process."""
    end = time.monotonic() + _PATIENCE
    while _lock_file(path).exists():
        if time.monotonic() > end:
            _lock_file(path).unlink(missing_ok=True)
        time.sleep(0.01)

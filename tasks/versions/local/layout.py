"""The folder of an embedded repository: where things lie, how it is made, and the lock on it.

history.git   bare git repository: branches, tags, commits, and a pointer per object; any git tool reads it
objects       data files <aa>/<sha256>.<suffix>, immutable, read in place
staging       uncommitted changes
tmp           files being written
lock          flocked while a ref or staged changes are changed
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from schemas.errors import NotFound, ServiceUnavailable, UsageError
from tasks.versions.local.commits import EMPTY, History
from tasks.versions.local.files import DataFiles, Drafts, make_folder, reporting, sync_below, sync_folders
from tasks.versions.local.git import HEADS, GitFolder
from tasks.versions.local.staging import Staging
from tasks.versions.protocol import MAIN

_HISTORY = "history.git"
_OURS = {_HISTORY, "objects", "staging", "tmp", "lock"}
_LOCK_SECONDS = 120.0


def folder_of(url: str) -> Path:
    """The folder of a file:// URL, links resolved. Raises UsageError."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise UsageError(
            f"cannot open {url!r}: the URL of an embedded store is file:// and an absolute path (file:///srv/lake/x)"
        )
    if parts.query or parts.fragment:
        raise UsageError(f"cannot open {url!r}: write ? and # in a folder's name as %3F and %23")
    return Path(path).resolve()


class Folder:
    """One repository's folder and what is in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._drafts = Drafts(root / "tmp")
        self.files = DataFiles(root / "objects", self._drafts)
        self.staging = Staging(root / "staging", self._drafts)

    @cached_property
    def git(self) -> GitFolder:
        """The git folder. Raises NotFound where there is no repository."""
        if not self.exists():
            raise NotFound(f"there is no repository at {self.root.as_uri()}: create it, or mend PENSTOCK_LAKE_URL")
        with reporting(f"open {self.root.as_uri()}"):
            self._drafts.sweep()
            return GitFolder(self.root / _HISTORY, self._drafts)

    @cached_property
    def history(self) -> History:
        """Commits and trees. Raises NotFound where there is no repository."""
        return History(self.git)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process and thread that changes refs or staged changes. ServiceUnavailable after 2 minutes."""
        lock = FileLock(self.root / "lock", poll_interval=0.005)
        try:
            lock.acquire(timeout=_LOCK_SECONDS)
        except Timeout:
            raise ServiceUnavailable(
                f"another process has held {self.root / 'lock'} for {_LOCK_SECONDS:.0f} s: end it if it hangs, and try again"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def exists(self) -> bool:
        """Whether `create` has finished here once."""
        return (self.root / _HISTORY / "HEAD").is_file()

    def create(self) -> None:
        """Make the repository. Raises UsageError where the folder holds something else."""
        if self.exists():
            return
        with reporting(f"create a repository at {self.root.as_uri()}"):
            if self.root.exists() and not {entry.name for entry in self.root.iterdir()} <= _OURS:
                raise UsageError(f"cannot create a repository in {self.root}: it holds other files; choose another folder")
            for name in ("objects", "staging", "tmp"):
                make_folder(self.root / name)
            with self.locked():
                if not self.exists():
                    self._lay_out(self.root / "tmp" / _HISTORY)

    def _lay_out(self, fresh: Path) -> None:
        """Build the git folder aside and put it in its place whole."""
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        GitFolder.create(fresh)
        git = GitFolder(fresh, self._drafts)
        history = History(git)
        root = history.write(history.edited(EMPTY, {}), (), "Repository created", {})
        git.move(HEADS + MAIN, None, root.commit.id)
        sync_below(fresh)
        fresh.rename(self.root / _HISTORY)
        sync_folders([self.root])

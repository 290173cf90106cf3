"""Uncommitted changes of the embedded store: one small file per path, seen by all processes.

They lie below the commit they were made on: `<branch>/<head>/<path>`, branch and path hashed. When the branch moves on,
what lies below its old head counts no more, so a crash between moving a branch and clearing up after it harms nothing.
Writers hold the store's lock.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from schemas.refs import CommitId
from tasks.versions.local.files import Drafts, make_folder

_REMOVED = "removed"


class Staging:
    """Pointers as they will be committed, or None for a removal, by path."""

    def __init__(self, folder: Path, drafts: Drafts) -> None:
        self._folder, self._drafts = folder, drafts

    def put(self, branch: str, head: CommitId, path: str, pointer: bytes | None) -> None:
        """Stage a pointer, or with None a removal."""
        target = self._entry(branch, head, path)
        make_folder(target.parent)
        document = {"format_version": 1, "path": path, _REMOVED: pointer is None}
        content = json.dumps(document).encode() + b"\n" + (pointer or b"")
        self._drafts.write(target, content, 0o644)

    def discard(self, branch: str, head: CommitId, path: str) -> None:
        """Forget what was staged for one path."""
        self._entry(branch, head, path).unlink(missing_ok=True)

    def changes(self, branch: str, head: CommitId) -> Mapping[str, bytes | None]:
        """What is staged on top of `head`."""
        edits: dict[str, bytes | None] = {}
        with suppress(FileNotFoundError):  # cleared meanwhile by a commit: the caller looks at the head again
            for entry in self._below(branch, head).iterdir():
                header, _, pointer = entry.read_bytes().partition(b"\n")
                document = json.loads(header)
                edits[document["path"]] = None if document[_REMOVED] else pointer
        return edits

    def clear(self, branch: str) -> None:
        """Forget all that was staged on a branch."""
        shutil.rmtree(self._folder / _hashed(branch), ignore_errors=True)

    def _below(self, branch: str, head: CommitId) -> Path:
        return self._folder / _hashed(branch) / head

    def _entry(self, branch: str, head: CommitId, path: str) -> Path:
        return self._below(branch, head) / _hashed(path)


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

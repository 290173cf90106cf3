"""Commits and trees of the embedded store.

A commit's message is what the caller said, an empty line, and an indented JSON document with the metadata and the
commit's generation (1 + the highest of its parents), so `git log` shows both. Order and merge bases come from the
generation alone, never from commit times: clocks may be wrong. A tree entry is a small JSON blob, a *pointer*: sha256,
size and metadata of an object.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from typing import Any, cast

from dulwich.objects import Blob, ObjectID, ShaFile, Tree
from dulwich.objects import Commit as GitCommit

from schemas.errors import Conflict, IntegrityError, NotFound, PenstockError
from schemas.refs import Commit, CommitId, StoredObject
from tasks.versions.local.files import reporting
from tasks.versions.local.git import GitFolder

EMPTY = Tree().id.decode()
_FILE, _FOLDER = 0o100644, 0o040000
_WHO = b"Penstock <penstock@localhost>"
_FORMAT = 1


@dataclass(frozen=True)
class Node:
    """A commit with what only the store needs: its tree and its generation."""

    commit: Commit
    tree: str
    generation: int


Entries = Mapping[str, tuple[int, str]]


class History:
    """Reads and writes commits, trees and pointers; what was read once is kept, since none of it can change."""

    def __init__(self, git: GitFolder) -> None:
        self._git = git
        self.node = lru_cache(maxsize=50_000)(self._node)
        self.pointer = lru_cache(maxsize=50_000)(self._pointer)
        self._entries = lru_cache(maxsize=10_000)(self._read_entries)

    def _load(self, object_id: str, kind: type[ShaFile]) -> Any:
        try:
            with reporting("read the history"):
                loaded = self._git.load(object_id)
        except PenstockError:
            raise
        except Exception as error:  # dulwich has no common base for what damaged bytes raise
            raise IntegrityError(f"cannot read {object_id} of the history ({type(error).__name__}): run git fsck") from error
        if not isinstance(loaded, kind):
            raise NotFound(f"there is no {kind.__name__.lower()} {object_id} in the history")
        return loaded

    def _node(self, commit_id: CommitId) -> Node:
        raw = cast(GitCommit, self._load(commit_id, GitCommit))
        message, _, block = raw.message.decode().rpartition("\n\n{\n")
        document = _document("{\n" + block, f"commit {commit_id}")
        commit = Commit(
            id=commit_id,
            parents=tuple(parent.decode() for parent in raw.parents),
            message=message,
            metadata=document["metadata"],
            time=datetime.fromtimestamp(raw.commit_time, UTC),
        )
        return Node(commit, raw.tree.decode(), document["generation"])

    def write(self, tree: str, parents: tuple[CommitId, ...], message: str, metadata: Mapping[str, str]) -> Node:
        """Make a commit of a tree that is stored already; no ref stands for it yet."""
        raw = GitCommit()
        raw.tree = ObjectID(tree.encode())
        raw.parents = [ObjectID(parent.encode()) for parent in parents]
        raw.author = raw.committer = _WHO
        raw.author_time = raw.commit_time = int(time.time())
        raw.author_timezone = raw.commit_timezone = 0
        generation = 1 + max((self.node(parent).generation for parent in parents), default=0)
        block = _encoded({"generation": generation, "metadata": dict(metadata)})
        raw.message = f"{message}\n\n".encode() + block
        self._git.add([raw])
        return self.node(raw.id.decode())

    def ancestors(self, commit_id: CommitId, *, first_parent: bool) -> Iterator[Commit]:
        """The commit and what it stands on, every commit before its parents."""
        order = count()
        heap, seen = [(0, next(order), commit_id)], {commit_id}
        while heap:
            commit = self.node(heapq.heappop(heap)[2]).commit
            yield commit
            for parent in commit.parents[:1] if first_parent else commit.parents:
                if parent not in seen:
                    seen.add(parent)
                    heapq.heappush(heap, (-self.node(parent).generation, next(order), parent))

    def merge_base(self, left: CommitId, right: CommitId) -> CommitId:
        """The best common ancestor; one that is an ancestor of the other is it itself.

        Both histories are walked together from the highest generation down, so all children of a commit come before it
        and the first one reached from both sides has no common descendant. Raises Conflict where there is none.
        """
        reached = {left: 1}
        reached[right] = reached.get(right, 0) | 2
        heap = [(-self.node(commit).generation, commit) for commit in reached]
        heapq.heapify(heap)
        while heap:
            commit = heapq.heappop(heap)[1]
            if reached[commit] == 3:
                return commit
            for parent in self.node(commit).commit.parents:
                if parent not in reached:
                    heapq.heappush(heap, (-self.node(parent).generation, parent))
                reached[parent] = reached.get(parent, 0) | reached[commit]
        raise Conflict(f"cannot merge {left} and {right}: their histories have nothing in common")

    def _pointer(self, blob: str) -> StoredObject:
        return parsed_pointer(cast(Blob, self._load(blob, Blob)).data, f"pointer {blob}")

    def add_pointers(self, pointers: list[bytes]) -> list[str]:
        """Store pointers; returns their ids."""
        blobs = [Blob.from_string(pointer) for pointer in pointers]
        self._git.add(blobs)
        return [blob.id.decode() for blob in blobs]

    def _read_entries(self, tree: str) -> Entries:
        if tree == EMPTY:
            return {}
        items = cast(Tree, self._load(tree, Tree)).iteritems()
        return {item.path.decode(): (item.mode, item.sha.decode()) for item in items}

    def entry(self, tree: str, path: str) -> str | None:
        """The pointer at a path."""
        *folders, name = path.split("/")
        for folder in folders:
            mode, tree = self._entries(tree).get(folder, (_FOLDER, EMPTY))
            if mode != _FOLDER:
                return None
        mode, blob = self._entries(tree).get(name, (_FOLDER, ""))
        return blob if mode == _FILE else None

    def listing(self, tree: str, prefix: str = "", base: str = "") -> Iterator[tuple[str, str]]:
        """Paths below a string prefix, with their pointers."""
        for name, (mode, child) in self._entries(tree).items():
            path = base + name
            if mode == _FILE and path.startswith(prefix):
                yield path, child
            elif mode == _FOLDER and (f"{path}/".startswith(prefix) or prefix.startswith(f"{path}/")):
                yield from self.listing(child, prefix, f"{path}/")

    def changes(self, left: str, right: str, base: str = "") -> Iterator[tuple[str, str | None, str | None]]:
        """Paths that differ, with the pointers of both sides."""
        old, new = self._entries(left), self._entries(right)
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                files = _side(old, name, _FILE, None), _side(new, name, _FILE, None)
                if files[0] != files[1]:
                    yield base + name, *files
                folders = _side(old, name, _FOLDER, EMPTY), _side(new, name, _FOLDER, EMPTY)
                yield from self.changes(*cast(tuple[str, str], folders), f"{base}{name}/")

    def edited(self, tree: str, edits: Mapping[str, str | None]) -> str:
        """The tree with pointers set or (None) removed. Raises Conflict where a path would be object and folder at once."""
        objects: list[ShaFile] = []
        edited = self._edit(tree, edits, objects)
        self._git.add(objects)
        return edited

    def _edit(self, tree: str, edits: Mapping[str, str | None], objects: list[ShaFile]) -> str:
        entries, direct, below = dict(self._entries(tree)), {}, dict[str, dict[str, str | None]]()
        for path, pointer in edits.items():
            name, _, rest = path.partition("/")
            if rest:
                below.setdefault(name, {})[rest] = pointer
            elif pointer is None:
                entries.pop(name, None)
            else:
                direct[name] = (_FILE, pointer)
        for name, deeper in below.items():
            mode, old = entries.pop(name, (_FOLDER, EMPTY))
            _refuse_clash(mode != _FOLDER, name)
            child = self._edit(old, deeper, objects)
            if child != EMPTY:
                entries[name] = (_FOLDER, child)
        for name, entry in direct.items():
            _refuse_clash(entries.get(name, entry)[0] != _FILE, name)
            entries[name] = entry
        return _tree(entries, objects)


def _side(entries: Entries, name: str, mode: int, missing: str | None) -> str | None:
    entry_mode, object_id = entries.get(name, (mode, missing))
    return object_id if entry_mode == mode else missing


def _refuse_clash(clash: bool, name: str) -> None:
    if clash:
        raise Conflict(f"{name!r} would be an object and a folder at once: remove one of them or choose another path")


def _tree(entries: Entries, objects: list[ShaFile]) -> str:
    tree = Tree()
    for name, (mode, child) in entries.items():
        tree.add(name.encode(), mode, ObjectID(child.encode()))
    objects.append(tree)
    return tree.id.decode()


def pointer_bytes(stored: StoredObject) -> bytes:
    """A pointer as it is stored: equal objects give equal bytes."""
    return _encoded({"metadata": dict(stored.metadata), "sha256": stored.sha256, "size": stored.size})


def parsed_pointer(content: bytes, what: str) -> StoredObject:
    """A stored pointer. Raises IntegrityError."""
    document = _document(content, what)
    try:
        return StoredObject(
            path=document["metadata"]["path"],
            sha256=document["sha256"],
            size=document["size"],
            metadata=document["metadata"],
        )
    except (LookupError, ValueError) as error:
        raise IntegrityError(f"cannot read {what}: {type(error).__name__}; it was not written by this store") from error


def _encoded(document: Mapping[str, Any]) -> bytes:
    # Indented for people who read the repository: no text of schemas.digests.
    text = json.dumps({"format_version": _FORMAT, **document}, indent=2, sort_keys=True, ensure_ascii=False)
    return text.encode() + b"\n"


def _document(content: str | bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
        if document["format_version"] == _FORMAT:
            return cast(dict[str, Any], document)
    except (ValueError, LookupError, TypeError):
        pass
    raise IntegrityError(f"cannot read {what}: it is damaged, or was not written by this version of the store")

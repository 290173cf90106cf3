"""The embedded version store: one repository in one folder, for any number of processes and threads of one machine.

A commit is there when its ref has moved, which is one atomic rename of a file whose every predecessor (data, pointers,
trees, commit) was fsynced before. Killed before it, a process leaves nothing that counts; killed after it, nothing undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import polars as pl

from schemas.errors import Conflict, NotFound, NothingToCommit, ProtectedBranch, StaleCheck
from schemas.refs import Change, Commit, CommitId, Guard, StoredObject
from tasks.fault_injection import fault_point
from tasks.versions.local.commits import EMPTY, History, Node, parsed_pointer, pointer_bytes
from tasks.versions.local.files import reporting
from tasks.versions.local.git import HEADS, TAGS, GitFolder
from tasks.versions.local.layout import Folder, folder_of
from tasks.versions.local.merge import merged
from tasks.versions.names import check_message, check_metadata, check_name, check_path, is_commit_id, is_name
from tasks.versions.protocol import MAIN, WIDER


class LocalStore:
    """A `VersionStore` in a folder. Opening one touches nothing; `create` makes it."""

    def __init__(self, url: str) -> None:
        self._folder = Folder(folder_of(url))
        self._files, self._staging, self._locked = self._folder.files, self._folder.staging, self._folder.locked

    def __repr__(self) -> str:
        return f"LocalStore({self.url!r})"

    @property
    def url(self) -> str:
        """`file://` and the folder."""
        return self._folder.root.as_uri()

    @property
    def _git(self) -> GitFolder:
        return self._folder.git

    @property
    def _history(self) -> History:
        return self._folder.history

    def create(self) -> None:
        """Make the repository. Raises UsageError where the folder holds something else."""
        self._folder.create()

    def exists(self) -> bool:
        """Whether the repository is there."""
        return self._folder.exists()

    def head(self, ref: str = MAIN) -> CommitId:
        """The commit of a branch, else of a tag, else the commit itself. Raises NotFound."""
        git = self._git
        commit = is_name(ref) and (git.ref(HEADS + ref) or git.ref(TAGS + ref))
        if commit:
            return commit
        if is_commit_id(ref) and git.has(ref):
            return self._history.node(ref).commit.id
        raise NotFound(f"there is no branch, tag or commit {ref!r} in {self.url}")

    def _node(self, ref: str) -> Node:
        return self._history.node(self.head(ref))

    def _branch_head(self, branch: str) -> CommitId:
        head = self._git.ref(HEADS + branch) if is_name(branch) else None
        if not head:
            raise NotFound(f"there is no branch {branch!r} in {self.url}")
        return head

    def branches(self, prefix: str = "") -> list[str]:
        """Names of the branches, sorted."""
        return self._git.names(HEADS, prefix)

    def branch(self, name: str, source: str = MAIN) -> CommitId:
        """Make a branch at `source`, or leave the one that is there. Returns its head."""
        check_name(name, "branch")
        with reporting(f"make the branch {name!r}"), self._locked():
            head = self._git.ref(HEADS + name)
            return head or self._make_branch(name, self.head(source))

    def _make_branch(self, name: str, commit: CommitId) -> CommitId:
        self._refuse_nested(HEADS, name)
        self._staging.clear(name)  # of an earlier branch of that name, deleted by a process that was killed in between
        self._git.move(HEADS + name, None, commit)
        return commit

    def _refuse_nested(self, base: str, name: str) -> None:
        parents = [str(parent) for parent in PurePosixPath(name).parents][:-1]
        nested = [parent for parent in parents if self._git.ref(base + parent)] or self._git.names(base, f"{name}/")
        if nested:
            raise Conflict(
                f"cannot use the name {name!r} beside {nested[0]!r}: git keeps one as a file, the other as a folder"
            )

    def delete_branch(self, name: str) -> None:
        """Remove a branch and its uncommitted changes. Raises ProtectedBranch."""
        _refuse_protected(name, "delete it")
        if is_name(name):
            with reporting(f"delete the branch {name!r}"), self._locked():
                if self._git.ref(HEADS + name):
                    self._git.drop(HEADS + name)
                self._staging.clear(name)

    def upload(
        self, branch: str, path: str, source: Path | bytes, metadata: Mapping[str, str] | None = None
    ) -> StoredObject:
        """Copy content in, and stage it under `path`. Raises UsageError, NotFound, ProtectedBranch."""
        check_path(path)
        check_metadata(metadata or {})
        _refuse_protected(branch, "upload to another branch and merge that")
        self._branch_head(branch)
        with reporting(f"upload {path!r}"):
            sha256, size = self._files.put(source, PurePosixPath(path).suffix)
            stored = StoredObject(path=path, sha256=sha256, size=size, metadata={**(metadata or {}), "path": path})
            pointer = pointer_bytes(stored)
            self._history.add_pointers([pointer])
            with self._locked():
                self._staging.put(branch, self._branch_head(branch), path, pointer)
        fault_point("store.after_upload")
        return stored

    def remove(self, branch: str, path: str) -> None:
        """Stage a removal. Raises NotFound where the branch has no such object, committed or staged."""
        _refuse_protected(branch, "remove on another branch and merge that")
        with reporting(f"remove {path!r}"), self._locked():
            head = self._branch_head(branch)
            committed = self._history.entry(self._history.node(head).tree, path)
            if self._staging.changes(branch, head).get(path, committed) is None:
                raise NotFound(f"cannot remove {path!r}: there is no such object on {branch!r}")
            if committed:
                self._staging.put(branch, head, path, None)
            else:
                self._staging.discard(branch, head, path)

    def commit(self, branch: str, message: str, metadata: Mapping[str, str]) -> Commit:
        """Make the staged changes one commit."""
        check_message(message, metadata)
        _refuse_protected(branch, "commit to another branch and merge that")
        with reporting(f"commit to {branch!r}"), self._locked():
            head = self._branch_head(branch)
            commit_id = self._history.write(self._staged_tree(branch, head), (head,), message, metadata)
            fault_point("store.before_commit")
            if not self._git.move(HEADS + branch, head, commit_id.commit.id):
                raise Conflict(f"cannot commit to {branch!r}: another tool has moved it; upload and commit again")
            fault_point("store.after_commit")
            self._staging.clear(branch)
        return commit_id.commit

    def _staged_tree(self, branch: str, head: CommitId) -> str:
        staged, tree = self._staging.changes(branch, head), self._history.node(head).tree
        ids = iter(self._history.add_pointers([pointer for pointer in staged.values() if pointer]))
        edited = self._history.edited(tree, {path: next(ids) if pointer else None for path, pointer in staged.items()})
        if edited == tree:
            self._staging.clear(branch)
            raise NothingToCommit(f"cannot commit to {branch!r}: nothing has changed since {head}")
        return edited

    def get(self, ref: str) -> Commit:
        """The commit a ref stands for."""
        return self._node(ref).commit

    def log(self, ref: str = MAIN, *, first_parent: bool = False) -> Iterator[Commit]:
        """Commits from the newest to the oldest: each one before its parents, whatever their times say."""
        return self._history.ancestors(self.head(ref), first_parent=first_parent)

    def diff(self, left: str, right: str) -> list[Change]:
        """Paths whose content or metadata differ between two commits."""
        changes = self._history.changes(self._node(left).tree, self._node(right).tree)
        return sorted((_change(*change) for change in changes), key=lambda change: change.path)

    def merge(
        self, source: str, into: str, message: str, metadata: Mapping[str, str], *, guard: Guard | None = None
    ) -> Commit:
        """Three-way merge per path.

        The destination's head is read, guard and conflicts are checked against it, and it is moved only if it still is
        the head; otherwise all is done again. Two sides that add the same content agree; the destination's metadata stays.
        """
        check_message(message, metadata)
        theirs = self._node(source)

        def build(head: CommitId) -> Node:
            ours, base = self._history.node(head), self._history.merge_base(head, theirs.commit.id)
            if base == theirs.commit.id:
                raise NothingToCommit(f"cannot merge {source!r} into {into!r}: it is merged already")
            if guard:
                self._check(guard, ours)
            tree = merged(self._history, self._history.node(base).tree, theirs.tree, ours.tree)
            return self._history.write(tree, (head, theirs.commit.id), message, metadata)

        with reporting(f"merge {source!r} into {into!r}"):
            return self._advance(into, build, "merge")

    def revert(self, branch: str, commit: CommitId, message: str, metadata: Mapping[str, str]) -> Commit:
        """Undo one commit: a three-way merge of its first parent, with the commit itself as the base."""
        check_message(message, metadata)
        undone = self._node(commit)
        before = self._node(undone.commit.parents[0]).tree if undone.commit.parents else EMPTY

        def build(head: CommitId) -> Node:
            tree = merged(self._history, undone.tree, before, self._history.node(head).tree)
            return self._history.write(tree, (head,), message, metadata)

        with reporting(f"revert {commit} on {branch!r}"):
            return self._advance(branch, build, "revert")

    def _advance(self, branch: str, build: Callable[[CommitId], Node], point: str) -> Commit:
        """Move a branch to a commit built on its head. The first try is built without the lock: others go on meanwhile."""
        commit = build(self._branch_head(branch))
        with self._locked():
            self._refuse_dirty(branch)
            fault_point(f"store.before_{point}")
            while not self._git.move(HEADS + branch, commit.commit.parents[0], commit.commit.id):
                commit = build(self._branch_head(branch))
            fault_point(f"store.after_{point}")
        return commit.commit

    def _refuse_dirty(self, branch: str) -> None:
        if self._staging.changes(branch, self._branch_head(branch)):
            raise Conflict(f"{branch!r} has uncommitted changes: commit them first")

    def _check(self, guard: Guard, ours: Node) -> None:
        changes = self._history.changes(self._node(guard.commit).tree, ours.tree)
        moved = next((path for path, *_ in changes if path.startswith(guard.prefixes)), None)
        if moved is not None:
            raise StaleCheck(f"{moved!r} has changed since {guard.commit}, which was checked: check again, then merge")

    def tag(self, name: str, ref: str) -> None:
        """Name a commit for good. Raises Conflict where the name stands for another."""
        check_name(name, "tag")
        commit = self.head(ref)
        with reporting(f"make the tag {name!r}"), self._locked():
            tagged = self._git.ref(TAGS + name)
            if tagged is None:
                self._refuse_nested(TAGS, name)
                self._git.move(TAGS + name, None, commit)
            elif tagged != commit:
                raise Conflict(f"the tag {name!r} names {tagged} already: choose another name")

    def tags(self, prefix: str = "") -> dict[str, CommitId]:
        """Tags and the commits they name."""
        names = self._git.names(TAGS, prefix)
        return {name: commit for name in names if (commit := self._git.ref(TAGS + name))}

    def objects(self, ref: str, prefix: str = "", *, staged: bool = False) -> list[StoredObject]:
        """Objects whose path starts with `prefix`, sorted by path."""
        while True:
            head = self.head(ref)
            committed = self._history.listing(self._history.node(head).tree, prefix)
            by_path: dict[str, StoredObject | None] = {path: self._history.pointer(pointer) for path, pointer in committed}
            if staged and self._git.ref(HEADS + ref):
                for path, pointer in self._staging.changes(ref, head).items():
                    by_path[path] = parsed_pointer(pointer, path) if pointer else None
            if not staged or self.head(ref) == head:  # else a commit came between
                return [stored for path, stored in sorted(by_path.items()) if stored and path.startswith(prefix)]

    def _object(self, tree: str, ref: str, path: str) -> StoredObject:
        pointer = self._history.entry(tree, path)
        if pointer is None:
            raise NotFound(f"there is no object {path!r} at {ref!r} in {self.url}")
        return self._history.pointer(pointer)

    def read(self, ref: str, path: str) -> bytes:
        """The committed bytes of one object, hash-checked. Raises NotFound, IntegrityError."""
        stored = self._object(self._node(ref).tree, ref, path)
        return self._files.read(stored.sha256, PurePosixPath(path).suffix)

    def scan(self, ref: str, paths: Sequence[str], schema: Mapping[str, pl.DataType] | None = None) -> pl.LazyFrame:
        """Parquet objects as one lazy frame over the stored files; with `schema`, its columns and no others.

        Each file is hashed once a process, at some 2 GB/s, before polars sees it. Raises NotFound, IntegrityError.
        """
        tree = self._node(ref).tree
        stored = [self._object(tree, ref, path) for path in paths]
        files = [self._files.checked(each.sha256, PurePosixPath(each.path).suffix) for each in stored]
        if not files:
            return pl.LazyFrame(schema=schema)
        scan = partial(pl.scan_parquet, files, glob=False, hive_partitioning=False)
        if schema is None:
            return scan()
        return scan(schema=schema, missing_columns="insert", extra_columns="ignore", cast_options=WIDER)


def _refuse_protected(branch: str, instead: str) -> None:
    if branch == MAIN:
        raise ProtectedBranch(f"cannot change {MAIN!r} directly: it takes merges only; {instead}")


def _change(path: str, old: str | None, new: str | None) -> Change:
    if old is None:
        return Change(path=path, kind="added")
    return Change(path=path, kind="removed" if new is None else "changed")

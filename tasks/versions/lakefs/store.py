"""The version store on a lakeFS server: one repository, or the part of one below a path prefix.

The server holds branches, commits and merges; this adapter adds what Penstock needs beyond them: every effect is looked
up before it is repeated, every object carries its own path and hash, and a guarded merge goes through only if what was
checked has not changed. Only this module and its siblings `lakefs_*` know lakeFS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from schemas.errors import Conflict, IntegrityError, NotFound, ProtectedBranch, UsageError
from schemas.refs import Change, Commit, CommitId, Guard, StoredObject
from schemas.settings import Settings, in_force
from tasks.fault_injection import fault_point
from tasks.versions.lakefs import names as lakefs_names
from tasks.versions.lakefs import read as lakefs_read
from tasks.versions.lakefs import upload as lakefs_upload
from tasks.versions.lakefs.client import Lake, body
from tasks.versions.lakefs.commits import History
from tasks.versions.lakefs.lease import MARK
from tasks.versions.lakefs.merge import Merger
from tasks.versions.lakefs.repository import Repository
from tasks.versions.names import check_message, check_metadata, check_path
from tasks.versions.protocol import MAIN

_HASH = "content-sha256"
NO_GATEWAY = "none"


class LakeFSStore:
    """A `VersionStore` on lakeFS. Opening one asks the server nothing."""

    def __init__(self, url: str, settings: Settings | None = None, lake: Lake | None = None) -> None:
        settings = settings or in_force()
        self.place = lakefs_names.parse(url)
        self.lake = lake or Lake()
        key = settings.lake_signing_key
        self.repository = Repository(self.lake, self.place, settings.lake_namespace)
        self.history = History(self.lake, self.place)
        self.merger = Merger(self.lake, self.place, self.history, key.get_secret_value() if key else None)
        self._gateway = settings.lake_gateway

    def __repr__(self) -> str:
        return f"LakeFSStore({self.url!r})"

    @property
    def url(self) -> str:
        """`lakefs://<repository>[/<prefix>]`."""
        return self.place.url

    def create(self) -> None:
        """Make the repository and protect its `main`. Raises UsageError where it is another team's to make."""
        self.repository.create()

    def exists(self) -> bool:
        """Whether the repository is there."""
        return self.repository.exists()

    def head(self, ref: str = MAIN) -> CommitId:
        """The commit of a branch, a tag, or the commit itself. Raises NotFound."""
        return self.history.head(ref)

    def get(self, ref: str) -> Commit:
        """The commit a ref stands for."""
        return self.history.get(ref)

    def log(self, ref: str = MAIN, *, first_parent: bool = False) -> Iterator[Commit]:
        """Commits from the newest to the oldest; below a prefix, those that were made through it."""
        return self.history.log(ref, first_parent=first_parent)

    def diff(self, left: str, right: str) -> list[Change]:
        """Paths whose content or metadata differ between two commits."""
        return self.history.diff(left, right)

    def branches(self, prefix: str = "") -> list[str]:
        """Names of the branches, sorted; those that stand for turns are left out."""
        branches = self.lake.pages(self.lake.sdk.branches_api.list_branches, self.place.repository)
        names = (self.place.own(branch.id) for branch in branches if not branch.id.startswith(MARK))
        return sorted(name for name in names if name is not None and name.startswith(prefix))

    def branch(self, name: str, source: str = MAIN) -> CommitId:
        """Make a branch at `source`, or leave the one that is there. Returns its head."""
        written = lakefs_names.new_name(self.place, name, "branch")
        with suppress(NotFound):
            return self.head(name)
        creation = body("BranchCreation", name=written, source=self.head(source))
        with suppress(Conflict):  # another process was faster
            self.lake.ask(self.lake.sdk.branches_api.create_branch, self.place.repository, creation)
        return self.head(name)

    def delete_branch(self, name: str) -> None:
        """Remove a branch and its uncommitted changes. Raises ProtectedBranch."""
        _refuse_protected(name, "delete it")
        with suppress(NotFound):
            self.lake.ask(self.lake.sdk.branches_api.delete_branch, self.place.repository, self.place.ref(name))

    def upload(
        self, branch: str, path: str, source: Path | bytes, metadata: Mapping[str, str] | None = None
    ) -> StoredObject:
        """Stream content to the server, and stage it under `path`. Raises UsageError, NotFound, ProtectedBranch."""
        check_path(path)
        check_metadata(metadata or {})
        _refuse_protected(branch, "upload to another branch and merge that")
        digest, size = lakefs_upload.measured(source)
        key, name = self.place.key(path), self.place.ref(branch)
        sent = lakefs_names.object_metadata({**(metadata or {}), "path": key, _HASH: digest})
        arrived = self.lake.change(
            lambda: lakefs_upload.send(self.lake, self.place.repository, name, key, source, sent), lambda: None
        )
        lakefs_upload.check_size(path, size, arrived)
        fault_point("store.after_upload")
        return StoredObject(path=path, sha256=digest, size=size, metadata={**(metadata or {}), "path": path})

    def remove(self, branch: str, path: str) -> None:
        """Stage a removal. Raises NotFound where the branch has no such object, committed or staged."""
        _refuse_protected(branch, "remove on another branch and merge that")
        api, at = self.lake.sdk.objects_api, (self.place.repository, self.place.ref(branch), self.place.key(path))
        self.lake.ask(api.stat_object, *at)  # the removal itself never says that there was nothing
        self.lake.ask(api.delete_object, *at)

    def commit(self, branch: str, message: str, metadata: Mapping[str, str]) -> Commit:
        """Make the staged changes one commit."""
        check_message(message, metadata)
        _refuse_protected(branch, "commit to another branch and merge that")
        head, name = self.head(branch), self.place.ref(branch)
        creation = body("CommitCreation", message=message, metadata=lakefs_names.commit_metadata(self.place, metadata))

        def act() -> Commit:
            committed = self.lake.once(self.lake.sdk.commits_api.commit, self.place.repository, name, creation)
            return self.get(committed.id)

        fault_point("store.before_commit")
        committed = self.lake.change(act, lambda: self.history.since(head, branch, message, metadata))
        fault_point("store.after_commit")
        return committed

    def merge(
        self, source: str, into: str, message: str, metadata: Mapping[str, str], *, guard: Guard | None = None
    ) -> Commit:
        """Three-way merge per path; guarded by the lake's hook where it is installed, by a turn where it is not.

        Raises Refused with the hook's reason, StoreError where `main` is not protected.
        """
        check_message(message, metadata)
        if into == MAIN:
            self.repository.require_protection()
        return self.merger.merge(source, into, message, metadata, guard)

    def revert(self, branch: str, commit: CommitId, message: str, metadata: Mapping[str, str]) -> Commit:
        """Undo one commit; of a merge, what it brought to its first parent."""
        check_message(message, metadata)
        return self.merger.revert(branch, commit, message, metadata)

    def tag(self, name: str, ref: str) -> None:
        """Name a commit for good. Raises Conflict where the name stands for another."""
        creation = body("TagCreation", id=lakefs_names.new_name(self.place, name, "tag"), ref=self.head(ref))
        try:
            self.lake.ask(self.lake.sdk.tags_api.create_tag, self.place.repository, creation)
        except Conflict:
            tagged = self.lake.ask(self.lake.sdk.tags_api.get_tag, self.place.repository, creation.id).commit_id
            if tagged != creation.ref:
                raise Conflict(f"the tag {name!r} names {tagged} already: choose another name") from None

    def tags(self, prefix: str = "") -> dict[str, CommitId]:
        """Tags and the commits they name."""
        tags = self.lake.pages(self.lake.sdk.tags_api.list_tags, self.place.repository)
        names = {self.place.own(tag.id): str(tag.commit_id) for tag in tags}
        return {name: names[name] for name in sorted(n for n in names if n is not None and n.startswith(prefix))}

    def objects(self, ref: str, prefix: str = "", *, staged: bool = False) -> list[StoredObject]:
        """Objects whose path starts with `prefix`, sorted by path; '' is the hash of one that another tool wrote."""
        commit = self.head(ref)
        at = self.place.ref(ref) if staged else commit
        listing = self.lake.sdk.objects_api.list_objects
        listed = self.lake.pages(listing, self.place.repository, at, prefix=self.place.key(prefix), presign=False)
        return sorted((self._stored(each) for each in listed), key=lambda stored: stored.path)

    def _stored(self, entry: Any) -> StoredObject:
        metadata = lakefs_names.read_object_metadata(entry.metadata)
        path, digest = self.place.path(entry.path), metadata.pop(_HASH, "")
        if metadata.get("path") == entry.path:
            metadata["path"] = path
        return StoredObject(path=path, sha256=digest, size=entry.size_bytes or 0, metadata=metadata)

    def read(self, ref: str, path: str) -> bytes:
        """The committed bytes of one object, compared with the hash it carries. Raises NotFound, IntegrityError."""
        _refuse_odd(path)
        api, at = self.lake.sdk.objects_api, (self.place.repository, self.head(ref), self.place.key(path))
        entry = self.lake.ask(api.stat_object, *at)
        content = bytes(self.lake.ask(api.get_object, *at))
        digest = lakefs_names.read_object_metadata(entry.metadata).get(_HASH)
        if digest and sha256(content).hexdigest() != digest:
            raise IntegrityError(f"{path!r} at {ref!r} of {self.url} is damaged: restore it on the server")
        return content

    def download(self, ref: str, path: str, target: BinaryIO) -> None:
        """Copy one committed object into an open file, some megabytes at a time. Raises NotFound."""
        commit = self.head(ref)
        self._require(commit, [path])
        lakefs_read.copy(self.lake, self.place.repository, commit, self.place.key(path), target)

    def scan(self, ref: str, paths: Sequence[str], schema: Mapping[str, pl.DataType] | None = None) -> pl.LazyFrame:
        """Parquet objects as one lazy frame, read in place; with `schema`, its columns and no others."""
        commit = self.head(ref)
        if not paths:
            return pl.LazyFrame(schema=schema)
        self._require(commit, paths)
        keys, credentials = [self.place.key(path) for path in paths], self.lake.keys
        if credentials is None or self._gateway == NO_GATEWAY:
            return lakefs_read.through_api(self.lake, self.place.repository, commit, keys, schema)
        options = lakefs_read.gateway_options(self._gateway or self.lake.endpoint, credentials)
        return lakefs_read.through_gateway(self.place.repository, commit, keys, schema, options)

    def _require(self, commit: CommitId, paths: Sequence[str]) -> None:
        """Raise NotFound where a path is not there: one listing a folder, instead of one question a path."""
        folders = {path.rpartition("/")[0] for path in paths}
        present = {stored.path for folder in folders for stored in self.objects(commit, f"{folder}/" if folder else "")}
        for path in paths:
            if path not in present:
                raise NotFound(f"there is no object {path!r} at {commit} in {self.url}")


def _refuse_protected(branch: str, instead: str) -> None:
    if branch == MAIN:
        raise ProtectedBranch(f"cannot change {MAIN!r} directly: it takes merges only; {instead}")


def _refuse_odd(path: str) -> None:
    try:
        check_path(path)
    except UsageError as odd:
        raise NotFound(str(odd)) from None

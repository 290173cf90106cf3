"""What a version store offers: one repository of immutable objects with branches, commits and atomic merges.

The semantics are lakeFS's, so that its adapter stays thin; the embedded store is a small real implementation of the same.
A *ref* is a branch name, a tag or a commit id. Every branch has uncommitted changes that all clients see, until `commit`
makes them one commit. `main` takes merges only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import polars as pl

from schemas.refs import Change, Commit, CommitId, Guard, StoredObject

MAIN = "main"
# A column that a later contract widened: older files hold narrower numbers.
WIDER = pl.ScanCastOptions(integer_cast=("upcast", "allow-float"), float_cast="upcast")


@runtime_checkable
class VersionStore(Protocol):
    """One repository. Raises the StoreError family, ServiceUnavailable where a server does not answer."""

    @property
    def url(self) -> str:
        """The URL that `open_store` takes to open the same repository."""
        ...

    def create(self) -> None:
        """Make the repository with an empty, protected `main`; nothing happens where it exists."""
        ...

    def exists(self) -> bool:
        """Whether the repository is there."""
        ...

    def head(self, ref: str = MAIN) -> CommitId:
        """The commit that a ref stands for. Raises NotFound."""
        ...

    def branches(self, prefix: str = "") -> list[str]:
        """Names of the branches, sorted."""
        ...

    def branch(self, name: str, source: str = MAIN) -> CommitId:
        """Make a branch at `source`; an existing one stays as it is. Returns its head."""
        ...

    def delete_branch(self, name: str) -> None:
        """Remove a branch and its uncommitted changes; nothing happens where there is none. Raises ProtectedBranch."""
        ...

    def upload(
        self, branch: str, path: str, source: Path | bytes, metadata: Mapping[str, str] | None = None
    ) -> StoredObject:
        """Stage an object. Its own metadata also gets its path. Raises UsageError for a path that leaves the repository."""
        ...

    def remove(self, branch: str, path: str) -> None:
        """Stage the removal of an object. Raises NotFound."""
        ...

    def commit(self, branch: str, message: str, metadata: Mapping[str, str]) -> Commit:
        """Make the staged changes one commit. Raises NothingToCommit, ProtectedBranch."""
        ...

    def get(self, ref: str) -> Commit:
        """The commit a ref stands for, whole. Raises NotFound."""
        ...

    def log(self, ref: str = MAIN, *, first_parent: bool = False) -> Iterator[Commit]:
        """Commits from the newest to the oldest."""
        ...

    def diff(self, left: str, right: str) -> list[Change]:
        """Committed paths that differ, as seen from `left`: what only `right` has is `added`. Sorted by path."""
        ...

    def merge(
        self, source: str, into: str, message: str, metadata: Mapping[str, str], *, guard: Guard | None = None
    ) -> Commit:
        """Three-way merge per path, all or nothing, as one commit with parents (into, source).

        `guard` makes the merge depend on what was read: raises StaleCheck where a path under its prefixes differs between
        its commit and the destination at the moment of the merge. Raises Conflict where both sides changed a path to
        different contents, NothingToCommit where the source brings nothing new.
        """
        ...

    def revert(self, branch: str, commit: CommitId, message: str, metadata: Mapping[str, str]) -> Commit:
        """Undo one commit (of a merge: what it brought to its first parent). Raises Conflict where a path changed since."""
        ...

    def tag(self, name: str, ref: str) -> None:
        """Name a commit for good. The same tag again is no error; another commit under the name raises Conflict."""
        ...

    def tags(self, prefix: str = "") -> dict[str, CommitId]:
        """Tags and the commits they name."""
        ...

    def objects(self, ref: str, prefix: str = "", *, staged: bool = False) -> list[StoredObject]:
        """Objects at a ref, sorted by path; `staged` adds the branch's uncommitted changes."""
        ...

    def read(self, ref: str, path: str) -> bytes:
        """The bytes of one object, hash-checked. Raises NotFound, IntegrityError."""
        ...

    def scan(self, ref: str, paths: Sequence[str], schema: Mapping[str, pl.DataType] | None = None) -> pl.LazyFrame:
        """Parquet objects at a ref as one lazy frame, read in place, columns and rows pushed down.

        Rows come in the order of `paths`. With no paths: an empty frame of `schema`. Columns that a file lacks are null
        where `schema` names them, and numbers become its wider type.
        """
        ...

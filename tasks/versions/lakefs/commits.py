"""Commits of a repository: refs, logs and differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from schemas.errors import NotFound
from schemas.refs import Change, Commit, CommitId, Guard
from tasks.versions.lakefs import names, signatures
from tasks.versions.lakefs.client import Lake
from tasks.versions.lakefs.names import Place
from tasks.versions.protocol import MAIN


class History:
    """What commits say; a commit never changes, so those asked for by id are kept."""

    def __init__(self, lake: Lake, place: Place) -> None:
        self._lake, self._place = lake, place
        self._by_id = lru_cache(maxsize=10_000)(self._ask)

    def _ask(self, name: str) -> Commit:
        return _commit(self._lake.ask(self._lake.sdk.commits_api.get_commit, self._place.repository, name))

    def get(self, ref: str) -> Commit:
        """The commit a ref stands for. Raises NotFound."""
        name = self._place.ref(ref)
        if names.is_commit(ref):
            return self._by_id(name)
        commit = self._ask(name)
        if commit.id.startswith(name) and not self._is_named(name):
            raise NotFound(f"there is no branch or tag {ref!r} in {self._place.url}; a commit is named by its whole id")
        return commit

    def _is_named(self, name: str) -> bool:
        """Whether there is a branch or tag of that name; lakeFS takes the beginning of a commit's id for a ref, too."""
        api, repository = self._lake.sdk, self._place.repository
        for ask in (api.branches_api.get_branch, api.tags_api.get_tag):
            try:
                self._lake.ask(ask, repository, name)
            except NotFound:
                continue
            return True
        return False

    def head(self, ref: str = MAIN) -> CommitId:
        """The id of the commit a ref stands for. Raises NotFound."""
        return self.get(ref).id

    def log(self, ref: str = MAIN, *, first_parent: bool = False) -> Iterator[Commit]:
        """Commits from the newest to the oldest; below a prefix, those that were made through it."""
        for record in self._walk(self.head(ref), first_parent=first_parent):
            if not self._place.prefix or (record.metadata or {}).get(names.PREFIX_KEY) == self._place.prefix:
                yield _commit(record)

    def _walk(self, ref: str, *, first_parent: bool) -> Iterator[Any]:
        log = self._lake.sdk.refs_api.log_commits
        return self._lake.pages(log, self._place.repository, ref, amount=200, first_parent=first_parent)

    def since(
        self, head: CommitId, branch: str, message: str, metadata: Mapping[str, str], source: CommitId | None = None
    ) -> Commit | None:
        """The commit of that message and metadata, and of that merged source, that came upon `head` on a branch."""
        for record in self._walk(self._place.ref(branch), first_parent=True):
            commit = _commit(record)
            if commit.id == head:
                return None
            if (commit.message, commit.metadata) == (message, dict(metadata)) and source in (None, *commit.parents[1:]):
                return commit
        return None

    def base(self, source: CommitId, into: str) -> CommitId:
        """The commit from which a merge of `source` would take both sides' changes."""
        ask = self._lake.sdk.refs_api.find_merge_base
        return str(self._lake.ask(ask, self._place.repository, source, self._place.ref(into)).base_commit_id)

    def _diff(self, left: CommitId, right: CommitId, prefix: str, **options: Any) -> Iterator[Any]:
        diff = self._lake.sdk.refs_api.diff_refs
        start = self._place.key(prefix)
        return self._lake.pages(diff, self._place.repository, left, right, type="two_dot", prefix=start, **options)

    def diff(self, left: str, right: str, prefix: str = "") -> list[Change]:
        """Paths that differ between two refs, below a string prefix, sorted."""
        differences = self._diff(self.head(left), self.head(right), prefix)
        changes = (Change(path=self._place.path(each.path), kind=each.type) for each in differences)
        return sorted(changes, key=lambda change: change.path)

    def is_empty(self, ref: CommitId) -> bool:
        """Whether a commit holds no object."""
        listing = self._lake.sdk.objects_api.list_objects
        start = self._place.key("")
        return not self._lake.ask(listing, self._place.repository, ref, prefix=start, amount=1).results

    def moved(self, guard: Guard, ref: str) -> str | None:
        """A path under the guard's prefixes that differs between its commit and a ref."""
        head = self.head(ref)
        for prefix in guard.prefixes if head != guard.commit else ():
            for difference in self._diff(guard.commit, head, prefix, amount=1):
                return self._place.path(difference.path)
        return None

    def brings(self, source: CommitId, base: CommitId) -> tuple[list[Change], str]:
        """What `source` changed since `base`, and the digest of it with every object's checksum."""
        differences = list(self._diff(base, source, "", include_right_stats=True))
        changes = [Change(path=self._place.path(each.path), kind=each.type) for each in differences]
        sums = ((each.type, each.path, each.right.checksum if each.right else "") for each in differences)
        return changes, signatures.digest(sums)


def _commit(record: Any) -> Commit:
    return Commit(
        id=record.id,
        parents=tuple(record.parents),
        message=record.message,
        metadata=names.read_commit_metadata(record.metadata),
        time=datetime.fromtimestamp(record.creation_date, UTC),
    )

"""A repository as such: whether it is there, whether its `main` is protected, and making both so."""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatchcase
from functools import cached_property

from schemas.errors import Conflict, NotFound, StoreError, UsageError
from tasks.versions.lakefs.client import Lake, body
from tasks.versions.lakefs.names import Place
from tasks.versions.protocol import MAIN


class Repository:
    """One repository of a server."""

    def __init__(self, lake: Lake, place: Place, namespace: str | None) -> None:
        self._lake, self._place, self._namespace = lake, place, namespace

    def exists(self) -> bool:
        """Whether it is there."""
        try:
            self._lake.ask(self._lake.sdk.repositories_api.get_repository, self._place.repository)
        except NotFound:
            return False
        return True

    def create(self) -> None:
        """Make it with a protected `main`. Raises UsageError where a path prefix says that it is another team's.

        The protection comes before the first write: set later, it takes the server seconds to keep to it, and what was
        written to `main` meanwhile would block every merge. A repository that is there is protected only while empty.
        """
        if not self.exists():
            self._make()
        if not self.protected() and self._empty():
            self.protect()

    def _make(self) -> None:
        name = self._place.repository
        if self._place.prefix:
            raise UsageError(
                f"there is no repository {name!r}: Penstock makes none where {self._place.url} gives it a prefix"
            )
        creation = body("RepositoryCreation", name=name, storage_namespace=self.namespace, default_branch=MAIN)
        with suppress(Conflict):  # another process was faster
            self._lake.ask(self._lake.sdk.repositories_api.create_repository, creation)

    @cached_property
    def namespace(self) -> str:
        """Where the server keeps the repository's objects: below the setting, or below what the server suggests.

        Raises UsageError where neither says.
        """
        name, storage = self._place.repository, self._lake.config.storage_config
        start = self._namespace or (storage and storage.default_namespace_prefix)
        if start:
            return f"{start}{name}" if start.endswith("/") else f"{start}/{name}"
        raise UsageError(
            f"cannot make the repository {name!r}: set PENSTOCK_LAKE_NAMESPACE to where its objects shall lie, "
            "for example s3://bucket/lake"
        )

    def protected(self) -> bool:
        """Whether a rule of the repository protects `main`."""
        rules = self._lake.ask(self._lake.sdk.repositories_api.get_branch_protection_rules, self._place.repository)
        return any(fnmatchcase(MAIN, rule.pattern) for rule in rules)

    def _empty(self) -> bool:
        api, name = self._lake.sdk, self._place.repository
        head = self._lake.ask(api.commits_api.get_commit, name, MAIN)
        return not head.parents and not self._lake.ask(api.objects_api.list_objects, name, MAIN, amount=1).results

    def uncommitted(self) -> list[str]:
        """Some of the paths that were written to `main` and not committed: they block every merge."""
        diff = self._lake.sdk.branches_api.diff_branch
        return [change.path for change in self._lake.ask(diff, self._place.repository, MAIN, amount=10).results]

    def protect(self) -> None:
        """Protect `main`; other rules stay."""
        api, name = self._lake.sdk.repositories_api, self._place.repository
        rules = self._lake.ask(api.get_branch_protection_rules, name)
        self._lake.ask(api.set_branch_protection_rules, name, [*rules, body("BranchProtectionRule", pattern=MAIN)])

    def require_protection(self) -> None:
        """Raise StoreError where `main` is not protected; it is asked once, since nobody takes a protection away idly."""
        if not self._is_protected:
            raise StoreError(
                f"cannot publish to {self._place.url}: its 'main' is not protected, so anybody could write to it past the "
                "audit; run penstock lake init, or ask the platform team to protect it"
            )

    @cached_property
    def _is_protected(self) -> bool:
        return self.protected()

"""A lakeFS repository made ready for a use case, and what doctor sees of a lake.

Everything here can be run again. With `check` nothing is changed: a platform team that owns the lake can see what is
missing and do it by its own means; docs/lakefs.md lists the rights that Penstock then needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from schemas.errors import NotFound, UsageError
from schemas.refs import Value
from schemas.settings import Settings
from tasks.versions import MAIN
from tasks.versions.lakefs.client import Lake
from tasks.versions.lakefs.hooks import action_path
from tasks.versions.lakefs.store import LakeFSStore

BRANCH = "penstock/hook"
TOKEN_VARIABLE = "LAKEFSACTION_PENSTOCK_TOKEN"  # lakeFS passes only variables of that prefix on, and hides them in its logs
INIT = "penstock lake init"


class Step(Value):
    """One thing that a repository needs."""

    name: str
    status: Literal["ok", "made", "missing", "note"]
    detail: str


@dataclass(frozen=True)
class Need:
    """One thing that a repository needs: whether it is there, and how to make it."""

    name: str
    there: Callable[[], bool]
    make: Callable[[], None]
    detail: str

    def apply(self, *, check: bool) -> Step:
        """See to it, or only look."""
        if self.there():
            return Step(name=self.name, status="ok", detail=self.detail)
        if check:
            return Step(name=self.name, status="missing", detail=self.detail)
        self.make()
        return Step(name=self.name, status="made", detail=self.detail)


def init(settings: Settings, use_case: str, *, check: bool) -> list[Step]:
    """Make the repositories of a use case ready. Raises UsageError where the lake is not a lakeFS server."""
    if not (settings.lake_url or "").startswith("lakefs://"):
        raise UsageError(f"{INIT} is for lakeFS: set PENSTOCK_LAKE_URL to lakefs:// or lakefs://<repository>")
    lake = Lake()
    data, log = (LakeFSStore(settings.store_url(name), settings, lake) for name in (use_case, f"{use_case}-log"))
    return [*_repository(data, check), *_hook(settings, use_case, data, check), *_repository(log, check)]


def _repository(store: LakeFSStore, check: bool) -> Iterator[Step]:
    repository = store.repository
    url = store.url
    yield Need(f"{url} repository", repository.exists, store.create, "with its main branch").apply(check=check)
    if not repository.exists():
        yield Step(name=f"{url} protection", status="missing", detail="comes with the repository")
        return
    if not repository.protected() and (paths := repository.uncommitted()):
        raise UsageError(
            f"'main' of {url} has uncommitted changes ({paths[0]}), and once it is protected nobody can reset them: "
            f"run lakectl branch reset lakefs://{store.place.repository}/main, then {INIT} again"
        )
    yield Need(f"{url} protection", repository.protected, repository.protect, "main takes merges only").apply(check=check)


def _hook(settings: Settings, use_case: str, store: LakeFSStore, check: bool) -> Iterator[Step]:
    name = f"{store.url} hook"
    if not settings.lake_hook_url:
        yield Step(name=name, status="note", detail="not used: writers take turns; PENSTOCK_LAKE_HOOK_URL says where it is")
        return
    wanted = action(settings.lake_hook_url, use_case)
    yield Need(
        name, lambda: installed(store) == wanted, lambda: _install(settings, store, wanted), settings.lake_hook_url
    ).apply(check=check)


def action(url: str, use_case: str) -> str:
    """The hook as lakeFS reads it. The token stays on the server: the file only names its variable."""
    events = "".join(
        f"  {event}:\n    branches: [{MAIN}]\n"
        for event in ("pre-merge", "post-merge", "pre-commit", "pre-revert", "pre-cherry-pick")
    )
    return (
        f"# Written by `{INIT} {use_case}`.\n"
        f"name: penstock {use_case}\n"
        f"on:\n{events}"
        "hooks:\n"
        "  - id: penstock\n"
        "    type: webhook\n"
        "    properties:\n"
        f"      url: {json.dumps(url.rstrip('/') + '/lake')}\n"
        "      timeout: 60s\n"
        f"      query_params: {{use_case: {json.dumps(use_case)}}}\n"
        f'      headers: {{Authorization: "Bearer {{{{ ENV.{TOKEN_VARIABLE} }}}}"}}\n'
    )


def installed(store: LakeFSStore) -> str | None:
    """The hook on `main`, as it is written there."""
    try:
        return _whole(store).read(MAIN, action_path(store.place)).decode(errors="replace")
    except NotFound:
        return None


def _whole(store: LakeFSStore, settings: Settings | None = None) -> LakeFSStore:
    """The repository without its prefix: hooks lie at its root."""
    return LakeFSStore(f"lakefs://{store.place.repository}", settings, store.lake)


def _install(settings: Settings, store: LakeFSStore, wanted: str) -> None:
    """By way of a branch, as everything comes to `main`; lakeFS asks the new hook about this merge, so it must answer."""
    whole = _whole(store, settings)
    whole.delete_branch(BRANCH)
    whole.branch(BRANCH)
    whole.upload(BRANCH, action_path(store.place), wanted.encode())
    whole.commit(BRANCH, "Penstock's hook", {"kind": "hook"})
    whole.merge(BRANCH, MAIN, "Penstock's hook", {"kind": "hook"})
    whole.delete_branch(BRANCH)

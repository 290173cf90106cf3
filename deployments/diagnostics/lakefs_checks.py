"""Checks of a lakeFS server: who may do what there, and whether the merge hook stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from deployments.diagnostics.finding import Finding
from deployments.lakefs_server.setup import INIT, action, installed
from schemas.errors import PenstockError
from schemas.settings import Settings
from schemas.usecase import registered
from tasks.versions.lakefs.client import Lake
from tasks.versions.lakefs.names import parse
from tasks.versions.lakefs.store import LakeFSStore


def lake_findings(settings: Settings) -> list[Finding]:
    """What doctor says about a lake on lakeFS; nothing where the lake is the embedded store."""
    if not (settings.lake_url or "").startswith("lakefs://"):
        return []
    lake = Lake()
    try:
        user = lake.ask(lake.sdk.auth_api.get_current_user).user
        version = lake.config.version_config.version if lake.config.version_config else "unknown"
    except PenstockError as error:
        mend = "start the server, or mend LAKECTL_SERVER_ENDPOINT_URL and the credentials"
        return [Finding(name="lakeFS", status="wrong", detail=str(error), mend=mend)]
    who = Finding(name="lakeFS", status="ok", detail=f"{lake.endpoint} ({version}), as {user.friendly_name or user.id}")
    return [who, *(finding for name in sorted(registered()) for finding in _findings(settings, lake, name))]


def _findings(settings: Settings, lake: Lake, use_case: str) -> Iterator[Finding]:
    url = settings.store_url(use_case)
    mend = f"{INIT} {use_case}"
    try:
        parse(url)
        store = LakeFSStore(url, settings, lake)
        if not store.exists():
            yield Finding(name=url, status="note", detail="the repository is not made yet", mend=mend)
            return
        protected = store.repository.protected()
        state: Literal["ok", "wrong"] = "ok" if protected else "wrong"
        detail = "main is protected" if protected else "main is not protected: anybody may write past the audit"
        yield Finding(name=url, status=state, detail=detail, mend="" if protected else mend)
        yield _hook_finding(settings, use_case, store)
    except PenstockError as error:
        yield Finding(name=url, status="wrong", detail=str(error), mend="docs/lakefs.md lists the rights that are needed")


def _hook_finding(settings: Settings, use_case: str, store: LakeFSStore) -> Finding:
    name, current = f"{store.url} hook", installed(store)
    if not settings.lake_hook_url:
        detail = "is installed, but PENSTOCK_LAKE_HOOK_URL is not set" if current else "not used: writers take turns"
        return Finding(name=name, status="note", detail=detail)
    if current != action(settings.lake_hook_url, use_case):
        detail = "is out of date" if current else "is not installed"
        return Finding(name=name, status="wrong", detail=detail, mend=f"{INIT} {use_case}")
    if settings.lake_signing_key is None:
        detail = "is installed, but our merges are not sealed, so it audits each of them again"
        return Finding(name=name, status="note", detail=detail, mend="set PENSTOCK_LAKE_SIGNING_KEY, the same for the hook")
    return Finding(name=name, status="ok", detail=f"is installed, at {settings.lake_hook_url}")

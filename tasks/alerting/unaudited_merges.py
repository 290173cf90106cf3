"""Rows that came to `main` of a lake past its hook and break their contract: one alert a merge, open until they are gone."""

from __future__ import annotations

from schemas.refs import Commit
from schemas.verdicts import Alert
from tasks.alerting import outbox
from tasks.versions import MAIN, VersionStore, open_store

UNAUDITED = "lake.unaudited."


def unaudited_merge_alert(use_case: str, merge: Commit, why: str) -> Alert:
    """The alert about a merge into main that no audit saw.

    Args:
        use_case: Name of the use case.
        merge: The commit of main.
        why: What is wrong with it.

    Returns:
        The alert, critical.
    """
    summary = f"{merge.id[:12]} went past the hook: {why}"
    cause = f"{UNAUDITED}{merge.id[:16]}"
    return Alert(use_case=use_case, cause=cause, severity="critical", summary=summary, runbook="lake-unaudited")


def standing_unaudited_alerts(store_url: str, log_url: str) -> tuple[Alert, ...]:
    """The open alerts of merges whose rows still lie on `main`.

    Args:
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        log_url: URL of the use case's log repository, `<use case>-log`.

    Returns:
        The alerts; empty where there are none.
    """
    log, store = open_store(log_url), open_store(store_url)
    unaudited = [each for each in outbox.open_alerts(log) if each.cause.startswith(UNAUDITED)]
    return tuple(each for each in unaudited if _stands(store, each.cause.removeprefix(UNAUDITED)))


def _stands(store: VersionStore, merge: str) -> bool:
    for commit in store.log(MAIN, first_parent=True):
        if commit.id.startswith(merge):
            added = {change.path for change in store.diff(commit.parents[0], commit.id) if change.kind == "added"}
            return any(stored.path in added for stored in store.objects(MAIN, "data/"))
    return False

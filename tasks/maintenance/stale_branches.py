"""What work leaves behind: branches that are finished, and those that nobody has come back to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from schemas.errors import NotFound
from schemas.refs import Commit
from schemas.results import SweptBranch
from tasks import alerting, inference, monitoring, promotion, publishing
from tasks.versions import MAIN, VersionStore, open_store

OURS = (
    publishing.BRANCH_PREFIX,
    f"{inference.SCORE_KIND}/",
    f"{inference.RECEIPTS_KIND}/",
    f"{monitoring.MONITORING_KIND}/",
    f"{alerting.ALERTS_KIND}/",
    f"{promotion.HISTORY_KIND}/",
)


def sweep_branches(store_url: str, older_than_days: float, dry_run: bool) -> tuple[SweptBranch, ...]:
    """Remove the finished branches of our flows and those whose last commit is older than a number of days.

    A branch is finished when a commit of main says that it was merged from it. One that is at work may go, too, where `main`
    itself is older than the limit: its run notices and stages again.

    Args:
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        older_than_days: Age in days from which something goes.
        dry_run: Only say what would go.

    Returns:
        One entry a branch: whether it went or stays, and why.
    """
    store = open_store(store_url)
    if not store.exists():
        return ()
    swept = []
    for branch in _judged(store, datetime.now(UTC) - timedelta(days=older_than_days)):
        if branch.what != "kept" and not dry_run:
            store.delete_branch(branch.branch)
        swept.append(branch)
    return tuple(swept)


def _judged(store: VersionStore, limit: datetime) -> Iterator[SweptBranch]:
    published = {c.metadata["branch"]: c for c in store.log(MAIN, first_parent=True) if "branch" in c.metadata}
    for name in store.branches():
        if not name.startswith(OURS):  # somebody else's
            continue
        try:
            head = store.get(store.head(name))
        except NotFound:  # its run finished meanwhile
            continue
        yield _judge(store.url, name, head, published.get(name), limit)


def _judge(url: str, name: str, head: Commit, merged: Commit | None, limit: datetime) -> SweptBranch:
    if merged is not None:
        return SweptBranch(store=url, branch=name, what="finished", why=f"published as {merged.id[:12]}")
    subject = f", {head.message}" if name.startswith(publishing.BRANCH_PREFIX) else ""
    detail = f"last commit {head.time:%Y-%m-%d %H:%M} UTC{subject}"
    return SweptBranch(store=url, branch=name, what="stale" if head.time < limit else "kept", why=detail)

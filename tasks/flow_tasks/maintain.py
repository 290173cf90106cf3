"""Tasks of maintenance: stale branches and old receipts go."""

from __future__ import annotations

from prefect import task

from schemas.results import SweptBranch, SweptReceipts
from tasks import maintenance
from tasks.orchestration import TASK_OPTIONS


@task(**TASK_OPTIONS, tags={"lake"})
def sweep_branches(store_url: str, older_than_days: float, dry_run: bool) -> tuple[SweptBranch, ...]:
    """Remove the finished branches of our flows, and those whose last commit is older than a number of days.

    A branch is finished when a commit of main says that it was merged from it. One that is at work may go, too, where `main`
    itself is older than the limit: its run notices and stages again.

    Args:
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        older_than_days: Age in days from which something goes.
        dry_run: Only say what would go.

    Returns:
        One entry a branch: whether it went or stays, and why.

    Raises:
        StoreError: The repository cannot be read.
    """
    return maintenance.sweep_branches(store_url, older_than_days, dry_run)


@task(**TASK_OPTIONS, tags={"lake"})
def expire_logs(log_url: str, older_than_days: float, dry_run: bool) -> tuple[SweptReceipts, ...]:
    """Remove receipts older than a number of days from the head of a log repository.

    Args:
        log_url: URL of the use case's log repository, `<use case>-log`.
        older_than_days: Age in days from which something goes.
        dry_run: Only say what would go.

    Returns:
        One entry a path: what went and what is kept.

    Raises:
        StaleCheck: Others keep publishing in between: sweep again.
    """
    return maintenance.expire_logs(log_url, older_than_days, dry_run)

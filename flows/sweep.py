"""Sweep: branches that are finished or that nobody has come back to are removed, and receipts past their time let go."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.results import Sweep
from schemas.settings import in_force
from schemas.usecase import registered
from tasks import flow_tasks, orchestration
from tasks.orchestration import penstock_flow

DAYS = 14.0


@penstock_flow("sweep", "sweep branches")
def sweep(
    use_case: str | None = None,
    older_than_days: Annotated[float, Field(ge=0)] = DAYS,
    dry_run: bool = False,
) -> Sweep:
    """Remove finished and stale branches of a use case's repositories. A refused source's evidence lies on such a branch.

    Where `receipt_days` is set, older receipts of online and batch predictions leave the head of the log repository. Alerts
    about merges that went past the lake's hook are over where their rows are gone from `main`.

    Args:
        use_case: Short name of a registered use case; all of them where it is left out.
        older_than_days: A branch whose last commit is older is stale.
        dry_run: Only tell what would go.

    Returns:
        One entry a branch and a path: what went, what stays, and why.

    Raises:
        UsageError: There is no such use case, or a value is not one that the flow takes.
        ServiceUnavailable: Prefect, the lake or the registry does not answer.
    """
    names = [orchestration.begin_flow(name).name for name in ([use_case] if use_case else sorted(registered()))]
    branches = [
        branch
        for name in names
        for store in _stores(name)
        for branch in flow_tasks.sweep_branches(store, older_than_days, dry_run)
    ]
    days = in_force().receipt_days
    old = [branch for name in names for branch in flow_tasks.expire_logs(_stores(name)[1], days, dry_run)] if days else []
    result = Sweep(older_than_days=older_than_days, dry_run=dry_run, branches=tuple(branches), receipts=tuple(old))
    for name in names if not dry_run else ():
        flow_tasks.resolve_unaudited_alerts(name, *_stores(name))
    flow_tasks.report_sweep(result)
    return result


def _stores(name: str) -> tuple[str, str]:
    settings = in_force()
    return settings.store_url(name), settings.store_url(f"{name}-log")

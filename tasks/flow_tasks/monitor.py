"""Tasks of monitoring: which windows to look at, and what one says."""

from __future__ import annotations

from prefect import task

from schemas.refs import CommitId, DataRef
from schemas.results import Monitoring
from tasks import monitoring
from tasks.orchestration import TASK_OPTIONS


@task(**TASK_OPTIONS, tags={"monitor", "lake"})
def windows_to_monitor(use_case: str, commit: CommitId, store_url: str, log_url: str) -> list[CommitId]:
    """Live publishes of rows, oldest first, that were scored and that a commit brought labels for."""
    return monitoring.windows_of(use_case, commit, store_url, log_url)


@task(**TASK_OPTIONS, tags={"monitor", "lake", "registry"})
def monitor_window(
    use_case: str, data: DataRef, arrival: str | None, registry_url: str, log_url: str, reports: str
) -> Monitoring:
    """One window of scored rows: drift from the model's reference, estimated worth, realized worth where labels have come,
    the decision; all of it goes on record.

    `data`: where labels are read. Raises NotFound where nothing was scored.
    """
    return monitoring.monitor_window(use_case, data, arrival, registry_url, log_url, reports)

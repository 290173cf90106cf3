"""Tasks of monitoring: which windows to look at, and what one says."""

from __future__ import annotations

from prefect import task

from schemas.refs import CommitId, DataRef
from schemas.results import Monitoring
from tasks import monitoring
from tasks.orchestration import TASK_OPTIONS


@task(**TASK_OPTIONS, tags={"monitor", "lake"})
def windows_to_monitor(use_case: str, commit: CommitId, store_url: str, log_url: str) -> list[CommitId]:
    """The live publishes of rows that were scored and that a commit brought labels for.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        commit: Id of a commit of `main` that published labels.
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        log_url: URL of the use case's log repository, `<use case>-log`.

    Returns:
        Ids of the publishes' commits, oldest first; empty without event times or predictions.
    """
    return monitoring.windows_of(use_case, commit, store_url, log_url)


@task(**TASK_OPTIONS, tags={"monitor", "lake", "registry"})
def monitor_window(
    use_case: str, data: DataRef, arrival: str | None, registry_url: str, log_url: str, reports: str
) -> Monitoring:
    """Look at one window of scored rows, decide whether to retrain, and put all of it on record.

    Drift is measured from the reference that is stored with the model; performance is estimated without labels, and realized
    where labels have come.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        data: Commit at which labels are read.
        arrival: Commit that published the window's rows; None for the newest predictions.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.
        reports: Folder for the drift reports.

    Returns:
        Drift, estimated and realized performance, and the decision with its reason.

    Raises:
        NotFound: Nothing was scored.
    """
    return monitoring.monitor_window(use_case, data, arrival, registry_url, log_url, reports)

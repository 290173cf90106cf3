"""Monitor: one window of scored rows against the model's reference and, once they have come, the labels."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.results import Monitoring
from schemas.settings import in_force
from tasks import flow_tasks, orchestration
from tasks.orchestration import penstock_flow, require_data


@penstock_flow("monitor", "monitor {use_case}", checks=[require_data])
def monitor(use_case: Annotated[str, Field(min_length=1)], arrival: str | None = None) -> Monitoring:
    """Compare a window of scored rows with the model's reference, reconcile labels, decide whether to retrain.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        arrival: Commit of main whose scored rows are the window; the newest scored ones where it is left out.

    Returns:
        Drift, estimated and realized performance of the window, and the decision with its reason.

    Raises:
        UsageError: There is no such use case, or a value is not one that the flow takes.
        ServiceUnavailable: Prefect, the lake or the registry does not answer.
        NotFound: Nothing was scored.
    """
    case = orchestration.begin_flow(use_case)
    settings = in_force()
    data = flow_tasks.data_at(settings.store_url(case.name), None)
    log = settings.store_url(f"{case.name}-log")
    result = flow_tasks.monitor_window(
        use_case, data, arrival, settings.registry_url, log, str(settings.reports_dir / case.name)
    )
    flow_tasks.report_monitoring(case, result)
    return result

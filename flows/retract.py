"""Retract: a published source is taken back, with a reason."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.results import Retraction
from schemas.settings import in_force
from tasks import flow_tasks, orchestration
from tasks.orchestration import penstock_flow, run_name_from_source


@penstock_flow("retract", run_name_from_source)
def retract(
    use_case: Annotated[str, Field(min_length=1)],
    source: Annotated[str, Field(min_length=1)],
    reason: Annotated[str, Field(min_length=3, max_length=500)],
    input: str | None = None,
) -> Retraction:
    """Take a published source back: one commit of main undoes its publish, and the source may be delivered again.

    What it had replaced comes back. Models that were fitted on its rows are named; training again is a decision of its own.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        source: The file, the first digits of its SHA-256, or the name it was delivered under.
        reason: Why, in a sentence; it is kept with the commit.
        input: Which input it was delivered to, where it was delivered to several.

    Returns:
        What was taken back, and the versions that were trained on it.

    Raises:
        UsageError: There is no such use case, or a value is not one that the flow takes.
        ServiceUnavailable: Prefect, the lake or the registry does not answer.
        NotFound: No such source was published.
        Refused: A later source has changed the same partition.
    """
    case = orchestration.begin_flow(use_case)
    settings = in_force()
    store = settings.store_url(case.name)
    result = flow_tasks.retract_source(
        use_case, source, " ".join(reason.split()), store, settings.registry_url, orchestration.flow_run_id(), input
    )
    flow_tasks.report_retraction(case, result)
    return result

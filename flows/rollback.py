"""Rollback: make an earlier version champion again, once it has been tried out."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.results import Training
from schemas.settings import in_force
from tasks import flow_tasks, orchestration
from tasks.orchestration import penstock_flow, require_data


@penstock_flow("rollback", "rollback {use_case}", checks=[require_data])
def rollback(
    use_case: Annotated[str, Field(min_length=1)],
    reason: Annotated[str, Field(min_length=1)],
    version: Annotated[int, Field(ge=1)] | None = None,
    by: str | None = None,
) -> Training:
    """Load a version in a child process, score its golden rows, then make it champion, also while all else is frozen.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        reason: Why; it stays in the history.
        version: Version to go back to; the one that the champion replaced where it is left out.
        by: Who asks for it; the model's history names them.

    Returns:
        What became of it.

    Raises:
        UsageError: There is no such use case, or a value is not one that the flow takes.
        ServiceUnavailable: Prefect, the lake or the registry does not answer.
        NotFound: There is none to go back to.
        IntegrityError: The version fails its smoke test.
    """
    case, settings = orchestration.begin_flow(use_case), in_force()
    log, registry = settings.store_url(f"{case.name}-log"), settings.registry_url
    model = flow_tasks.find_rollback_target(use_case, version, registry, log)
    flow_tasks.smoke_test(use_case, model, registry)
    orchestration.log_step(f"v{model.version} loads and scores its golden rows as recorded: it can be champion again.")
    outcome = flow_tasks.roll_back_champion(use_case, model, registry, log, orchestration.actor_name(by), reason)
    result = Training(use_case=use_case, status=outcome.status, why=outcome.why, model=model)
    flow_tasks.report_training(case, result)
    return result

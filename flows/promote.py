"""Promote: a version by hand, through the gate, or over its head with a reason that stays in the history."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.errors import StaleCheck, UsageError
from schemas.refs import DataRef
from schemas.results import Training
from schemas.settings import Settings, in_force
from schemas.usecase import resolve
from tasks import flow_tasks, orchestration, reporting
from tasks.orchestration import penstock_flow, require_data, wait_for_approval

ATTEMPTS = 3


@penstock_flow("promote", "promote {use_case} v{version}", checks=[require_data])
def promote(
    use_case: Annotated[str, Field(min_length=1)],
    version: Annotated[int, Field(ge=1)] | None = None,
    override: str | None = None,
    by: str | None = None,
    commit: str | None = None,
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None,
) -> Training:
    """Gate a version against the champion on the newest labelled window that neither has seen; promote or refuse.

    With a threshold in place of a version the champion gets that threshold at once, without a gate: its scores stay.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        version: Version of the model.
        override: The reason to promote it whatever the gate says; it is recorded as an override.
        by: Who asks for it; the model's history names them.
        commit: Data commit that the window is read at; the head of main where it is left out.
        threshold: Probability from which the champion says the positive's word, above 0 and below 1; `override` is why.

    Returns:
        What became of the version, with the gate's verdict.

    Raises:
        UsageError: There is no such use case, or a value is not one that the flow takes.
        ServiceUnavailable: Prefect, the lake or the registry does not answer.
        NotFound: There is no such version.
        StaleCheck: The champion kept changing meanwhile.
    """
    if (version is None) == (threshold is None):
        raise UsageError("promote: give the version to gate, or the champion's new threshold, not both")
    if threshold is not None and not override:
        raise UsageError("promote: a new threshold takes a reason, which stays in the history: --override REASON")
    case, settings = orchestration.begin_flow(use_case), in_force()
    if held := flow_tasks.hold_reason(use_case, settings.registry_url, settings.store_url(f"{case.name}-log")):
        skipped = Training(use_case=use_case, status="skipped", why=held)
        orchestration.log_step(reporting.training_line(skipped))
        return skipped
    data = flow_tasks.data_at(settings.store_url(case.name), commit)
    if version is None:
        result = _with_threshold(use_case, threshold or 0.0, data, settings, override or "", by)
        flow_tasks.report_training(case, result)
        return result
    for _ in range(ATTEMPTS):
        try:
            result = _gated(use_case, version, data, settings, override, by)
        except StaleCheck:
            continue  # another champion came in between: gate again, against that one
        flow_tasks.report_training(case, result)
        return result
    raise StaleCheck(f"{case.name}: the champion kept changing while v{version} was gated; promote it again")


def _with_threshold(
    use_case: str, threshold: float, data: DataRef, settings: Settings, reason: str, by: str | None
) -> Training:
    log, who = settings.store_url(f"{resolve(use_case).name}-log"), orchestration.actor_name(by)
    outcome, model = flow_tasks.change_threshold(use_case, threshold, settings.registry_url, log, who, reason)
    return Training(use_case=use_case, status=outcome.status, why=outcome.why, model=model, data=data)


def _gated(use_case: str, version: int, data: DataRef, settings: Settings, override: str | None, by: str | None) -> Training:
    case, registry = resolve(use_case), settings.registry_url
    challenged = flow_tasks.gate_version(use_case, version, data, registry)
    model, person = challenged.model, by
    if model == challenged.champion:
        return Training(use_case=use_case, status="already done", why="it is the champion", model=model, data=data)
    orchestration.log_step(reporting.gate_line(case, challenged))
    if override or challenged.verdict.promoted:
        flow_tasks.smoke_test(use_case, model, registry)
    if not override:
        challenged, approver = wait_for_approval(case, challenged, model)
        person = approver or by
    log = settings.store_url(f"{case.name}-log")
    outcome = flow_tasks.promote_by_hand(use_case, challenged, registry, log, orchestration.actor_name(person), override)
    return Training(
        use_case=use_case,
        status=outcome.status,
        why=outcome.why,
        model=model,
        data=data,
        evaluation=challenged.evaluation,
        verdict=challenged.verdict,
    )

"""A person's yes in the dashboard, where a use case wants one before a promotion."""

from __future__ import annotations

from prefect import get_client, runtime
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.states import Running
from pydantic import Field

from schemas.refs import ModelRef
from schemas.results import Challenge
from schemas.usecase import UseCase
from schemas.verdicts import Check
from tasks.orchestration.events import emit

POLL = 2  # s between two looks for a person's answer


class Approval(RunInput):
    """What a person answers in the dashboard."""

    approve: bool = Field(default=False, description="Whether the version becomes champion")
    name: str = Field(default="", description="Who decides")
    note: str = Field(default="", description="Why")


def wait_for_approval(case: UseCase, challenged: Challenge, model: ModelRef) -> tuple[Challenge, str]:
    """Ask a person in the dashboard, where the use case wants that, and wait; nothing is locked meanwhile.

    Args:
        case: The use case.
        challenged: The gated challenger.
        model: The version that would ship.

    Returns:
        The challenge, refused where the answer is no or does not come in time, and who said so.
    """
    patience = case.gate.approval
    if patience is None or not challenged.verdict.promoted:
        return challenged, ""
    page = f"Shall **{case.name} v{model.version}** become champion? The gate says: {challenged.verdict.why}"
    form = Approval.with_initial_data(description=page)
    emit("approval.requested", case.name, {"version": model.version, "why": challenged.verdict.why})
    try:
        answer = pause_flow_run(wait_for_input=form, timeout=max(1, round(patience.total_seconds())), poll_interval=POLL)
    except FlowPauseTimeout:
        _go_on()
        return _refused(challenged, f"nobody approved v{model.version} within {patience}"), ""
    if answer.approve:
        return challenged, answer.name or "unnamed"
    return _refused(challenged, f"{answer.name or 'a person'} said no: {answer.note or 'no reason given'}"), answer.name


def _go_on() -> None:
    """The run is still paused on the server, where the answer did not come: it goes on to say so."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(runtime.flow_run.id, Running(), force=True)


def _refused(challenged: Challenge, why: str) -> Challenge:
    verdict = challenged.verdict
    checks = (*verdict.checks, Check(name="approval", passed=False, detail=why))
    refused = verdict.model_copy(update={"promoted": False, "why": f"refused: {why}", "checks": checks})
    return challenged.model_copy(update={"verdict": refused})

"""Prefect's automations as code: which event starts what, and which runs are given up as dead."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from tasks.orchestration import TAG

SILENCE = timedelta(seconds=65)  # two heartbeats of 30 s
ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")}
OURS: dict[str, str | list[str]] = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
RUNS: dict[str, str | list[str]] = {"prefect.resource.id": "prefect.flow-run.*"}
USE_CASE = "event.resource['prefect.resource.id'] | replace('penstock.use-case.', '')"


def automations(deployment: str, ids: Mapping[str, UUID]) -> list[AutomationCore]:
    """Every automation. `ids`: the deployments by their flow's name."""
    events = {
        # What the event lacks is refused by the run that it starts, where a person sees it, and not in the server's log.
        "penstock.data.landed": (
            "lifecycle",
            # '' for the input: it is told by the file's folder.
            {"source": "event.payload.source or 'an event without a source'", "input": "event.payload.input or ''"},
        ),
        "penstock.retrain.requested": ("train", {}),
    }
    wanted = [_started_by(event, ids[flow], parameters) for event, (flow, parameters) in events.items()]
    wanted += [_given_up(), _taken_up_again(ids)]
    return [core.model_copy(update={"name": f"{deployment}: {core.name}"}) for core in wanted]


def _started_by(event: str, deployment: UUID, parameters: Mapping[str, str]) -> AutomationCore:
    templates = {name: _text(expression) for name, expression in {"use_case": USE_CASE, **parameters}.items()}
    return AutomationCore(
        name=f"{event} starts a run",
        trigger=EventTrigger(expect={event}, match={"prefect.resource.id": "penstock.use-case.*"}, posture=Posture.Reactive),
        actions=[_run(deployment, templates)],
    )


def _text(expression: str) -> dict[str, Any]:
    """An expression over the event, as text. Of a plain template Prefect makes JSON, which `or` breaks."""
    return {"__prefect_kind": "jinja", "template": f"{{{{ {expression} }}}}"}


def _run(deployment: UUID, parameters: dict[str, Any]) -> RunDeployment:
    return RunDeployment(source="selected", deployment_id=deployment, parameters=parameters, job_variables=None)


def _given_up() -> AutomationCore:
    """A run whose process died, perhaps before its first heartbeat."""
    beat = "prefect.flow-run.heartbeat"
    silence = EventTrigger(
        after={beat, "prefect.flow-run.Running"},
        expect={beat, *ENDED},
        match=RUNS,
        match_related=OURS,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=SILENCE,
    )
    why = "it fell silent: its process died"
    crashed = ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=why, force=False)
    return AutomationCore(name="a silent run is marked Crashed", trigger=silence, actions=[crashed])


def _taken_up_again(ids: Mapping[str, UUID]) -> AutomationCore:
    lost: dict[str, Any] = {
        "prefect.resource.role": "deployment",
        "prefect.resource.id": [f"prefect.deployment.{ids[flow]}" for flow in ("lifecycle", "train")],
    }
    actions: list[ActionTypes] = [_run(ids["rescan"], {})]
    return AutomationCore(
        name="a crashed run is taken up again",
        trigger=EventTrigger(expect={"prefect.flow-run.Crashed"}, match=RUNS, match_related=lost, posture=Posture.Reactive),
        actions=actions,
    )


def apply(client: SyncPrefectClient, wanted: list[AutomationCore]) -> None:
    """Create what is not there, and bring what is there up to date."""
    existing = {automation.name: automation for automation in client.read_automations()}
    for core in wanted:
        if automation := existing.get(core.name):
            client.update_automation(automation.id, core)
        else:
            client.create_automation(core)

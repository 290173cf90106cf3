"""Prefect's automations as code: which event starts what, and which runs are given up as dead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.entry import TAG

SILENCE = timedelta(seconds=65)  # two heartbeats of 30 s
NEVER_BEGAN = timedelta(minutes=5)
ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")}
OURS: dict[str, str | list[str]] = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
RUNS: dict[str, str | list[str]] = {"prefect.resource.id": "prefect.flow-run.*"}
USE_CASE = "{{ event.resource['prefect.resource.id'] | replace('penstock.use-case.', '') }}"


def automations(deployment: str, ids: Mapping[str, UUID]) -> list[AutomationCore]:
    """Every automation. `ids`: the deployments by their flow's name."""
    events = {
        # What the event lacks is refused by the run that it starts, where a person sees it, and not in the server's log.
        "penstock.data.landed": ("lifecycle", {"source": "{{ event.payload.source or 'an event without a source' }}"}),
        "penstock.retrain.requested": ("train", {}),
    }
    made = [_started_by(event, ids[flow], told) for event, (flow, told) in events.items()]
    made += _dead()
    made.append(_taken_up_again(ids))
    return [core.model_copy(update={"name": f"{deployment}: {core.name}"}) for core in made]


def _started_by(event: str, deployment: UUID, parameters: Mapping[str, Any]) -> AutomationCore:
    told = {"use_case": USE_CASE, **parameters}
    if parameters:
        told["input"] = _json("(event.payload.input or none)")
    return AutomationCore(
        name=f"{event} starts a run",
        trigger=EventTrigger(expect={event}, match={"prefect.resource.id": "penstock.use-case.*"}, posture=Posture.Reactive),
        actions=[_run(deployment, told)],
    )


def _run(deployment: UUID, parameters: dict[str, Any]) -> RunDeployment:
    return RunDeployment(source="selected", deployment_id=deployment, parameters=parameters, job_variables=None)


def _json(expression: str) -> dict[str, Any]:
    """A value that an event carries, as it is and not as text."""
    template = {"__prefect_kind": "jinja", "template": f"{{{{ {expression} | tojson }}}}"}
    return {"__prefect_kind": "json", "value": template}


def _dead() -> Iterator[AutomationCore]:
    """Runs that fell silent, and runs that a worker took and never began."""
    beat = "prefect.flow-run.heartbeat"
    silent = "it fell silent: its process died"  # perhaps before its first heartbeat
    after = {beat, "prefect.flow-run.Running"}
    yield _given_up("a silent run is marked Crashed", after, {beat, *ENDED}, SILENCE, silent)
    began = {"prefect.flow-run.Running", *ENDED}
    late = "it was taken by a worker and never began"
    yield _given_up("a run that never began is marked Crashed", {"prefect.flow-run.Pending"}, began, NEVER_BEGAN, late)


def _given_up(name: str, after: set[str], expect: set[str], within: timedelta, why: str) -> AutomationCore:
    return AutomationCore(
        name=name,
        trigger=EventTrigger(
            after=after,
            expect=expect,
            match=RUNS,
            match_related=OURS,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=why, force=False)],
    )


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
    there = {found.name: found for found in client.read_automations()}
    for core in wanted:
        if found := there.get(core.name):
            client.update_automation(found.id, core)
        else:
            client.create_automation(core)

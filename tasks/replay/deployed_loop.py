"""How a replay brings an arrival to the loop: in this process, or as a file that lands where the deployed system watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL

from schemas.errors import PenstockError, ServiceUnavailable, UsageError
from schemas.settings import in_force
from schemas.usecase import resolve
from tasks import datasets, ingestion, monitoring, orchestration
from tasks.registry import STATE, open_registry
from tasks.versions import open_store

# What a training came to, by the state that its version has by now.
BECAME = dict.fromkeys(("champion", "archived", "rolled back"), "promoted") | {
    "refused": "refused",
    "superseded": "refused",
}
PATIENCE = 1800.0  # s that one arrival, and the training that it asks for, may take
LOOK = 0.5  # s between two looks
FAR = datetime.max.replace(tzinfo=UTC)  # when every next attempt is due


@dataclass(frozen=True)
class ArrivalResult:
    """What became of one arrival: trainings that made a model, those that had before, sources that were refused and why."""

    accepted: int
    rejected: int
    trained: tuple[str, ...]
    why: str
    repeated: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


Deliver = Callable[[str, str, Path], ArrivalResult]


def deliver_to_deployment(use_case: str, input: str, path: Path) -> ArrivalResult:
    """Wait until the deployed system has done all that the landed file sets in motion; rescan takes up what was lost.

    Raises UsageError without a Prefect server, PenstockError where the file's run ended badly, ServiceUnavailable where
    it does not end.
    """
    if not PREFECT_API_URL.value():
        raise UsageError("replay --deployed needs the Prefect server of the system: run penstock up, and what it prints")
    settings, name = in_force(), resolve(use_case).name
    registry, log = open_registry(settings.registry_url), open_store(settings.store_url(f"{name}-log"))
    file = ingestion.locate_landed(settings.landing_dir, path)
    sha256, known, asked = file.sha256(), {v.version for v in registry.versions(name)}, _requests(log)
    with get_client(sync_client=True) as client:
        run = _ended(client, orchestration.arrival_key(file, sha256))
        if not run.state or not run.state.is_completed():
            raise PenstockError(f"{run.name} did not complete: {run.state.message if run.state else 'it has no state'}")
        if _requests(log) > asked:
            _trained(client, name, run)
    states = (
        (v.version, BECAME.get(registry.tags(v).get(STATE, ""))) for v in registry.versions(name) if v.version not in known
    )
    made = tuple(f"{state} v{version}" for version, state in states if state)
    published = datasets.published_commit(open_store(settings.store_url(name)), sha256, input)
    why = (run.state.message or "").strip()
    if published is None:
        return ArrivalResult(0, 0, made, why, refused=(f"{path.name}: {why}",))
    return ArrivalResult(int(published.metadata["accepted"]), int(published.metadata["rejected"]), made, why)


def _requests(log: Any) -> int:
    """How often monitoring has asked for a training."""
    return sum(seen.decision.retrain for seen in monitoring.read_monitoring_log(log))


def _ended(client: SyncPrefectClient, cause: str) -> FlowRun:
    """The last attempt at a cause, ended; one that was lost is waited for until `rescan` has made the next."""
    for _ in _looks(f"the run for {cause}"):
        runs = orchestration.attempts_at(client, cause)
        if runs and (state := runs[-1].state) and state.is_final():
            lost = state.is_crashed() or state.is_failed()
            if not (lost and orchestration.is_worth_another(runs[-1], FAR)):
                return runs[-1]
    raise AssertionError("unreachable")


def _trained(client: SyncPrefectClient, name: str, after: FlowRun) -> None:
    """Wait for the training that was asked for: one begun since, with none under way."""
    wanted: dict[str, Any] = {"expected_start_time": {"after_": after.expected_start_time}}
    for _ in _looks(f"the training of {name}"):
        runs = client.read_flow_runs(
            flow_filter=FlowFilter.model_validate({"name": {"any_": ["train"]}}),
            deployment_filter=DeploymentFilter.model_validate({"name": {"any_": [in_force().deployment]}}),
            flow_run_filter=FlowRunFilter.model_validate(wanted),
        )
        mine = [run.state for run in runs if run.parameters.get("use_case") == name and run.state]
        if mine and all(state.is_final() for state in mine):
            return


def _looks(what: str) -> Iterator[None]:
    """Moments to look again. Raises ServiceUnavailable once patience is at its end."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        yield
        time.sleep(LOOK)
    raise ServiceUnavailable(f"{what} did not end within {PATIENCE:.0f} s: look at it in the Prefect dashboard")

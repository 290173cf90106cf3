"""How a replay brings an arrival to the loop: in this process, or as a file that lands where the deployed system watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import PenstockError
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

    Args:
        use_case: Name of the use case.
        input: Name of the input, for example `labels`.
        path: The landed file.

    Returns:
        What became of the arrival: rows, trainings, refusals.

    Raises:
        UsageError: No Prefect server is named.
        PenstockError: The file's run ended badly.
        ServiceUnavailable: The run does not end.
    """
    orchestration.require_server("replay --deployed")
    settings, name = in_force(), resolve(use_case).name
    registry, log = open_registry(settings.registry_url), open_store(settings.store_url(f"{name}-log"))
    file = ingestion.locate_landed(settings.landing_dir, path)
    sha256, known, asked = file.sha256(), {v.version for v in registry.versions(name)}, _requests(log)
    run = orchestration.wait_for_last_attempt(orchestration.arrival_key(file, sha256))
    if not run.state or not run.state.is_completed():
        raise PenstockError(f"{run.name} did not complete: {run.state.message if run.state else 'it has no state'}")
    if _requests(log) > asked:
        orchestration.wait_for_training(name, run)
    states = (
        (v.version, BECAME.get(registry.tags(v).get(STATE, ""))) for v in registry.versions(name) if v.version not in known
    )
    trained = tuple(f"{state} v{version}" for version, state in states if state)
    published = datasets.published_source(open_store(settings.store_url(name)), sha256, input)
    why = (run.state.message or "").strip()
    if published is None:
        return ArrivalResult(0, 0, trained, why, refused=(f"{path.name}: {why}",))
    return ArrivalResult(published.accepted, published.rejected, trained, why)


def _requests(log: Any) -> int:
    """How often monitoring has asked for a training."""
    return sum(record.decision.retrain for record in monitoring.read_monitoring_log(log))

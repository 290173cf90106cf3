"""Runs that are started for a cause, once: the key of a run is <use case>/<input>:<hash of the cause>/<attempt>.

Prefect's server answers a known key with the run that has it, whatever became of that run: so the attempt belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from schemas.errors import ServiceUnavailable, UsageError
from schemas.refs import Sha256
from schemas.settings import in_force
from tasks.datasets import SourceState
from tasks.ingestion import LandedFile

MOST_ATTEMPTS = 10
NEVER_BEGAN = timedelta(minutes=10)  # an image may have to be fetched first
NEVER_BEGAN_HERE = timedelta(minutes=3)  # a process of the worker's own machine
DAYS = 7  # how far back lost runs are looked for
PAGE = 200  # runs that Prefect's server gives at once
# What a run ended with that would end so again.
FOR_GOOD = ("UsageError", "Refused", "NotEnoughEvidence", "IntegrityError", "NotFound")


def start(deployment: str | UUID, cause: str, attempt: int, parameters: dict[str, Any], name: str) -> FlowRun:
    """Ask for a run, unless it was asked for before. Raises UsageError without such a deployment, ServiceUnavailable."""
    try:
        run: FlowRun = run_deployment(  # type: ignore[assignment]
            deployment,
            parameters=parameters,
            flow_run_name=name,
            timeout=0,
            as_subflow=False,
            idempotency_key=f"{cause}/{attempt}",
        )
    except ObjectNotFound:
        raise UsageError(f"no deployment {deployment}: run penstock deploy, or set PENSTOCK_DEPLOYMENT") from None
    except Exception as error:
        if is_unreachable(error):
            raise ServiceUnavailable(f"Prefect's server does not answer: {deployment} was not started") from None
        raise
    return run


def start_arrival(file: LandedFile, sha256: Sha256, attempt: int) -> FlowRun:
    """Ask for the lifecycle of a file that has landed.

    Args:
        file: The landed file.
        sha256: SHA-256 of its bytes.
        attempt: Number of the attempt, from 1 on; one number never starts two runs.

    Returns:
        The run.
    """
    parameters = {"use_case": file.use_case, "source": file.source, "input": file.input}
    name = f"lifecycle {file.use_case} {file.path.name}"
    return start(_lifecycle(), arrival_key(file, sha256), attempt, parameters, name)


def start_published(use_case: str, input: str, commit: str) -> FlowRun:
    """Ask for what follows from a commit of main that others brought.

    Args:
        use_case: Name of the use case.
        input: Name of the input, for example `labels`.
        commit: Id of a commit of `main`.

    Returns:
        The run.
    """
    parameters = {"use_case": use_case, "published": commit, "input": input}
    name = f"lifecycle {use_case} {commit[:12]}"
    return start(_lifecycle(), f"{use_case}/{input}:{commit}", 1, parameters, name)  # a merge may bring several inputs


def arrival_key(file: LandedFile, sha256: Sha256) -> str:
    """The cause that a landed file is; the same bytes moved to another input are another cause.

    Args:
        file: The landed file.
        sha256: SHA-256 of its bytes.

    Returns:
        The cause as a key: use case, input and hash.
    """
    return f"{file.use_case}/{file.input}:{sha256}"


def _lifecycle() -> str:
    return f"lifecycle/{in_force().deployment}"


def attempts_at(client: SyncPrefectClient, cause: str) -> list[FlowRun]:
    """The runs for a cause, the first attempt first.

    Args:
        client: Client of the Prefect server.
        cause: What the runs are for, as `arrival_key` gives it.

    Returns:
        The runs.
    """
    keys = [f"{cause}/{attempt}" for attempt in range(1, MOST_ATTEMPTS + 1)]
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate({"idempotency_key": {"any_": keys}}))
    return sorted(runs, key=lambda run: keys.index(str(run.idempotency_key)))


def attempt_for_delivery(runs: list[FlowRun], fate: SourceState | None) -> int | None:
    """Which attempt a file that was delivered just now gets; None where nothing is left to do, or somebody is at it.

    The same bytes delivered again are looked at again where they did not reach main, or were taken back from it.

    Args:
        runs: The runs for this cause, the first attempt first.
        fate: What became last of the source on main; None where it never came there.

    Returns:
        Number of the attempt, or None.
    """
    if not runs:
        return None if fate == "published" else 1
    last = runs[-1].state
    if fate == "published" or last is None or not last.is_final() or last.is_crashed():
        return None
    return len(runs) + 1


def give_up_pending(client: SyncPrefectClient) -> None:
    """Mark runs Crashed that a worker took and that never began: what has no process sends no heartbeat to miss.

    Args:
        client: Client of the Prefect server.
    """
    pools = {pool.name: NEVER_BEGAN_HERE if pool.type == "process" else NEVER_BEGAN for pool in client.read_work_pools()}
    asked = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PENDING"]}}})
    ours = DeploymentFilter.model_validate({"name": {"any_": [in_force().deployment]}})
    for run in client.read_flow_runs(flow_run_filter=asked, deployment_filter=ours):
        patience = pools.get(run.work_pool_name or "", NEVER_BEGAN)
        if run.state and datetime.now(UTC) - run.state.timestamp > patience:
            client.set_flow_run_state(run.id, Crashed(message="a worker took it, and it never began"), force=True)


def lost_runs(client: SyncPrefectClient) -> list[FlowRun]:
    """Runs of our deployments that crashed or failed for a passing reason, and whose next attempt was not made.

    Args:
        client: Client of the Prefect server.

    Returns:
        The runs, in the order in which they were to begin.
    """
    ended = {
        "state": {"type": {"any_": ["CRASHED", "FAILED"]}},
        "expected_start_time": {"after_": datetime.now(UTC) - timedelta(days=DAYS)},
    }
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": ["lifecycle", "train"]}}),
        deployment_filter=DeploymentFilter.model_validate({"name": {"any_": [in_force().deployment]}}),
        flow_run_filter=FlowRunFilter.model_validate(ended),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=PAGE,
        offset=len(runs),
    ):
        runs += page
    again = [run for run in runs if is_worth_another(run)]
    known = _known(client, (next_key(run) for run in again))
    return [run for run in again if next_key(run) not in known]


def is_worth_another(run: FlowRun, now: datetime | None = None) -> bool:
    """Whether a run that ended is tried again now: the first crash at once, what fails again and again ever more rarely.

    Args:
        run: A run that ended.
        now: The moment to judge at; None for the present.

    Returns:
        Whether it is tried again.
    """
    _, attempt = cause_of(run)
    state = run.state
    if state is None or attempt >= MOST_ATTEMPTS or any(f"{name}:" in (state.message or "") for name in FOR_GOOD):
        return False
    tries = attempt - 1 if state.is_crashed() else attempt
    wait = timedelta(minutes=min(2 ** (tries - 1), 60)) if tries else timedelta()
    return (now or datetime.now(UTC)) - state.timestamp >= wait


def retry_lost_run(run: FlowRun) -> FlowRun:
    """Ask for the next attempt at what a lost run was to do.

    Args:
        run: A run that `lost_runs` gave.

    Returns:
        The new run.
    """
    cause, attempt = cause_of(run)
    assert run.deployment_id
    return start(run.deployment_id, cause, attempt + 1, run.parameters, run.name)


def cause_of(run: FlowRun) -> tuple[str, int]:
    """A run's cause and which attempt it was; a run without a key of ours is the first attempt at its own cause."""
    cause, _, attempt = (run.idempotency_key or "").rpartition("/")
    if cause.count("/") == 1 and attempt.isdigit():
        return cause, int(attempt)
    return f"{run.parameters.get('use_case', 'unknown')}/{run.id}", 1


def next_key(run: FlowRun) -> str:
    """The key that the next attempt has."""
    cause, attempt = cause_of(run)
    return f"{cause}/{attempt + 1}"


def _known(client: SyncPrefectClient, keys: Iterable[str]) -> set[str]:
    wanted, runs = list(keys), list[FlowRun]()
    for first in range(0, len(wanted), PAGE):
        wanted_keys = {"idempotency_key": {"any_": wanted[first : first + PAGE]}}
        runs += client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted_keys))
    return {str(run.idempotency_key) for run in runs}


def is_unreachable(error: BaseException) -> bool:
    """Whether the server did not answer, somewhere among the error's causes.

    Args:
        error: Any error.

    Returns:
        Whether it is so.
    """
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, httpx.TransportError) or "Failed to reach API" in str(chain):
            return True
        chain = chain.__cause__ or chain.__context__
    return False

"""Turns: runs of one use case come one after another, in the order in which they were asked for; other teams' do not wait.

A turn is a courtesy and no lock: whoever comes out of turn repeats no effect, since each effect is looked up before it is
repeated. It keeps ten copies of one event from training ten times at once, and weather before the flights that look it up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.concurrency.sync import concurrency

PATIENCE = 3600.0  # s that a run waits for older ones, which may be lost without anybody marking them so
COMING = 30.0  # s in which a worker may still take an older run; it may have no room for it as long as we wait
UNFINISHED, TAKEN = ("SCHEDULED", "PENDING", "RUNNING"), ("PENDING", "RUNNING")
LEASE = 60.0  # s after which the slot of a run that died is free
POLL_SECONDS = 2.0  # between two queries


def limit_name(flow: str, use_case: str) -> str:
    """The global concurrency limit of one flow and use case.

    Args:
        flow: Name of the flow.
        use_case: Name of the use case.

    Returns:
        Name of the limit.
    """
    return f"penstock-{flow}-{use_case}"


@contextmanager
def wait_for_turn(flow: str, use_case: str) -> Iterator[None]:
    """Wait for the runs of this flow and use case that were asked for earlier. In Python, without a deployment, no wait.

    Args:
        flow: Name of the flow.
        use_case: Name of the use case.

    Yields:
        Nothing.
    """
    if not runtime.deployment.id:
        yield
        return
    with get_client(sync_client=True) as client:
        me = client.read_flow_run(UUID(runtime.flow_run.id))
        since = time.monotonic()
        # A run within another has no deployment of its own, and its turn came with the other's.
        while me.deployment_id and (waited := time.monotonic() - since) < PATIENCE:
            if not _older(client, me, use_case, UNFINISHED if waited < COMING else TAKEN):
                break
            time.sleep(POLL_SECONDS)
    # Without such a limit on the server this passes at once.
    with concurrency(limit_name(flow, use_case), lease_duration=LEASE, raise_on_lease_renewal_failure=False):
        yield


def _older(client: SyncPrefectClient, me: FlowRun, use_case: str, states: Sequence[str]) -> bool:
    """Whether an earlier run of the same deployment and use case is in one of these states."""
    unfinished = FlowRunFilter.model_validate(
        {
            "state": {"type": {"any_": list(states)}},
            "expected_start_time": {"before_": me.expected_start_time},
        }
    )
    deployment = DeploymentFilter.model_validate({"id": {"any_": [me.deployment_id]}})
    runs = client.read_flow_runs(
        flow_run_filter=unfinished, deployment_filter=deployment, sort=FlowRunSort.EXPECTED_START_TIME_ASC
    )
    mine = (me.expected_start_time, me.id)
    return any(run.parameters.get("use_case") == use_case and (run.expected_start_time, run.id) < mine for run in runs)

"""Waiting for what the deployed system makes of a cause: the run for an arrival, and the training that it asks for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL

from schemas.errors import ServiceUnavailable, UsageError
from schemas.settings import in_force
from tasks.orchestration.flow_runs import attempts_at, is_worth_another

PATIENCE = 1800.0  # s that one arrival, and the training that it asks for, may take
POLL_SECONDS = 0.5  # between two queries
FAR = datetime.max.replace(tzinfo=UTC)  # when every next attempt is due


def require_server(who: str) -> None:
    """See that a Prefect server is named.

    Args:
        who: What needs it, for the message.

    Raises:
        UsageError: None is.
    """
    if not PREFECT_API_URL.value():
        raise UsageError(f"{who} needs the Prefect server of the system: run penstock up, and what it prints")


def wait_for_last_attempt(cause: str) -> FlowRun:
    """The last attempt at a cause, ended; one that was lost is waited for until `rescan` has made the next.

    Args:
        cause: What the runs are for, as `arrival_key` gives it.

    Returns:
        The run, in a final state.

    Raises:
        ServiceUnavailable: It does not end in time.
    """
    with get_client(sync_client=True) as client:
        for _ in _polls(f"the run for {cause}"):
            runs = attempts_at(client, cause)
            if runs and (state := runs[-1].state) and state.is_final():
                lost = state.is_crashed() or state.is_failed()
                if not (lost and is_worth_another(runs[-1], FAR)):
                    return runs[-1]
    raise AssertionError("unreachable")


def wait_for_training(use_case: str, after: FlowRun) -> None:
    """Wait for the training that was asked for: one begun since, with none under way.

    Args:
        use_case: Name of the use case.
        after: The run that asked for it.

    Raises:
        ServiceUnavailable: It does not end in time.
    """
    wanted: dict[str, Any] = {"expected_start_time": {"after_": after.expected_start_time}}
    with get_client(sync_client=True) as client:
        for _ in _polls(f"the training of {use_case}"):
            runs = client.read_flow_runs(
                flow_filter=FlowFilter.model_validate({"name": {"any_": ["train"]}}),
                deployment_filter=DeploymentFilter.model_validate({"name": {"any_": [in_force().deployment]}}),
                flow_run_filter=FlowRunFilter.model_validate(wanted),
            )
            mine = [run.state for run in runs if run.parameters.get("use_case") == use_case and run.state]
            if mine and all(state.is_final() for state in mine):
                return


def _polls(what: str) -> Iterator[None]:
    """Moments to look again. Raises ServiceUnavailable once patience is at its end."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        yield
        time.sleep(POLL_SECONDS)
    raise ServiceUnavailable(f"{what} did not end within {PATIENCE:.0f} s: look at it in the Prefect dashboard")

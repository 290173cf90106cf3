"""Which attempt a cause gets: of deliveries, and of runs that died."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Completed, Crashed, Failed, Running, State

from flows import starting
from tasks.arrivals import Fate

NOW = datetime.now(UTC)


def run(state: State[Any], attempt: int = 1, minutes: float = 0) -> FlowRun:
    """A run that got its state some minutes ago."""
    state.timestamp = NOW - timedelta(minutes=minutes)  # type: ignore[assignment]
    return FlowRun(
        flow_id=uuid4(), state=state, idempotency_key=f"flights/abc/{attempt}", parameters={"use_case": "flights"}
    )


@pytest.mark.parametrize(
    ("states", "fate", "attempt"),
    [
        ([], None, 1),
        ([], "published", None),
        ([], "retracted", 1),
        ([Running()], None, None),
        ([Completed()], "published", None),
        ([Completed()], None, 2),  # it was refused, and comes again: perhaps the contract has changed
        ([Completed()], "retracted", 2),
        ([Cancelled()], None, 2),
        ([Crashed()], None, None),  # rescan's
        ([Crashed(), Failed()], None, 3),
        ([Crashed(), Running()], None, None),
    ],
)
def test_a_delivery_gets_the_next_attempt_where_something_is_left_to_do(
    states: list[State[Any]], fate: Fate | None, attempt: int | None
) -> None:
    runs = [run(state, number) for number, state in enumerate(states, 1)]
    assert starting.attempt_for_delivery(runs, fate) == attempt


@pytest.mark.parametrize(
    ("state", "attempt", "minutes", "again"),
    [
        (Crashed(), 1, 0, True),
        (Crashed(), 2, 0, False),
        (Crashed(), 2, 1, True),
        (Crashed(), 9, 59, False),
        (Crashed(), 9, 61, True),
        (Crashed(), 10, 999, False),
        (Failed(message="Flow run encountered an exception: ServiceUnavailable: lakeFS"), 1, 0, False),
        (Failed(message="Flow run encountered an exception: ServiceUnavailable: lakeFS"), 1, 1, True),
        (Failed(message="Flow run encountered an exception: UsageError: no such file"), 1, 99, False),
        (Failed(message="Validation of flow parameters failed with error: UsageError: x"), 1, 99, False),
    ],
)
def test_a_lost_run_is_tried_again_ever_more_rarely(state: State[Any], attempt: int, minutes: float, again: bool) -> None:
    assert starting.is_worth_another(run(state, attempt, minutes), NOW) is again


def test_a_run_without_a_key_of_ours_is_the_first_attempt_at_its_own_cause() -> None:
    by_hand = run(Crashed()).model_copy(update={"idempotency_key": None})
    assert starting.cause_of(by_hand) == (f"flights/{by_hand.id}", 1)
    assert starting.next_key(by_hand) == f"flights/{by_hand.id}/2"
    assert starting.next_key(run(Crashed(), 3)) == "flights/abc/4"

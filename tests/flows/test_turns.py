"""Turns: older runs come first, but nobody waits for one that has no room to start as long as somebody waits."""

from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Completed, Running, Scheduled

from schemas.results import Sweep
from tasks.orchestration import queueing
from tasks.orchestration.flow import penstock_flow


@penstock_flow("turned", "turned {use_case}")
def turned(use_case: str) -> Sweep:
    return Sweep(older_than_days=1, dry_run=True, branches=())


@pytest.mark.timeout(120)
def test_nobody_waits_for_ever_for_a_run_that_no_worker_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "COMING", 1.0)
    monkeypatch.setattr(queueing, "POLL_SECONDS", 0.1)
    now = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(turned), "turns")
        older, mine = (
            client.create_flow_run_from_deployment(
                deployment, parameters={"use_case": "flights"}, state=Scheduled(scheduled_time=now - timedelta(seconds=ago))
            )
            for ago in (2, 1)
        )
        client.set_flow_run_state(mine.id, Running(), force=True)
        me = client.read_flow_run(mine.id)
        assert queueing._older(client, me, "flights", queueing.UNFINISHED)
        assert not queueing._older(client, me, "others", queueing.UNFINISHED)
        monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", str(deployment))
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", str(mine.id))
        with queueing.wait_for_turn("turned", "flights"):  # the older one is not taken by any worker
            pass
        client.set_flow_run_state(older.id, Running(), force=True)
        assert queueing._older(client, me, "flights", queueing.TAKEN)
        client.set_flow_run_state(older.id, Completed(), force=True)
        assert not queueing._older(client, me, "flights", queueing.UNFINISHED)

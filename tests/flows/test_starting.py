"""Which attempt a cause gets: of deliveries, and of runs that died."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running, State

from deployments import landing_watcher
from flows.lifecycle import lifecycle
from flows.rescan import rescan
from schemas.errors import UsageError
from schemas.settings import Settings
from tasks.datasets.published import SourceState
from tasks.ingestion.landing_zone import LandedFile
from tasks.orchestration import flow_runs
from tasks.versions.lakefs.store import LakeFSStore
from tests.services.server import KEY_ID, SECRET, server

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
    states: list[State[Any]], fate: SourceState | None, attempt: int | None
) -> None:
    runs = [run(state, number) for number, state in enumerate(states, 1)]
    assert flow_runs.attempt_for_delivery(runs, fate) == attempt


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
        (Failed(message="Flow run encountered an exception: StoreError: cannot upload 'x': free some space"), 1, 1, True),
        (Failed(message="Flow run encountered an exception: UsageError: no such file"), 1, 99, False),
        (Failed(message="Validation of flow parameters failed with error: UsageError: x"), 1, 99, False),
    ],
)
def test_a_lost_run_is_tried_again_ever_more_rarely(state: State[Any], attempt: int, minutes: float, again: bool) -> None:
    assert flow_runs.is_worth_another(run(state, attempt, minutes), NOW) is again


def test_a_run_without_a_key_of_ours_is_the_first_attempt_at_its_own_cause() -> None:
    by_hand = run(Crashed()).model_copy(update={"idempotency_key": None})
    assert flow_runs.cause_of(by_hand) == (f"flights/{by_hand.id}", 1)
    assert flow_runs.next_key(by_hand) == f"flights/{by_hand.id}/2"
    assert flow_runs.next_key(run(Crashed(), 3)) == "flights/abc/4"


@pytest.fixture
def deployment(settings: Settings) -> Iterator[str]:
    """The lifecycle as a deployment that nobody works for."""
    with (settings.model_copy(update={"deployment": f"t-{uuid4().hex[:8]}"})).active() as told:
        deployed: Any = lifecycle.to_deployment(name=told.deployment)
        deployed.apply()
        yield told.deployment


def test_a_cause_starts_one_run_however_often_it_is_told(deployment: str, tmp_path: Path) -> None:
    path = tmp_path / "weather-1.csv"
    path.write_text("a\n1\n")
    file = LandedFile("flights", "weather", "weather/weather-1.csv", path)
    first, again = (flow_runs.start_arrival(file, file.sha256(), attempt=1) for _ in range(2))
    second = flow_runs.start_arrival(file, file.sha256(), attempt=2)
    assert first.id == again.id != second.id
    assert first.name == "lifecycle flights weather-1.csv"
    assert first.idempotency_key == f"flights/weather:{file.sha256()}/1"
    assert first.parameters["source"] == "weather/weather-1.csv"
    elsewhere = LandedFile("flights", "labels", "labels/weather-1.csv", path)  # put where it does not belong, then moved
    assert flow_runs.start_arrival(elsewhere, file.sha256(), attempt=1).id != first.id
    with get_client(sync_client=True) as client:
        runs = flow_runs.attempts_at(client, flow_runs.arrival_key(file, file.sha256()))
    assert [run.id for run in runs] == [first.id, second.id]


def test_a_merge_of_others_starts_one_run_an_input(deployment: str) -> None:
    first, again = (flow_runs.start_published("flights", "labels", "0123456789abcdef") for _ in range(2))
    rows = flow_runs.start_published("flights", "flights", "0123456789abcdef")
    assert first.id == again.id != rows.id
    assert (first.parameters["published"], first.parameters["input"]) == ("0123456789abcdef", "labels")


def test_rescan_takes_up_what_was_lost_and_what_was_never_seen(deployment: str, settings: Settings) -> None:
    with settings.model_copy(update={"deployment": deployment}).active():
        crashed = flow_runs.start_published("flights", "labels", "feedfeedfeed")
        landed = settings.landing_dir / "flights" / "weather" / "weather-9.csv"
        landed.parent.mkdir(parents=True)
        landed.write_text("a\n9\n")
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(crashed.id, Crashed(), force=True)
            first, second = rescan(), rescan()
            runs = flow_runs.attempts_at(client, "flights/labels:feedfeedfeed")
    assert (first.started, first.again) == (("weather/weather-9.csv",), ("lifecycle flights feedfeedfeed",))
    assert (second.started, second.again) == ((), ())
    assert [run.idempotency_key for run in runs] == ["flights/labels:feedfeedfeed/1", "flights/labels:feedfeedfeed/2"]
    assert runs[1].parameters == crashed.parameters


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> LakeFSStore:
    """A repository whose branch `main` is a bucket, by lakeFS's S3 gateway."""
    store = server().store()
    store.create()
    told = {"ENDPOINT_URL": server().url, "ACCESS_KEY_ID": KEY_ID, "SECRET_ACCESS_KEY": SECRET, "REGION": "us-east-1"}
    for name, value in told.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    return store


def test_objects_of_a_bucket_land_too(deployment: str, settings: Settings, bucket: LakeFSStore) -> None:
    """The watcher sees what is new, `rescan` what nobody saw; each starts one run."""
    prefix = f"s3://{bucket.place.repository}/in/landing"
    bucket.branch("in")
    with settings.model_copy(update={"deployment": deployment, "landing_bucket": prefix}).active() as active:
        follower, sources = landing_watcher.Bucket(prefix), [f"{prefix}/flights/weather/{n}.csv" for n in range(3)]
        follower.poll()  # an empty prefix is no trouble
        for number, name in enumerate(("weather/0.csv", "weather/.1.csv", "nonsense/2.csv", "weather/x.part")):
            bucket.upload("in", f"landing/flights/{name}", f"a\n{number}\n".encode())
        found = rescan()
        assert (found.files, found.started) == (1, (sources[0],))
        assert len(found.strange) == 1
        bucket.upload("in", "landing/flights/weather/1.csv", b"a\n1\n")
        follower = landing_watcher.Bucket(prefix)
        follower.poll()
        assert rescan().started == ()
        bucket.upload("in", "landing/flights/weather/0.csv", b"a\nother\n")  # delivered again, with other rows
        assert rescan().started == (sources[0],)
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs()
    assert active.landing_bucket == prefix
    landed = [run.parameters["source"] for run in runs if str(run.parameters.get("source")).startswith(prefix)]
    assert sorted(landed) == [sources[0], sources[0], sources[1]]


def test_no_lost_run_is_out_of_sight_behind_many_others(deployment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_runs, "PAGE", 1)
    with get_client(sync_client=True) as client:
        for commit in ("aaaaaaaa", "bbbbbbbb", "cccccccc"):
            crashed = flow_runs.start_published("flights", "labels", commit)
            client.set_flow_run_state(crashed.id, Crashed(), force=True)
        assert len(flow_runs.lost_runs(client)) == 3
        for run in flow_runs.lost_runs(client):
            flow_runs.retry_lost_run(run)
        assert flow_runs.lost_runs(client) == []


def test_without_the_deployment_there_is_one_line(settings: Settings) -> None:
    with pytest.raises(UsageError, match="no deployment lifecycle/penstock: run penstock deploy"):
        flow_runs.start_published("flights", "labels", "0123456789abcdef")


def test_a_run_that_never_began_is_given_up(deployment: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with settings.model_copy(update={"deployment": deployment}).active(), get_client(sync_client=True) as client:
        taken = flow_runs.start_published("flights", "labels", "deadbeef")
        client.set_flow_run_state(taken.id, Pending(), force=True)
        assert rescan().again == ()
        monkeypatch.setattr(flow_runs, "NEVER_BEGAN", timedelta())
        assert rescan().again == ("lifecycle flights deadbeef",)
        state = client.read_flow_run(taken.id).state
    assert state is not None
    assert (state.type.value, state.message) == ("CRASHED", "a worker took it, and it never began")

"""What the lake tells Prefect after a merge that is not ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter
from prefect.client.schemas.objects import FlowRun
from prefect.events import Event
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker

from deployments.lakefs_server.setup import init
from deployments.lakefs_server.webhook import create_app
from flows.lifecycle import lifecycle
from flows.sweep import sweep
from schemas.errors import NotFound
from schemas.refs import Commit, Guard
from schemas.settings import Settings
from tasks.versions.lakefs.store import LakeFSStore
from tests.alert_kit import Sink
from tests.services.hook import hook_settings, labels, parquet, put, served
from tests.services.server import new_repository, server
from tests.serving_kit import wait_for


@pytest.fixture
def events() -> Iterator[Callable[[int], list[Event]]]:
    """Waits for so many events, in the client that Prefect keeps for tests."""
    AssertingEventsClient.reset()
    EventsWorker.set_client_override(AssertingEventsClient)

    def seen(count: int) -> list[Event]:
        deadline = time.monotonic() + 30
        while True:
            found = [event for client in AssertingEventsClient.all for event in getattr(client, "events", [])]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    yield seen
    EventsWorker.drain_all()
    EventsWorker.set_client_override(None)
    AssertingEventsClient.reset()


@pytest.fixture
def settings(sink: Sink) -> Settings:
    """The hook's, and those of writers that seal."""
    name = f"t-{uuid4().hex[:8]}"
    return hook_settings(f"lakefs://{new_repository()}", alert_urls=sink.url, deployment=name)


@pytest.fixture
def writers(settings: Settings) -> Iterator[tuple[LakeFSStore, LakeFSStore, Callable[[], None]]]:
    """One that seals, one that does not, and what installs the hook."""
    url = str(settings.lake_url)
    server().store(url.removeprefix("lakefs://")).create()
    with served(create_app(settings)) as address:

        def install() -> None:
            init(hook_settings(url, lake_hook_url=address), "flights", check=False)

        ours, other = (LakeFSStore(f"{url}/flights", told) for told in (settings, Settings()))
        yield ours, other, install


def sealed(ours: LakeFSStore, branch: str, number: int = 1) -> None:
    """Bring labels to main as a publish does."""
    put(ours, branch, parquet(labels(number)))
    guard = Guard(commit=ours.head(), prefixes=("data/labels/2013-01/",))
    ours.merge(branch, "main", "publish", {"contract_version": "1"}, guard=guard)


def by_hand(other: LakeFSStore, branch: str, number: int) -> Commit:
    """Bring labels to main past all that is ours."""
    put(other, branch, parquet(labels(number)))
    return other.merge(branch, "main", "by hand", {})


def told(event: Event) -> dict[str, object]:
    assert event.resource.id == "penstock.use-case.flights"
    return {"event": event.event, **event.payload}


def test_others_merges_are_made_known_and_ours_are_not(
    writers: tuple[LakeFSStore, LakeFSStore, Callable[[], None]], events: Callable[[int], list[Event]]
) -> None:
    ours, other, install = writers
    install()
    sealed(ours, "a")
    merged = by_hand(other, "b", 100)
    (event,) = events(1)
    assert told(event) == {
        "event": "penstock.data.published",
        "commit": merged.id,
        "input": "labels",
        "origin": "external",
        "why": "it was audited before",
    }


@pytest.fixture
def runs(settings: Settings) -> Callable[[], list[FlowRun]]:
    """The lifecycle as a deployment that nobody works for, and the runs that were asked of it."""
    deployed: Any = lifecycle.to_deployment(name=settings.deployment)
    only = DeploymentFilter.model_validate({"id": {"any_": [deployed.apply()]}})

    def asked() -> list[FlowRun]:
        with get_client(sync_client=True) as client:
            return client.read_flow_runs(deployment_filter=only)

    return asked


def test_others_merges_start_the_loop_once_and_ours_do_not(
    runs: Callable[[], list[FlowRun]], writers: tuple[LakeFSStore, LakeFSStore, Callable[[], None]]
) -> None:
    ours, other, install = writers
    install()
    sealed(ours, "a")
    merged = by_hand(other, "b", 100)
    wait_for(runs, 30)
    sealed(ours, "c", 200)
    last = by_hand(other, "d", 300)
    wait_for(lambda: len(runs()) > 1, 30)
    assert sorted((str(run.idempotency_key), run.parameters["published"]) for run in runs()) == sorted(
        (f"flights/labels:{commit}/1", commit) for commit in (merged.id, last.id)
    )


def test_a_merge_that_went_past_the_hook_is_audited_afterwards(
    writers: tuple[LakeFSStore, LakeFSStore, Callable[[], None]],
    events: Callable[[int], list[Event]],
    settings: Settings,
    sink: Sink,
) -> None:
    """A branch from before the hook was there: lakeFS reads a merge's hooks from what is merged."""
    ours, other, install = writers
    put(other, "good", parquet(labels()))
    put(other, "bad", parquet(labels(100).with_columns(flight=0)))
    install()
    with pytest.raises(NotFound):
        other.history._lake.once(
            other.lake.sdk.objects_api.head_object, other.place.repository, "bad", "_lakefs_actions/penstock-flights.yaml"
        )
    other.merge("good", "main", "by hand", {})
    assert [told(event)["event"] for event in events(1)] == ["penstock.data.published"]
    merged = other.merge("bad", "main", "by hand", {})
    alert, published = (told(event) for event in events(3)[1:])
    cause = f"lake.unaudited.{merged.id[:16]}"
    assert (alert["event"], alert["severity"], alert["cause"]) == ("penstock.alert.raised", "critical", cause)
    assert alert["runbook"] == "lake-unaudited"
    assert str(alert["summary"]).startswith(f"{merged.id[:12]} went past the hook: 'data/labels/2013-01/")
    assert published["commit"] == merged.id
    with settings.active():
        sweep("flights")
        assert sink.titles == [f"flights: {cause} (critical)"]
        ours.revert("main", merged.id, "undo an unaudited merge", {})
        sweep("flights", dry_run=True)
        assert len(sink.titles) == 1
        sweep("flights")
    assert sink.titles[1:] == [f"flights: {cause} is over"]

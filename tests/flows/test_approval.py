"""A promotion that waits for a person, and promotions that exclude each other, on a real Prefect server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun

from flows.train import TrainResult, train
from schemas.errors import UsageError
from schemas.settings import Settings
from tasks.orchestration import locks
from tasks.promotion import history
from tasks.registry.factory import open_registry
from tasks.versions.factory import open_store
from tests.orders_kit import ASKED, UNHEARD, deliver, named


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with 24 labelled days of orders."""
    settings = Settings(home=tmp_path_factory.mktemp("approval"))
    with settings.active():
        for case in (ASKED, UNHEARD):
            deliver(case, 0, 24)
    return settings


@pytest.fixture(autouse=True)
def in_force(published: Settings) -> Iterator[Settings]:
    with published.active():
        yield published


def paused() -> list[FlowRun]:
    wanted: Any = {"state": {"type": {"any_": ["PAUSED"]}}}
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))


class Person(threading.Thread):
    """Waits for a run that asks, looks at what is held meanwhile, and answers; once for each answer."""

    def __init__(self, *answers: dict[str, Any], first: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.answers, self.first, self.seen = answers, first, list[object]()

    def run(self) -> None:
        for answer in self.answers:
            deadline = time.monotonic() + 240
            while not (runs := paused()):
                assert time.monotonic() < deadline, "nobody asked"
                time.sleep(0.2)
            self.seen.append(self.first())
            with get_client(sync_client=True) as client:
                client.resume_flow_run(runs[0].id, run_input=answer)
                while client.read_flow_run(runs[0].id).state.is_paused():  # type: ignore[union-attr]
                    time.sleep(0.1)


def asked(*answers: dict[str, Any], first: Callable[[], object] = lambda: None) -> tuple[TrainResult, Person]:
    person = Person(*answers, first=first)
    person.start()
    result = train(named(ASKED))
    person.join(10)
    assert not person.is_alive()
    return result, person


def test_what_waits_holds_nothing_and_a_no_refuses_then_a_yes_promotes(
    in_force: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, log = open_registry(in_force.registry_url), open_store(in_force.store_url("asked-log"))
    turns: list[str] = []

    @contextmanager
    def turn(flow: str, use_case: str) -> Iterator[None]:
        turns.append(flow)
        yield
        turns.remove(flow)

    monkeypatch.setattr("flows.train.wait_for_turn", turn)

    def look() -> tuple[int | None, int, list[str]]:
        challenger = registry.challenger("asked")
        with registry.exclusive("asked"), locks.cross_machine_lock("asked"), get_client(sync_client=True) as client:
            slots = client.read_global_concurrency_limit_by_name("penstock-promotion-asked").active_slots
        return challenger.version if challenger else None, slots, list(turns)

    result, person = asked({"approve": False, "name": "kim", "note": "not on a Friday"}, first=look)
    assert person.seen == [(2, 1, [])], "the challenger alias is gone, or something was held"
    assert (result.status, registry.champion("asked")) == ("refused", None)
    assert "kim said no: not on a Friday" in result.why
    assert registry.challenger("asked") is None
    assert history.read_history(log) == []
    deliver(ASKED, 24, 32)
    result, _ = asked({"approve": True, "name": "kim"})
    assert (result.status, registry.champion("asked")) == ("promoted", result.model), result.why
    assert history.read_history(log)[-1].entry.who.startswith("kim, flow run ")
    deliver(ASKED, 32, 40)

    def another_comes_first() -> None:
        other = registry.version("asked", 1)
        if registry.champion("asked") != other:
            registry.promote(other, None, expected=registry.champion("asked"), override="somebody else was faster")

    result, person = asked({"approve": True}, {"approve": True, "name": "kim"}, first=another_comes_first)
    assert len(person.seen) == 2, "the gate's new verdict needs a new answer"
    assert result.status == "promoted", result.why
    assert [link.entry.kind for link in history.read_history(log)] == ["promoted", "override", "promoted"]


def test_no_answer_in_time_refuses(in_force: Settings) -> None:
    result = train(named(UNHEARD))
    assert result.status == "refused"
    assert "nobody approved v2 within 0:00:02" in result.why
    assert open_registry(in_force.registry_url).champion("unheard") is None
    assert paused() == []


# Promotions exclude each other


def test_one_promotion_at_a_time() -> None:
    name, inside, most = uuid4().hex, 0, 0
    gate = threading.Lock()

    def move() -> None:
        nonlocal inside, most
        with locks.cross_machine_lock(name):
            with gate:
                inside += 1
                most = max(most, inside)
            time.sleep(0.3)
            with gate:
                inside -= 1

    movers = [threading.Thread(target=move) for _ in range(3)]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join(120)
    assert (inside, most) == (0, 1)
    with get_client(sync_client=True) as client:
        assert client.read_global_concurrency_limit_by_name(f"penstock-promotion-{name}").active_slots == 0


def test_a_limit_that_excludes_nobody_is_refused() -> None:
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    for limit, active in ((2, True), (1, False)):
        name = uuid4().hex
        made = GlobalConcurrencyLimitCreate(name=f"penstock-promotion-{name}", limit=limit, active=active)
        with get_client(sync_client=True) as client:
            client.create_global_concurrency_limit(made)
        with pytest.raises(UsageError, match="active and 1"), locks.cross_machine_lock(name):
            pass


def test_without_a_server_the_registrys_own_lock_does_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setattr(locks, "get_client", lambda **_: pytest.fail("it asked a server"))
    with temporary_settings(restore_defaults={PREFECT_API_URL}), locks.cross_machine_lock("flights"):
        pass

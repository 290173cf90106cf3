"""Machines that share a Prefect server change a use case's models one after another; one that dies only delays the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deployments.local_stack.services import FOR_ALL
from deployments.prefect_server.in_process import QUIET
from schemas.settings import Settings
from tasks.promotion import champion as promotion
from tasks.promotion import history
from tasks.registry.factory import open_registry
from tasks.registry.protocol import Actor, ModelRegistry
from tasks.versions.factory import open_store
from tasks.versions.protocol import VersionStore
from tests.faults.children import killed, run, said, started
from tests.ports import free_port
from tests.registry_kit import candidate, verdict
from tests.services.processes import process

LEASES = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
NAME, LIMIT = "orders", "penstock-promotion-orders"

CHANGES = """
import json, sys
from schemas.errors import ServiceUnavailable
from schemas.results import Challenge
from schemas.settings import Settings
from schemas.refs import DataRef
from deployments.commands import base
from tasks import flow_tasks
from tasks.orchestration import locks
from tasks.registry import excluding, open_registry
from tasks.reporting import model_card
from tests.orders_kit import ORDERS, named
from tests.registry_kit import candidate, evaluation, verdict
base.ready = lambda: settings
model_card.attach_card = lambda *_, **__: None  # a card needs a model's documents
settings, case, name = Settings(home=sys.argv[1]), named(ORDERS), ORDERS.name
locks.PATIENCE = float(sys.argv[2])
log = settings.store_url(f"{name}-log")
def excluded(change):
    def run(*told):
        with excluding(locks.cross_machine_lock):
            return change(*told)
    return run
with settings.active():
    registry, url = open_registry(settings.registry_url), settings.registry_url
    now, other = registry.champion(name), registry.version(name, 2)
    challenged = Challenge(model=other, data=DataRef(store=log, commit="c0ffee"), champion=now, verdict=verdict(),
                           evaluation=evaluation(other.sha256))
    changes = {
        "record": lambda: excluded(registry.record)(candidate(name, 2, until="2013-04-01T00:00:00+00:00")),
        "held back": lambda: flow_tasks.hold_reason.fn(case, url, log),
        "promote": lambda: flow_tasks.promote_challenger.fn(case, other, challenged, url, log, "me"),
        "promote by hand": lambda: flow_tasks.promote_by_hand.fn(case, challenged, url, log, "me"),
        "target": lambda: flow_tasks.find_rollback_target.fn(case, None, url, log),
        "roll back": lambda: flow_tasks.roll_back_champion.fn(case, registry.version(name, 1), url, log, "me", "it hurts"),
        "freeze": lambda: base.set_frozen(case, "year end", frozen=True, as_json=True),
        "thaw": lambda: base.set_frozen(case, "new year", frozen=False, as_json=True),
    }
    waited = []
    for what in sys.argv[3:] or changes:
        try:
            changes[what]()
        except ServiceUnavailable as error:
            assert "models did not end" in str(error), error
            waited.append(what)
print(json.dumps([list(sys.argv[3:] or changes), waited]))
"""

HOLD = """
import sys
from tasks.orchestration.locks import cross_machine_lock
with cross_machine_lock(sys.argv[1]):
    print("held", flush=True)
    input()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server with its services; what a process is told that shares it."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    told = {"PREFECT_HOME": str(home), "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": FOR_ALL[LEASES]}
    api = f"http://127.0.0.1:{port}/api"
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with process(command, f"{api}/health", home, **told):
        yield {**QUIET, "PREFECT_HOME": str(home), "PREFECT_API_URL": api}


def opened(home: Path) -> tuple[ModelRegistry, VersionStore]:
    settings = Settings(home=home)
    return open_registry(settings.registry_url), open_store(settings.store_url(f"{NAME}-log"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A registry whose champion stands in the history, and a challenger."""
    registry, log = opened(tmp_path)
    ref = registry.record(candidate(NAME, 1))
    assert promotion.set_champion(registry, log, ref, verdict(), expected=None, by=Actor("the first")).status == "promoted"
    registry.record(candidate(NAME, 2, until="2013-04-01T00:00:00+00:00"))
    return tmp_path


def told(home: Path) -> tuple[list[str], int]:
    """The history's kinds of moves, and the champion's version."""
    registry, log = opened(home)
    champion = registry.champion(NAME)
    return [link.entry.kind for link in history.read_history(log)], champion.version if champion else 0


def taken(server: dict[str, str]) -> int:
    found = httpx.get(f"{server['PREFECT_API_URL']}/v2/concurrency_limits/{LIMIT}").raise_for_status().json()
    return int(found["active_slots"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_change_waits_for_that_of_another_machine(server: dict[str, str], home: Path) -> None:
    before = told(home)
    with started(HOLD, NAME, environment=server) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        tried, waited = json.loads(said(run(CHANGES, str(home), "1", environment=server)).splitlines()[-1])
        assert waited == tried
        assert told(home) == before
        holder.communicate("go on\n")
    tried, waited = json.loads(said(run(CHANGES, str(home), "60", environment=server)).splitlines()[-1])
    assert waited == []
    assert told(home) == ([*before[0], "promoted", "rollback", "freeze", "thaw"], 1)
    assert taken(server) == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_promotion_that_is_killed_holds_the_others_back_until_its_lease_ends(server: dict[str, str], home: Path) -> None:
    died = run(CHANGES, str(home), "60", "promote", kill_point="registry.before_promote", environment=server)
    assert killed(died), died.stderr
    assert (taken(server), told(home)) == (1, (["promoted"], 1)), "nothing was held, or the alias moved"
    with started(CHANGES, str(home), "200", "promote", environment=server) as child:
        _, trouble = child.communicate(timeout=240)
    assert child.returncode == 0, trouble
    assert told(home) == (["promoted", "promoted"], 2)
    assert taken(server) == 0

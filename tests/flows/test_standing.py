"""`penstock status`: where a use case stands, told from its lake, its registry and a real Prefect server."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Running

from deployments.prefect_server import queries
from flows.ingest import ingest
from flows.lifecycle import lifecycle
from schemas.settings import Settings
from tasks.alerting import outbox
from tasks.registry.factory import open_registry
from tasks.versions.factory import open_store
from tests.commands_kit import penstock
from tests.modelling_kit import START
from tests.orders_kit import ORDERS, files_of, named, of_days
from tests.serving_kit import wait_for

NAME = named(ORDERS)


def status(settings: Settings, *arguments: str) -> str:
    """What the command prints, in a process of its own."""
    done = penstock(settings.root, "status", NAME, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def started(state: Any, use_case: str, name: str) -> None:
    """A run on the server, in a state."""
    with get_client(sync_client=True) as client:
        client.create_flow_run(ingest, name=name, parameters={"use_case": use_case}, state=state)


def earlier_runs_are_gone() -> None:
    with get_client(sync_client=True) as client:
        while runs := client.read_flow_runs():
            for run in runs:
                client.delete_flow_run(run.id)


@pytest.fixture
def lived(settings: Settings, tmp_path: Path) -> float:
    """A month that made a champion, then two days of orders, one of them twice in its file, and outcomes of the first day.

    Returns the share of the scored orders whose outcome is published.
    """
    month, later, outcomes = (files_of(first, last, tmp_path / "in") for first, last in ((0, 30), (30, 32), (31, 32)))
    orders = pl.read_parquet(later["orders"])
    pl.concat([orders, orders.head(1)]).write_parquet(later["orders"])
    for name in ("prices", "orders"):
        ingest(NAME, str(month[name]))
    assert [made.status for made in lifecycle(NAME, str(month["outcomes"])).trained] == ["promoted"]
    ingest(NAME, str(later["prices"]))
    assert [scores.status for scores in lifecycle(NAME, str(later["orders"])).scored] == ["published"]
    ingest(NAME, str(outcomes["outcomes"]))
    open_store(settings.store_url("orders")).branch("left-open")
    known = pl.read_parquet(outcomes["outcomes"])
    kept = orders.tail(-1)  # of what comes twice neither is published
    return kept.join(known, on=list(ORDERS.key), how="semi").height / kept.height


def test_status_says_all_that_a_person_on_call_asks(lived: float, settings: Settings) -> None:
    earlier_runs_are_gone()  # a killed one of another test stays Running
    started(Running(), "orders", "by the worker")
    started(Running(), NAME, "by hand")
    started(Running(), "flights", "of another")
    started(Completed(), "orders", "ended")
    url = str(PREFECT_API_URL.value())
    kept = outbox.open_alerts(open_store(settings.store_url("orders-log")))
    wait_for(
        lambda: {each.alert.cause for each in queries.alerts_from_events(url, "orders")} >= {each.cause for each in kept}
    )
    told = json.loads(status(settings, "--json"))
    champion = open_registry(settings.registry_url).champion("orders")
    assert champion
    assert (told["champion"]["version"], told["champion"]["sha256"]) == (champion.version, champion.sha256)
    assert told["champion_why"]
    assert {name: day[:10] for name, day in told["watermarks"].items()} == {
        name: f"{START + timedelta(days=31):%Y-%m-%d}" for name in ("orders", "outcomes")
    }
    last = told["last_publish"]
    rows = of_days(31, 32)["outcomes"].height
    assert (last["source"], last["input"]) == ("outcomes-31.parquet", "outcomes")
    assert (last["accepted"], last["rejected"]) == (rows, 0)
    assert last["commit"] == open_store(settings.store_url("orders")).head()
    assert told["branches"] == ["left-open"]
    assert told["coverage"] == pytest.approx(lived)
    assert 0 < lived < 1
    alerts = {alert["alert"]["cause"]: alert for alert in told["alerts"]}
    assert list(alerts) == [each.cause for each in kept]
    assert alerts["audit.rejected.orders"]["alert"]["runbook"] == "audit-rejected"
    assert all(alert["raised"] for alert in alerts.values())
    assert {(run["name"], run["state"]) for run in told["running"]} == {("by the worker", "Running"), ("by hand", "Running")}

    said = [line.split(":", 1) for line in status(settings).splitlines()]
    lines = dict(said)
    until = ["fitted until", "orders until", "outcomes until"]
    assert list(lines) == ["champion", *until, "last publish", "branches", "labels", "running", "alert"]
    assert [text.rpartition("#")[2] for name, text in said if name == "alert"] == [f"{each.runbook})" for each in kept]
    assert f"{lived:.0%} of the" in lines["labels"]


def test_status_of_what_has_just_begun(settings: Settings) -> None:
    first, *_, last = (line.split() for line in status(settings).splitlines())
    assert (first, last) == (["champion:", "none"], ["alerts:", "none", "open"])

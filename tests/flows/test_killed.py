"""Flows whose process is killed between two effects, and deliveries of every bad kind: the end is as if nothing had been."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from prefect.settings import PREFECT_API_URL

from flows.ingest import ingest
from flows.lifecycle import lifecycle
from flows.train import train
from schemas.settings import Settings
from tasks.alerting import outbox
from tasks.registry.factory import open_registry
from tasks.versions.factory import open_store
from tasks.versions.protocol import MAIN
from tests.lives_kit import Delivery, Faults, Life, dies, differences, everything, in_order, late, realized
from tests.modelling_kit import START
from tests.orders_kit import ORDERS, files_of, named
from tests.serving_kit import wait_for

NAME = named(ORDERS)
PARTS = ((0, 24), (24, 28), (28, 32), (32, 36), (36, 40))  # days


def scorings(settings: Settings, name: str = "orders") -> list[dict[str, str]]:
    log = open_store(settings.store_url(f"{name}-log"))
    return [dict(c.metadata) for c in log.log(MAIN, first_parent=True) if c.metadata.get("kind") == "score"]


@pytest.mark.parametrize("last", ["outcomes", "orders"])
def test_the_first_champions_rows_are_scored_by_the_rerun(settings: Settings, tmp_path: Path, last: str) -> None:
    files = files_of(0, 30, tmp_path / "in")
    for name in files:
        if name != last:
            ingest(NAME, str(files[name]))
    dies("lifecycle", "lifecycle.first_champion", settings, files[last], last, NAME)
    registry = open_registry(settings.registry_url)
    champion = registry.champion("orders")
    assert champion
    assert scorings(settings) == []

    again = lifecycle(NAME, str(files[last]))
    window = registry.document(champion, "verdict")["window"]
    assert [scores.status for scores in again.scored] == ["published"]
    [told] = scorings(settings)
    assert (told["model_version"], told["first"][:10]) == (str(champion.version), window[0][:10])
    assert 0 < int(told["rows"]) < pl.read_parquet(files["orders"]).height / 2
    assert [seen.model for seen in again.monitored] == [champion]

    lifecycle(NAME, str(files[last]))
    assert len(scorings(settings)) == 1
    assert registry.champion("orders") == champion


def told_of(event: str) -> list[dict[str, Any]]:
    """The events of a name about orders that the server has."""
    asked = {"filter": {"event": {"name": [event]}, "resource": {"id": ["penstock.use-case.orders"]}}, "limit": 50}
    found = httpx.post(f"{PREFECT_API_URL.value()}/events/filter", json=asked, timeout=60).raise_for_status().json()
    return list(found["events"])


def test_a_promotion_that_was_not_told_of_is_told_by_the_rerun(settings: Settings, tmp_path: Path) -> None:
    files = files_of(0, 30, tmp_path / "in")
    for name in ("prices", "orders"):
        ingest(NAME, str(files[name]))
    before = len(told_of("penstock.model.promoted"))
    dies("lifecycle", "training.before_telling", settings, files["outcomes"], "outcomes", NAME)
    registry = open_registry(settings.registry_url)
    champion = registry.champion("orders")
    assert champion
    assert registry.unnotified("orders") == [champion]

    assert [scores.status for scores in lifecycle(NAME, str(files["outcomes"])).scored] == ["published"]
    assert registry.unnotified("orders") == []
    wait_for(lambda: len(told_of("penstock.model.promoted")) == before + 1)
    [newest, *_] = told_of("penstock.model.promoted")
    assert newest["payload"]["version"] == champion.version
    assert train(NAME).status == "already done"
    assert len(registry.versions("orders")) == champion.version


def test_what_was_published_and_not_told_raises_its_alert_on_the_rerun(settings: Settings, tmp_path: Path) -> None:
    path = files_of(0, 10, tmp_path / "in")["orders"]
    rows = pl.read_parquet(path)
    pl.concat([rows, rows.head(1)]).write_parquet(path)  # one order twice
    dies("ingest", "publishing.after_publish", settings, path, "orders", NAME)
    store, log = open_store(settings.store_url("orders")), open_store(settings.store_url("orders-log"))
    assert not log.exists()

    assert ingest(NAME, str(path)).deliveries[0].status == "already done"
    assert [alert.cause for alert in outbox.open_alerts(log)] == ["audit.rejected.orders"]
    assert store.branches() == [MAIN]
    before = log.head(MAIN)
    ingest(NAME, str(path))
    assert log.head(MAIN) == before


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> list[Delivery]:
    """The orders' files of every period, when they are due."""
    folder = tmp_path_factory.mktemp("in")
    return in_order([files_of(first, last, folder) for first, last in PARTS])


@pytest.fixture(scope="module")
def prompt(deliveries: list[Delivery], tmp_path_factory: pytest.TempPathFactory) -> Life:
    """The life that nothing disturbs."""
    life = Life("tests.orders_kit:RESTLESS", Settings(home=tmp_path_factory.mktemp("prompt")))
    life.live(deliveries)
    assert life.trained, "the champion was never challenged"
    return life


@pytest.mark.timeout(600)  # weeks of it, every one with a fault
def test_a_life_full_of_faults_ends_as_one_without(prompt: Life, deliveries: list[Delivery], tmp_path: Path) -> None:
    faults = Faults(tmp_path / "bad", "shop", (1, 2, 3))
    faulted = Life(prompt.use_case, Settings(home=tmp_path / "faulted"))
    faulted.live(deliveries, faults)
    assert faults.seen.count("killed") == 3
    assert faults.seen.count("rejected") >= 3
    champion = prompt.champion()
    assert champion
    assert champion.version > 2, "the champion never changed"
    assert list(differences(prompt, faulted, everything)) == []
    assert faulted.never_went_back()


def test_what_comes_after_its_decision_changes_neither_rows_nor_realized_metrics(
    prompt: Life, deliveries: list[Delivery], tmp_path: Path
) -> None:
    tardy = Life(prompt.use_case, Settings(home=tmp_path / "tardy"))
    tardy.live(late(late(deliveries, 2, "orders", 3), 3, "outcomes", 4))
    span = (START + timedelta(days=PARTS[1][0]), START + timedelta(days=PARTS[-1][1]))
    assert list(differences(prompt, tardy, lambda life: {**life.published(), **realized(life, span)})) == []
    assert tardy.never_went_back()

"""Flows whose process is killed between two effects, and deliveries of every bad kind: the end is as if nothing had been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect.settings import PREFECT_API_URL

from flows.ingest import ingest
from flows.lifecycle import lifecycle
from schemas.results import Loop
from schemas.settings import Settings
from tasks import alarm, predictions, publishing
from tasks.registry import open_registry
from tasks.versions import MAIN, open_store
from tests.faults.children import killed, run
from tests.orders_kit import ORDERS, RESTLESS, files_of, named

NAME = named(ORDERS)
SCRIPT = """
import sys
from deployments.local import hush, in_process
hush()
from flows.ingest import ingest
from flows.lifecycle import lifecycle
with in_process():
    {flow}(*sys.argv[1:3], input=sys.argv[3])
"""
PARTS = ((0, 24), (24, 28), (28, 32), (32, 36), (36, 40))  # days


def dies(flow: str, point: str, settings: Settings, path: Path, input: str, use_case: str = NAME) -> None:
    """A flow in a child that is killed at a point."""
    told = {"PENSTOCK_HOME": str(settings.root), "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    done = run(SCRIPT.format(flow=flow), use_case, str(path), input, kill_point=point, environment=told)
    assert killed(done), done.stderr[-2000:]


def scorings(settings: Settings, name: str = "orders") -> list[dict[str, str]]:
    log = open_store(settings.store_url(f"{name}-log"))
    return [dict(c.metadata) for c in log.log(MAIN, first_parent=True) if c.metadata.get("kind") == "score"]


@pytest.mark.parametrize("last", ["outcomes", "orders"])
def test_the_first_champions_rows_are_scored_by_the_rerun(settings: Settings, tmp_path: Path, last: str) -> None:
    files = files_of(0, 30, tmp_path / "in")
    for name in files:
        if name != last:
            ingest(NAME, str(files[name]))
    dies("lifecycle", "lifecycle.first_champion", settings, files[last], last)
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


def test_what_was_published_and_not_told_raises_its_alert_on_the_rerun(settings: Settings, tmp_path: Path) -> None:
    path = files_of(0, 10, tmp_path / "in")["orders"]
    rows = pl.read_parquet(path)
    pl.concat([rows, rows.head(1)]).write_parquet(path)  # one order twice
    dies("ingest", "publishing.after_publish", settings, path, "orders")
    store, log = open_store(settings.store_url("orders")), open_store(settings.store_url("orders-log"))
    assert not log.exists()

    assert ingest(NAME, str(path)).deliveries[0].status == "already done"
    assert [alert.cause for alert in alarm.open_now(log)] == ["audit.rejected.orders"]
    assert store.branches() == [MAIN]
    before = log.head(MAIN)
    ingest(NAME, str(path))
    assert log.head(MAIN) == before


def published(settings: Settings) -> dict[str, pl.DataFrame]:
    """The rows on main, by input, in one order."""
    store = open_store(settings.store_url(RESTLESS.name))
    rows = {
        spec.name: store.scan(MAIN, publishing.data_paths(store, MAIN, spec.name), spec.contract.dtypes()).collect()
        for spec in RESTLESS.inputs
    }
    return {name: frame.sort(frame.columns) for name, frame in rows.items()}


def predicted(settings: Settings) -> pl.DataFrame:
    """All predictions: what was predicted and by which model's bytes."""
    log = open_store(settings.store_url(f"{RESTLESS.name}-log"))
    told = [c for c in log.log(MAIN, first_parent=True) if c.metadata.get("kind") == "score"]
    made = pl.concat(predictions.of(log, commit).collect() for commit in told)
    return made.select(*RESTLESS.key, "probability", "category", "model_sha256").sort(*RESTLESS.key, "model_sha256")


def loop(settings: Settings, path: Path, input: str) -> Loop:
    with settings.active():
        return lifecycle("tests.orders_kit:RESTLESS", str(path), input=input)


def lives(settings: Settings, folder: Path, faults: Any = None) -> None:
    """Every part through the loop, with what `faults` delivers around each file."""
    for first, last in PARTS:
        for name, path in files_of(first, last, folder / "in").items():
            if faults:
                faults(first, name, path)
            loop(settings, path, name)
            if faults:
                faults(first, f"after {name}", path)


class Faults:
    """Two corrupt files and one of another schema, a file twice, the same rows exported again, labels doubled and shuffled,
    and three kills.
    """

    KILLS = {
        (24, "orders"): "publishing.after_publish",
        (28, "outcomes"): "store.before_merge",
        (0, "outcomes"): "lifecycle.first_champion",
    }

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder, self.seen = settings, folder / "bad", list[str]()
        self.folder.mkdir(parents=True)

    def __call__(self, first: int, what: str, path: Path) -> None:
        if point := self.KILLS.get((first, what)):
            dies("lifecycle", point, self.settings, path, what, "tests.orders_kit:RESTLESS")
            self.seen.append("killed")
        match first, what:
            case 24, "orders":
                self.bad("orders", path.read_bytes()[:900])
            case 28, "outcomes":
                self.bad("outcomes", b"PAR1 this is no Parquet")
            case 32, "orders":
                rows = pl.read_parquet(path).rename({"shop": "store"})
                self.deliver("orders", rows, "rejected")
            case 24, "after orders":
                self.seen.append(loop(self.settings, path, "orders").ingested.deliveries[0].status)
            case 32, "after orders":
                self.deliver("orders", pl.read_parquet(path).reverse())
            case 32, "after outcomes":
                rows = pl.read_parquet(path)
                self.deliver("outcomes", pl.concat([rows, rows]).sample(fraction=1, shuffle=True, seed=3))

    def bad(self, input: str, content: bytes) -> None:
        path = self.folder / f"{input}-{len(self.seen)}.parquet"
        path.write_bytes(content)
        assert loop(self.settings, path, input).ingested.deliveries[0].status == "rejected"
        self.seen.append("rejected")

    def deliver(self, input: str, rows: pl.DataFrame, status: str = "") -> None:
        path = self.folder / f"{input}-{len(self.seen)}.parquet"
        rows.write_parquet(path)
        found = loop(self.settings, path, input).ingested.deliveries[0].status
        assert not status or found == status
        self.seen.append(found)


def test_a_life_full_of_faults_ends_as_one_without(tmp_path: Path) -> None:
    plain, faulted = Settings(home=tmp_path / "plain"), Settings(home=tmp_path / "faulted")
    lives(plain, tmp_path / "a")
    faults = Faults(faulted, tmp_path)
    lives(faulted, tmp_path / "a", faults)
    assert faults.seen.count("killed") == 3
    assert faults.seen.count("rejected") >= 3

    ours, theirs = (open_registry(s.registry_url) for s in (plain, faulted))
    champions = [registry.champion(RESTLESS.name) for registry in (ours, theirs)]
    assert champions[0]
    assert champions[1]
    assert champions[0].version > 2, "the champion never changed"
    assert champions[0].sha256 == champions[1].sha256
    rows = [published(settings) for settings in (plain, faulted)]
    assert all(rows[0][name].equals(rows[1][name]) for name in rows[0])
    assert predicted(plain).equals(predicted(faulted))

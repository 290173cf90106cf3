"""A flow whose process is killed between two effects: run again, it does and says what was left."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from prefect.settings import PREFECT_API_URL

from flows.ingest import ingest
from flows.lifecycle import lifecycle
from schemas.settings import Settings
from tasks import alarm
from tasks.landing import land_flights
from tasks.registry import open_registry
from tasks.versions import MAIN, open_store
from tests.faults.children import Done, killed, run

SCRIPT = """
import sys
from deployments.local import hush
hush()
from flows.{flow} import {flow}
{flow}("flights", *sys.argv[1:])
"""


def dies(flow: str, point: str, settings: Settings, path: Path) -> Done:
    """A flow in a child that is killed at a point."""
    told = {"PENSTOCK_HOME": str(settings.root), "PREFECT_API_URL": PREFECT_API_URL.value()}
    script = SCRIPT.format(flow=flow)
    done = run(script, str(path), kill_point=point, environment=told)
    assert killed(done), done.stderr[-2000:]
    return done


@pytest.fixture
def january(settings: Settings) -> dict[str, Path]:
    return {path.parent.name: path for path in land_flights(settings.landing_dir, [1])}


def scorings(settings: Settings) -> list[dict[str, str]]:
    log = open_store(settings.store_url("flights-log"))
    return [dict(c.metadata) for c in log.log(MAIN, first_parent=True) if c.metadata.get("kind") == "score"]


@pytest.mark.parametrize("last", ["labels", "flights"])
def test_the_first_champions_rows_are_scored_by_the_rerun(settings: Settings, january: dict[str, Path], last: str) -> None:
    for name in ("weather", "flights", "labels"):
        if name != last:
            ingest("flights", str(january[name]))
    dies("lifecycle", "lifecycle.first_champion", settings, january[last])
    registry = open_registry(settings.registry_url)
    champion = registry.champion("flights")
    assert champion
    assert scorings(settings) == []

    again = lifecycle("flights", str(january[last]))
    window = registry.document(champion, "verdict")["window"]
    assert [scores.status for scores in again.scored] == ["published"]
    assert [told["model_version"] for told in scorings(settings)] == [str(champion.version)]
    assert scorings(settings)[0]["first"][:10] >= window[0][:10]
    assert 0 < int(scorings(settings)[0]["rows"]) < 0.6 * pl.read_csv(january["flights"]).height
    assert [seen.model for seen in again.monitored] == [champion]

    lifecycle("flights", str(january[last]))
    assert len(scorings(settings)) == 1
    assert registry.champion("flights") == champion


def test_what_was_published_and_not_told_raises_its_alert_on_the_rerun(settings: Settings, tmp_path: Path) -> None:
    rows = pl.read_csv(land_flights(tmp_path, [1])[1], infer_schema=False)
    assert "carrier" in rows.columns
    path = settings.landing_dir / "flights" / "flights.csv"
    path.parent.mkdir(parents=True)
    rows.with_columns(pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("-1")).otherwise("distance").alias("distance")).write_csv(path)
    dies("ingest", "publishing.after_publish", settings, path)
    log, store = open_store(settings.store_url("flights-log")), open_store(settings.store_url("flights"))
    assert alarm.open_now(log) == ()

    assert ingest("flights", str(path)).deliveries[0].status == "already done"
    assert [alert.cause for alert in alarm.open_now(log)] == ["audit.rejected.flights"]
    assert store.branches() == [MAIN]
    before = log.head(MAIN)
    ingest("flights", str(path))
    assert log.head(MAIN) == before

"""Backfills: a range, each partition once, a stopped one finished, over threads and over Dask."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterType

from flows.backfill import backfill, runner
from flows.train import train
from schemas.errors import UsageError
from schemas.settings import Settings
from tasks import flow_tasks
from tasks.registry.factory import open_registry
from tasks.replay.nycflights13 import land_flights
from tasks.versions.factory import open_store


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landing folder of three months, to be copied."""
    folder = tmp_path_factory.mktemp("flights") / "landing"
    land_flights(folder, [1, 2, 3])
    return folder


@pytest.fixture
def landed(files: Path, tmp_path: Path) -> Iterator[Settings]:
    with Settings(home=tmp_path / "home").active() as settings:
        shutil.copytree(files, settings.landing_dir, dirs_exist_ok=True)
        yield settings


def publishes(settings: Settings) -> list[str]:
    log = open_store(settings.store_url("flights")).log(first_parent=True)
    return [entry.metadata["source_name"] for entry in log if entry.metadata.get("kind") == "ingest"]


@pytest.mark.slow
def test_a_range_is_ingested_once_and_what_is_missing_later(landed: Settings) -> None:
    first = backfill("flights", "2013-01", "2013-01", at_once=3)
    assert [found.status for found in first.partitions] == ["done"] * 3
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(type=ArtifactFilterType(any_=["progress"])))
    assert 100.0 in [artifact.data for artifact in found if artifact.description == "ingest flights: 3 partitions"]
    assert sorted(publishes(landed)) == ["flights-2013-01.csv", "labels-2013-01.csv.gz", "weather-2013-01.parquet"]
    both = backfill("flights", "2013-01", "2013-02", at_once=3)
    assert [found.status for found in both.partitions] == ["already done"] * 3 + ["done"] * 3, both
    assert len(publishes(landed)) == 6
    assert both.why == "3 already done, 3 done"


@pytest.mark.slow
def test_one_bad_file_does_not_stop_the_others(landed: Settings) -> None:
    folder = landed.landing_dir / "flights" / "weather"
    (folder / "weather-2013-01.parquet").write_bytes(b"no table at all")
    result = backfill("flights", "2013-01", "2013-01")
    statuses = {found.name: found.status for found in result.partitions}
    assert statuses["flights-2013-01.csv"] == statuses["labels-2013-01.csv.gz"] == "done"
    assert statuses["weather-2013-01.parquet"] in ("refused", "failed")
    assert not result.complete


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rows_are_scored_once_and_the_champion_stays(landed: Settings) -> None:
    backfill("flights", "2013-01", "2013-02", at_once=2)
    model = train("flights").model
    backfill("flights", "2013-03", "2013-03", at_once=2)
    scored = backfill("flights", "2013-02", "2013-03", what="score")
    assert {found.name for found in scored.partitions} == {"flights-2013-02.csv", "flights-2013-03.csv"}
    assert [found.status for found in scored.partitions] == ["done", "done"], scored
    again = backfill("flights", "2013-01", "2013-12", what="score")
    told = {found.name: found.status for found in again.partitions}
    assert told == {f"flights-2013-0{month}.csv": "done" if month == 1 else "already done" for month in (1, 2, 3)}
    registry = open_registry(landed.registry_url)
    assert registry.champion("flights") == model
    assert len(registry.versions("flights")) == model.version  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dask_maps_the_same(landed: Settings) -> None:
    if importlib.util.find_spec("prefect_dask") is None:
        pytest.skip("prefect-dask is not installed")
    with landed.model_copy(update={"task_runner": "dask"}).active():
        result = backfill("flights", "2013-01", "2013-01", at_once=1)
    assert [found.status for found in result.partitions] == ["done"] * 3, result
    assert len(publishes(landed)) == 3


@pytest.mark.parametrize(
    ("since", "until", "says"),
    [
        ("2013-03", "2013-01", "the later one"),
        ("march", "2013-05", "write a partition like"),
        ("2013-1-01", "2013-05", "2013-04"),
    ],
)
def test_a_range_that_cannot_be_is_refused_in_one_line(landed: Settings, since: str, until: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        flow_tasks.partition_files.fn("flights", str(landed.landing_dir / "flights" / "*" / "*"), since, until)


def test_days_within_months_and_months_within_days(landed: Settings) -> None:
    place = str(landed.landing_dir / "flights" / "*" / "*")
    assert {u.dates for u in flow_tasks.partition_files.fn("flights", place, "2013-02-10", "2013-03-01")} == {
        ("2013-02",),
        ("2013-03",),
    }
    order = [u.input for u in flow_tasks.partition_files.fn("flights", place, "2013-02", "2013-02")]
    assert order == ["weather", "flights", "labels"]


def test_a_file_without_a_date_is_named(landed: Settings) -> None:
    (landed.landing_dir / "flights" / "flights" / "flights-newest.csv").write_text("year\n")
    with pytest.raises(UsageError, match=r"flights-newest\.csv: no date"):
        flow_tasks.partition_files.fn("flights", str(landed.landing_dir / "flights" / "flights" / "*"), "2013-01", "2013-02")


def test_threads_are_bounded(settings: Settings) -> None:
    assert runner(settings, 3)._max_workers == 3  # type: ignore[attr-defined]

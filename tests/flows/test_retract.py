"""Retract and sweep, as a person calls them."""

from pathlib import Path

import polars as pl
import pytest

from flows.ingest import ingest
from flows.retract import retract
from flows.sweep import sweep
from schemas.errors import NotFound, UsageError
from schemas.settings import Settings
from schemas.usecases.flights import FLIGHTS
from tasks.datasets import published
from tasks.publishing import publish
from tasks.replay.nycflights13 import land_flights
from tasks.versions.factory import open_store

SPEC = FLIGHTS.input("weather")


@pytest.fixture(scope="session")
def weather(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    files = land_flights(tmp_path_factory.mktemp("landing"), [1, 2])
    return sorted(path for path in files if path.parent.name == "weather")


def rows(settings: Settings) -> int:
    store = open_store(settings.store_url("flights"))
    return published.inputs_at(store, "main", FLIGHTS)["weather"].select(pl.len()).collect().item()


def test_a_source_is_taken_back_and_may_come_again(settings: Settings, weather: list[Path]) -> None:
    january, february = (ingest("flights", str(path)).accepted for path in weather)
    store = open_store(settings.store_url("flights"))
    late = published.watermark(store, SPEC)
    result = retract("flights", str(weather[1]), "measured with a broken\ngauge")
    assert (result.status, result.input, result.trained_on) == ("retracted", "weather", ())
    assert result.why == f"{february} rows are gone from weather: measured with a broken gauge"
    assert store.get(result.commit).metadata["reason"] == "measured with a broken gauge"
    assert rows(settings) == january
    assert published.watermark(store, SPEC) < late
    again = retract("flights", weather[1].name, "twice")
    assert (again.status, again.commit) == ("already done", result.commit)
    assert [d.status for d in ingest("flights", str(weather[1])).deliveries] == ["published"]
    assert rows(settings) == january + february
    assert published.watermark(store, SPEC) == late
    assert retract("flights", result.sha256[:9], "once more").status == "retracted"


@pytest.mark.parametrize("source", ["no-such-file.parquet", "0123456789abcdef"])
def test_what_was_never_published_cannot_be_retracted(settings: Settings, weather: list[Path], source: str) -> None:
    with pytest.raises(NotFound, match="nothing to retract"):
        retract("flights", source, "no reason")
    ingest("flights", str(weather[0]))
    with pytest.raises(NotFound, match="no published source"):
        retract("flights", source, "no reason")


def test_a_name_that_means_two_sources_is_refused(settings: Settings, weather: list[Path], tmp_path: Path) -> None:
    for number, path in enumerate(weather):
        folder = tmp_path / str(number) / "weather"
        folder.mkdir(parents=True)
        (folder / "weather.parquet").write_bytes(path.read_bytes())
        ingest("flights", str(folder / "weather.parquet"))
    with pytest.raises(UsageError, match="means 2 sources"):
        retract("flights", "weather.parquet", "one of them")


def test_a_sweep_leaves_young_evidence(settings: Settings, weather: list[Path], tmp_path: Path) -> None:
    bad = pl.read_parquet(weather[0]).with_columns(origin=pl.lit("XXX"))
    refused = ingest("flights", bad, input="weather").deliveries[0]
    assert refused.status == "rejected"
    store = open_store(settings.store_url("flights"))
    store.branch("somebody-else")
    assert [found.what for found in sweep("flights").branches] == ["kept"]
    assert [found.what for found in sweep("flights", older_than_days=0, dry_run=True).removed] == ["stale"]
    assert store.branches() == [refused.branch, "main", "somebody-else"]
    assert sweep("flights", older_than_days=0).removed
    assert store.branches() == ["main", "somebody-else"]
    assert ingest("flights", bad, input="weather").deliveries[0].status == "rejected"


def test_a_sweep_removes_a_branch_whose_source_is_published(settings: Settings, weather: list[Path]) -> None:
    delivery = ingest("flights", str(weather[0])).deliveries[0]
    store = open_store(settings.store_url("flights"))
    left = publish.branch_name(type("S", (), {"sha256": delivery.sha256})())
    store.branch(left)  # as after a kill between the merge and the clean-up
    assert [(found.branch, found.what) for found in sweep("flights").branches] == [(left, "finished")]
    assert store.branches() == ["main"]

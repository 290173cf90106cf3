"""A dated source cut into deliveries: the files of a period, as they would have arrived.

A row arrives in the period that its event time falls into, a label in the one in which it became known. Rows of text files
stay text, so that what the contract would reject arrives as it is; a row whose time cannot be read comes with the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from schemas.errors import UsageError
from schemas.usecase import Input, UseCase
from tasks.atomic_files import write_atomically
from tasks.versions import open_store

CLOCK = "_arrives"
EVERY = {"day": "1d", "week": "1w", "month": "1mo"}
PERIOD = re.compile(r"day|week|month|[1-9][0-9]{0,2}d")
TEXT = (".csv", ".csv.gz", ".csv.zst", ".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class DatedSource:
    """Every row of a source, by input in the order of arrival, with the moment it arrives in the column `_arrives`."""

    case: UseCase
    tables: Mapping[str, pl.DataFrame]

    @property
    def span(self) -> tuple[datetime, datetime]:
        """First and last event time of the rows that are predicted."""
        times = self.tables[self.case.rows][CLOCK]
        return times.min(), times.max()  # type: ignore[return-value]

    def land(self, folder: Path, since: datetime | None, until: datetime) -> dict[str, Path]:
        """Write what arrives in [since, until), from the start where it is None: by input, those that rows come from."""
        paths = {}
        for name, table in self.tables.items():
            low = pl.lit(True) if since is None else pl.col(CLOCK) >= since
            rows = table.filter(low & (pl.col(CLOCK) < until)).drop(CLOCK)
            if not rows.is_empty():
                paths[name] = _write(rows, folder / self.case.name / name, f"{name}-{_span(since, until)}")
        return paths


def read_dated_source(case: UseCase, source: str | None, label_delay: float | None) -> DatedSource:
    """The demo's year where no source is given, else the files `<source>/<input>/*` or `<source>/<input>*`.

    `label_delay`, in days, replaces the moments at which labels became known, where it is given.

    Args:
        case: The use case.
        source: Folder with a folder or file for each input; None for the demo's year.
        label_delay: Days after the event at which a label becomes known; None takes the data's own word.

    Returns:
        Every row, by input in the order of arrival.

    Raises:
        UsageError: An input has no file, or the use case no event times.
    """
    from tasks.replay import nycflights13

    if case.time is None:
        raise UsageError(f"{case.name} has no event times: there is no order to replay it in")
    tables = (
        nycflights13.flights_of_the_year()
        if source is None and case.name == nycflights13.USE_CASE
        else _read_inputs(case, source)
    )
    ordered = [i for i in case.inputs if i.name not in (case.rows, case.label_input.name)]  # looked up: before the rows
    ordered += [case.input(case.rows), *([case.label_input] if case.labels else [])]
    return DatedSource(case, {spec.name: _clocked(case, spec, tables[spec.name], label_delay) for spec in ordered})


def parse_moment(text: str | datetime) -> datetime:
    """A date or time as a moment in UTC.

    Args:
        text: Like `2013-03-01`, or a time in ISO 8601; without an offset it is UTC.

    Returns:
        The moment, in UTC.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        parsed = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"cannot read the date {text!r}; write it like 2013-03-01") from None
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def require_empty_store(store_url: str) -> None:
    """See that a replay begins with nothing.

    Args:
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.

    Raises:
        UsageError: The repository holds data already.
    """
    if open_store(store_url).exists():
        raise UsageError(f"{store_url} holds data already: replay into an empty home, e.g. with PENSTOCK_HOME")


def periods(since: datetime, until: datetime, every: str) -> Iterator[tuple[datetime, datetime]]:
    """[since, until) cut into days, weeks, months or N days (`10d`); the last may be shorter.

    Args:
        since: First moment.
        until: Last moment, not included.
        every: `day`, `week`, `month` or a number of days like `10d`.

    Yields:
        First and last moment of each period.

    Raises:
        UsageError: `every` is none of these, or nothing lies in between.
    """
    if not PERIOD.fullmatch(every):
        raise UsageError(f"cannot cut time by {every!r}: say day, week, month or a number of days like 10d")
    if since >= until:
        raise UsageError(f"nothing lies between {since:%Y-%m-%d} and {until:%Y-%m-%d}")
    starts = pl.datetime_range(since, until, EVERY.get(every, every), closed="left", eager=True).to_list()
    yield from zip(starts, [*starts[1:], until], strict=True)


def _clocked(case: UseCase, spec: Input, rows: pl.DataFrame, delay: float | None) -> pl.DataFrame:
    """The rows with `_arrives`, in its order; labels of a given delay say so themselves."""
    if spec.time is None:
        return rows.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias(CLOCK)).with_columns(
            pl.col(CLOCK).fill_null(datetime(1, 1, 1, tzinfo=UTC))
        )
    clock = _time(rows, spec.time)
    if case.labels and spec.name == case.label_input.name:
        if delay is not None or not spec.known_at:
            clock += timedelta(days=delay or 0)
            rows = rows.with_columns(_known_at_values(rows, spec.known_at, clock)) if spec.known_at else rows
        else:
            clock = _time(rows, spec.known_at)
    first = pl.lit(datetime(1, 1, 1, tzinfo=UTC))
    return rows.with_columns(clock.fill_null(first).alias(CLOCK)).sort(CLOCK, maintain_order=True)


def _time(rows: pl.DataFrame, name: str) -> pl.Expr:
    dtype, column = rows.schema[name], pl.col(name)
    if dtype == pl.String:
        naive = column.str.strip_suffix("Z").str.to_datetime(time_unit="us", strict=False)
        zoned = column.str.to_datetime("%+", time_unit="us", strict=False)
        return pl.coalesce(zoned, naive.dt.replace_time_zone("UTC"))
    column = column.cast(pl.Datetime("us", getattr(dtype, "time_zone", None)))
    return column.dt.convert_time_zone("UTC") if getattr(dtype, "time_zone", None) else column.dt.replace_time_zone("UTC")


def _known_at_values(rows: pl.DataFrame, name: str, clock: pl.Expr) -> pl.Expr:
    """The moment as the column's own type."""
    dtype = rows.schema[name]
    if dtype == pl.String:
        return clock.dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias(name)
    zone = getattr(dtype, "time_zone", None)
    return (clock.dt.convert_time_zone(zone) if zone else clock.dt.replace_time_zone(None)).cast(dtype).alias(name)


def _read_inputs(case: UseCase, source: str | None) -> dict[str, pl.DataFrame]:
    if source is None:
        raise UsageError(f"say where the rows of {case.name} lie: --source FOLDER, with a folder or file for each input")
    tables = {}
    for spec in case.inputs:
        root = Path(source).expanduser()
        files = sorted(p for p in [*root.glob(f"{spec.name}/*"), *root.glob(f"{spec.name}*")] if p.is_file())
        if not files:
            raise UsageError(f"no file for the input {spec.name!r}: looked for {root}/{spec.name}/* and {root}/{spec.name}*")
        tables[spec.name] = pl.concat([_read(path) for path in files], how="diagonal")
    return tables


def _read(path: Path) -> pl.DataFrame:
    if path.name.endswith(".parquet"):
        return pl.read_parquet(path)
    if not path.name.endswith(TEXT):
        raise UsageError(f"{path.name} cannot be cut by time: give Parquet, CSV or JSON Lines")
    return pl.read_csv(path, infer_schema=False) if ".csv" in path.name else pl.read_ndjson(path, infer_schema_length=None)


def _write(rows: pl.DataFrame, folder: Path, name: str) -> Path:
    """Text as CSV, typed rows as Parquet; a watcher of the folder never sees half a file."""
    text = all(dtype == pl.String for dtype in rows.dtypes)
    path = folder / f"{name}.{'csv' if text else 'parquet'}"
    write_atomically(path, rows.write_csv if text else rows.write_parquet)
    return path


def _span(since: datetime | None, until: datetime) -> str:
    last = until - timedelta(seconds=1)
    return f"{since:%Y-%m-%d}-to-{last:%Y-%m-%d}" if since else f"to-{last:%Y-%m-%d}"

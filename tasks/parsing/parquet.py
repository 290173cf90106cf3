"""Parquet in slices. Extension types are never resolved, so nothing that a file carries is executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from schemas.errors import Refused
from schemas.reader import PLAIN, Reader
from tasks.parsing.column_formats import from_typed, renamed
from tasks.parsing.decompression import RATIO
from tasks.parsing.type_conversion import ROW, Conversion, typed

CELLS = 1 << 24  # read at a time
ALWAYS_ALLOWED = 1 << 25  # cells


def schema_of(path: Path, reader: Reader = PLAIN) -> dict[str, pl.DataType]:
    """The contract's names of the columns, and their types."""
    schema = dict(pl.read_parquet_schema(path))
    return {clean: schema[own] for own, clean in reader.contract_names(schema).items()}


def conversions(
    name: str, schema: Mapping[str, pl.DataType], wanted: Mapping[str, pl.DataType], reader: Reader = PLAIN
) -> dict[str, Conversion]:
    """How each wanted column that is there becomes the contract's. Raises Refused that lists those that cannot."""
    by_column = {
        column: from_typed(column, schema[column], dtype, reader) for column, dtype in wanted.items() if column in schema
    }
    if wrong := [
        f"{column!r} is {schema[column]}, not {wanted[column]}" for column, how in by_column.items() if how is None
    ]:
        raise Refused(f"{name!r} does not fit the contract's types: {'; '.join(wrong)}")
    return {column: how for column, how in by_column.items() if how is not None}


def batches(path: Path, name: str, conversions: Mapping[str, Conversion], reader: Reader = PLAIN) -> Iterator[pl.DataFrame]:
    """Frames of the contract's types with `_row` and `_untyped`. Raises Refused for files that grow beyond all measure."""
    lazy = pl.scan_parquet(path)
    lazy = renamed(lazy, lazy.collect_schema().names(), reader)
    rows = pl.scan_parquet(path).select(pl.len()).collect().item()
    if rows * max(len(conversions), 1) > max(ALWAYS_ALLOWED, RATIO * path.stat().st_size):
        raise Refused(f"{name!r} unpacks to {rows} rows, far more than a file of its size holds; split it if it is meant so")
    step = max(1000, CELLS // max(len(conversions), 1))
    for first in range(0, rows, step):
        frame = lazy.select(list(conversions)).slice(first, step).collect()
        yield typed(
            frame.with_columns(pl.int_range(first + 1, first + frame.height + 1, dtype=pl.UInt64).alias(ROW)), conversions
        )

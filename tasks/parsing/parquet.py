"""Parquet in slices. Extension types are never resolved, so nothing that a file carries is executed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from tasks.parsing.native_columns import CELLS, NativeColumns, check_size


def schema_of(path: Path) -> dict[str, pl.DataType]:
    """The file's columns and their types."""
    return dict(pl.read_parquet_schema(path))


def frames(path: Path, name: str, columns: NativeColumns, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The named columns, slice by slice.

    Args:
        path: Where the file lies.
        name: The file's name, for messages.
        columns: Its columns.
        names: The contract's names of those that are read.

    Yields:
        Rows in order.

    Raises:
        Refused: The file grows beyond all measure.
    """
    lazy = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    rows = lazy.select(pl.len()).collect().item()
    check_size(name, rows, len(names), path.stat().st_size)
    step = max(1000, CELLS // max(len(names), 1))
    for first in range(0, rows, step):
        yield lazy.slice(first, step).select(columns.select(names)).collect()

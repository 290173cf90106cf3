"""What a parsed source holds: its rows as tuples, and the values that could not be typed."""

from __future__ import annotations

from typing import Any

import polars as pl

from tasks.parsing.parse import Parsed
from tasks.parsing.type_conversion import ROW, UNTYPED


def rows_and_misfits(parsed: Parsed) -> tuple[list[tuple[Any, ...]], list[tuple[int, str | None, str]]]:
    """Typed rows in order, and row, column and text of each value or record that does not fit."""
    if not parsed.parts:
        return [], []
    frame = pl.concat([pl.read_parquet(path) for path in parsed.parts])
    misfits = [
        (row, each["column"], each["text"]) for row, entries in frame.select(ROW, UNTYPED).iter_rows() for each in entries
    ]
    return frame.drop(ROW, UNTYPED).rows(), misfits

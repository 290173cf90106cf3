"""Frames of callers: pandas or polars, worked on as polars and given back as what they came as."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import polars as pl

from schemas.errors import UsageError, first_line

Frame = TypeVar("Frame")
"""A `polars.DataFrame`, `polars.LazyFrame` or `pandas.DataFrame`."""


def as_polars(frame: Any, what: str) -> tuple[pl.DataFrame, Callable[[pl.DataFrame], Any]]:
    """A caller's frame as polars, and the way back.

    Args:
        frame: A polars DataFrame or LazyFrame, or a pandas DataFrame, whose index is no column.
        what: The argument's name.

    Returns:
        The rows; and what makes a frame of as many rows one of the caller's kind, with the index of a pandas frame.

    Raises:
        UsageError: It is none of these, or a column holds values of several types.
    """
    if isinstance(frame, pl.DataFrame):
        return frame, lambda made: made
    if isinstance(frame, pl.LazyFrame):
        return frame.collect(), lambda made: made.lazy()
    pandas = sys.modules.get("pandas")  # a pandas frame cannot come from elsewhere
    if pandas is None or not isinstance(frame, pandas.DataFrame):
        raise UsageError(f"{what}: a pandas or polars frame is wanted, not a {type(frame).__name__}")
    return _from_pandas(frame, what), lambda made: made.to_pandas().set_axis(frame.index, axis=0)


def _from_pandas(frame: Any, what: str) -> pl.DataFrame:
    if repeated := sorted({str(name) for name in frame.columns[frame.columns.duplicated()]}):
        raise UsageError(f"{what}: {', '.join(repeated)} is the name of several columns; rename or drop them")
    columns = []
    for name in frame.columns:
        try:
            columns.append(pl.Series(str(name), pl.from_pandas(frame[name])))
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:  # pyarrow's errors are these
            why = first_line(error)
            raise UsageError(f"{what}: the column {name!r} cannot be read ({why}); give it values of one type") from None
    return pl.DataFrame(columns)

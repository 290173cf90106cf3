"""What a caller gives, checked before anything computes with it: what is wrong is one line, no trace from deep inside."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import polars as pl

from schemas.errors import NotEnoughEvidence, UsageError


def require_frame(frame: object, what: str) -> pl.DataFrame:
    """A polars frame that has rows.

    Args:
        frame: What the caller gave.
        what: The argument's name.

    Returns:
        The frame.

    Raises:
        UsageError: For anything but a polars DataFrame.
        NotEnoughEvidence: For a frame without rows.
    """
    if not isinstance(frame, pl.DataFrame):
        hint = "collect() it" if isinstance(frame, pl.LazyFrame) else "pandas frames become one by polars.from_pandas"
        raise UsageError(f"{what}: a polars DataFrame is wanted, not a {type(frame).__name__}; {hint}")
    if frame.is_empty():
        raise NotEnoughEvidence(f"{what}: the frame has no rows")
    return frame


def require_columns(frame: pl.DataFrame, names: Iterable[str | None], what: str) -> None:
    """Refuse names that the frame has no column of, all in one line. None is no name. Raises UsageError."""
    if missing := [name for name in names if name is not None and name not in frame.columns]:
        raise UsageError(f"{what}: no column {', '.join(map(repr, missing))}; there are {', '.join(frame.columns)}")


def require_numbers(frame: pl.DataFrame, names: Iterable[str], what: str) -> None:
    """Refuse columns that hold no numbers. Raises UsageError."""
    if wrong := [f"{name!r} is {frame.schema[name]}" for name in names if not frame.schema[name].is_numeric()]:
        raise UsageError(f"{what}: {', '.join(wrong)}; numbers are wanted")


def require_time(frame: pl.DataFrame, name: str | None, what: str) -> None:
    """Refuse an event time that is no date or datetime, or is missing in a row. None is no event time. Raises UsageError."""
    if name is None:
        return
    if not isinstance(frame.schema[name], pl.Date | pl.Datetime):
        raise UsageError(f"{what}: the time {name!r} is {frame.schema[name]}; a Date or Datetime is wanted")
    if nulls := frame[name].null_count():
        raise UsageError(f"{what}: the time {name!r} is missing in {nulls:,} rows; fill or drop them")


def require_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Refuse a value that is none of the choices. Raises UsageError."""
    if value not in choices:
        raise UsageError(f"{name} is {value!r}; it can be {', '.join(map(repr, choices))}")


def require_share(name: str, value: float) -> None:
    """Refuse what is no share between 0 and 1. Raises UsageError."""
    if not 0 <= value <= 1:
        raise UsageError(f"{name} is {value}; a share between 0 and 1 is wanted")


def matrix_of(frame: pl.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """Columns as float64: shape (rows,) for one name, (rows, names) for several. Null is NaN."""
    numbers = frame.select(pl.col(name).cast(pl.Float64) for name in names).to_numpy()
    return numbers[:, 0] if len(names) == 1 else numbers

"""A reference in small: what is needed of a frame to compare later ones with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from prefect import task

from schemas.errors import UsageError
from tasks.features import has_marginal, reference_profile
from tasks.standalone.arguments import require_columns, require_frame
from tasks.standalone.labelled_rows import frame_use_case
from tasks.standalone.task_options import STANDALONE_TASK_OPTIONS


def profile_frame(frame: pl.DataFrame, columns: Sequence[str] | None = None) -> dict[str, Any]:
    """Summarise columns of a frame: numbers in a thousand bins between quantiles, categories as counts.

    Store it as JSON with a model, and give it to `measure_drift` as the reference when the rows are long gone. It holds the
    1,000 most frequent values of each text column: mind that where they are private.

    Args:
        frame: The rows, such as those that a model was trained on.
        columns: The columns to summarise: numbers, Booleans, text and categories; None: all.

    Returns:
        A JSON document: `format_version`, `rows`, and `columns` by name. Some tens of kilobytes a column of numbers.

    Raises:
        UsageError: For a column that is missing or of another type, such as a date.
        NotEnoughEvidence: For a frame without rows.
    """
    names = profiled_columns(require_frame(frame, "frame"), columns, "frame")
    return reference_profile(frame_use_case(frame, "regression", "", features=names), frame)


def profiled_columns(frame: pl.DataFrame, columns: Sequence[str] | None, what: str) -> list[str]:
    """The names of the columns to summarise. Raises UsageError for one that cannot be."""
    names = frame.columns if columns is None else list(columns)
    require_columns(frame, names, what)
    if wrong := [f"{name!r} is {frame.schema[name]}" for name in names if not has_marginal(frame.schema[name])]:
        raise UsageError(f"{what}: {', '.join(wrong)}; cast to number or text, or name the other columns in `columns`")
    return names


profile_frame_task = task(**STANDALONE_TASK_OPTIONS)(profile_frame)

"""Columns of anybody's frame as XGBoost takes them: numbers, flags, and text as categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from schemas.errors import UsageError
from tasks.standalone.arguments import require_columns

WIDE = (pl.Decimal, pl.Int128)  # XGBoost takes neither
TEXT = (pl.String, pl.Categorical)


def training_features(rows: pl.DataFrame, names: Sequence[str]) -> list[pl.Series]:
    """Features to fit on, text as an Enum of its values, sorted, so that the order of rows does not matter.

    Args:
        rows: The frame.
        names: Columns of it.

    Returns:
        A column for each name.

    Raises:
        UsageError: For a column that is neither number, Boolean, text nor category; all are named.
    """
    wrong = [f"{name!r} is {rows.schema[name]}" for name in names if not _fits(rows.schema[name])]
    if wrong:
        raise UsageError(
            f"features: {', '.join(wrong)}; XGBoost takes numbers, Booleans, text and categories: derive one, or leave the "
            "column out of `features`"
        )
    return [_feature(rows[name]) for name in names]


def model_features(booster: Any, rows: pl.DataFrame) -> pl.DataFrame:
    """The features of a model, in its order, text as categories; a category that the model does not know is null later.

    Args:
        booster: An `xgboost.Booster`, fitted on named features.
        rows: A frame that has them.

    Returns:
        The features alone.

    Raises:
        UsageError: For a feature that is missing, or text where the model asks for a number, or the other way round.
    """
    names = list(booster.feature_names or [])
    require_columns(rows, names, "rows")
    kinds = dict(zip(names, booster.feature_types or [], strict=True))
    for name in names:
        dtype, categories = rows.schema[name], kinds[name] == "c"
        if not _fits(dtype) or categories == (dtype.is_numeric() or dtype == pl.Boolean):
            raise UsageError(f"rows: feature {name!r} is {dtype}; the model asks for {'text' if categories else 'a number'}")
    text = [pl.col(name).cast(pl.Categorical) for name in names if rows.schema[name] == pl.String]
    wide = [pl.col(name).cast(pl.Float64) for name in names if rows.schema[name] in WIDE]
    return rows.select(names).with_columns(*text, *wide)


def _fits(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean or dtype in (*TEXT, pl.Enum)


def _feature(column: pl.Series) -> pl.Series:
    if column.dtype in TEXT:
        values = column.cast(pl.String)
        return values.cast(pl.Enum(values.drop_nulls().unique().sort()))
    return column.cast(pl.Float64) if column.dtype in WIDE else column

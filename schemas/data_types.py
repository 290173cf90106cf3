"""Polars data types as plain data, by names that do not depend on polars' own serialization."""

from __future__ import annotations

from typing import Any

import polars as pl

from schemas.errors import UsageError

PLAIN: dict[str, pl.DataType] = {
    str(dtype): dtype
    for dtype in (
        *(pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.Int128(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64()),
        *(pl.Float32(), pl.Float64(), pl.Boolean(), pl.String(), pl.Binary(), pl.Date(), pl.Time(), pl.Null()),
    )
}


def describe_dtype(dtype: pl.DataType) -> Any:
    """A data type as plain data: its name, or a mapping of its name to what it was made with.

    Args:
        dtype: A polars data type.

    Returns:
        Text such as "Int64", or a mapping such as {"Datetime": ["us", "UTC"]} or {"Enum": ["a", "b"]}.

    Raises:
        UsageError: It is a type that no version can carry, such as Object.
    """
    if (name := str(dtype)) in PLAIN:
        return name
    if isinstance(dtype, pl.Datetime):
        return {"Datetime": [dtype.time_unit, dtype.time_zone]}
    if isinstance(dtype, pl.Duration):
        return {"Duration": dtype.time_unit}
    if isinstance(dtype, pl.Enum):
        return {"Enum": dtype.categories.to_list()}
    if isinstance(dtype, pl.Decimal):
        return {"Decimal": [dtype.precision, dtype.scale]}
    if isinstance(dtype, pl.List):
        return {"List": describe_dtype(dtype.inner)}  # type: ignore[arg-type]
    if isinstance(dtype, pl.Array):
        return {"Array": [describe_dtype(dtype.inner), dtype.size]}  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return {"Struct": [[each.name, describe_dtype(each.dtype)] for each in dtype.fields]}  # type: ignore[arg-type]
    raise UsageError(f"a column of type {dtype} cannot be kept with a model: cast it to a number, text, date or category")


def restore_dtype(described: Any) -> pl.DataType:
    """The data type of what `describe_dtype` gave.

    Args:
        described: Plain data.

    Returns:
        The polars data type.

    Raises:
        UsageError: It is no description of a type.
    """
    if isinstance(described, str) and described in PLAIN:
        return PLAIN[described]
    if isinstance(described, dict) and len(described) == 1:
        [(name, made_with)] = described.items()
        if name in _MADE_WITH:
            dtype: pl.DataType = _MADE_WITH[name](made_with)
            return dtype
    raise UsageError(f"{str(described)[:80]!r} names no data type")


_MADE_WITH: dict[str, Any] = {
    "Datetime": lambda made_with: pl.Datetime(*made_with),
    "Duration": lambda unit: pl.Duration(unit),
    "Enum": lambda categories: pl.Enum(categories),
    "Decimal": lambda made_with: pl.Decimal(*made_with),
    "List": lambda inner: pl.List(restore_dtype(inner)),
    "Array": lambda made_with: pl.Array(restore_dtype(made_with[0]), made_with[1]),
    "Struct": lambda fields: pl.Struct({name: restore_dtype(dtype) for name, dtype in fields}),
}

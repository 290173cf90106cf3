"""A frame brought to a Pandera model's columns and types before its rows are judged, in the order in which Pandera does it.

columns    those that are missing are added where the model says so; those it does not know stay, go or refuse the frame
types      cast where the model coerces; a value that cannot be cast is kept as text and rejects its row, not the frame
defaults   nulls filled where the model has a default
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from schemas.contract import Contract, polars_dtype
from schemas.errors import UsageError
from schemas.pandera_models import (
    PanderaModel,
    absent_columns,
    columns_of,
    contract_of,
    name_of,
    schema_of,
    version_of_model,
)
from tasks.parsing import ROW, UNTYPED, UNTYPED_DTYPE, as_text

OURS = (ROW, UNTYPED, "_checks", "_reasons")  # what rejected rows get beside their own columns


@dataclass(frozen=True)
class Conformed:
    """A frame in a model's types, the contract that judges it, and what could not be typed.

    `untyped` has, for each row, column and text of the values that could not be cast; None where none could not.
    """

    contract: type[Contract]
    rows: pl.DataFrame
    untyped: pl.Series | None


def conform(frame: pl.DataFrame, model: PanderaModel, untyped: pl.Series | None = None) -> Conformed:
    """Bring a frame to a model's columns and types, as Pandera does before it checks.

    Args:
        frame: Rows of any columns; those that the model does not name stay where its `strict` is False.
        model: A Pandera polars model or schema.
        untyped: For rows of a parsed file, what could not be typed there.

    Returns:
        The rows, in the same order, and the contract over exactly their columns.

    Raises:
        UsageError: One line that lists every column that is missing, not known, out of order or of a wrong type, and for
            a model that asks for what no polars column can be.
    """
    schema, name = schema_of(model), name_of(model)
    rows = _with_columns(frame, schema, name)
    specs = columns_of(schema, rows.columns)
    if schema.strict == "filter":
        rows = rows.select(name for name in rows.columns if name in specs)
    if untyped is None:
        rows, untyped = _cast(rows, specs, name)
    rows = _with_defaults(rows, specs)
    _refuse_types(rows, specs, name)
    return Conformed(_contract(model, schema, specs, rows), rows, untyped)


def _with_columns(frame: pl.DataFrame, schema: Any, name: str) -> pl.DataFrame:
    known = columns_of(schema, frame.columns)
    absent = absent_columns(schema, frame.columns)
    addable = {
        each: schema.columns[each]
        for each in absent
        if schema.add_missing_columns and (schema.columns[each].nullable or schema.columns[each].default is not None)
    }
    wrong = {
        "missing": [each for each in absent if each not in addable],
        "not known": [each for each in frame.columns if each not in known] if schema.strict is True else [],
        "a name that rejected rows need": [each for each in frame.columns if each in OURS],
        "out of order": _out_of_order(list(known), frame.columns) if schema.ordered else [],
    }
    if problems := [f"{what}: {', '.join(map(repr, names))}" for what, names in wrong.items() if names]:
        raise UsageError(f"the frame's columns are not those of {name} ({'; '.join(problems)})")
    if not addable:
        return frame
    more = frame.with_columns(_literal(spec).cast(polars_dtype(spec)).alias(each) for each, spec in addable.items())
    return more.select(*(each for each in schema.columns if each in more.columns), pl.exclude(*schema.columns))


def _out_of_order(wanted: list[str], present: list[str]) -> list[str]:
    have = [each for each in present if each in wanted]
    return [each for each, other in zip(have, wanted, strict=False) if each != other][:1]


def _cast(rows: pl.DataFrame, specs: Mapping[str, Any], name: str) -> tuple[pl.DataFrame, pl.Series | None]:
    wanted = {each: polars_dtype(spec) for each, spec in specs.items() if spec.coerce and spec.dtype is not None}
    cast = {each: _as(rows[each], dtype, name) for each, dtype in wanted.items() if rows.schema[each] != dtype}
    lost = {each: value.is_null() & rows[each].is_not_null() for each, value in cast.items()}
    untyped_values = [
        pl.when(flags).then(pl.struct(pl.lit(each).alias("column"), as_text(pl.col(each), rows.schema[each]).alias("text")))
        for each, flags in lost.items()
        if flags.any()
    ]
    untyped = (
        rows.select(pl.concat_list(untyped_values).list.drop_nulls().cast(UNTYPED_DTYPE)).to_series()
        if untyped_values
        else None
    )
    return rows.with_columns(cast.values()), untyped


def _as(column: pl.Series, dtype: pl.DataType, name: str) -> pl.Series:
    """The column cast, null where a value cannot be. Raises UsageError where the types have no cast."""
    try:
        return column.cast(dtype, strict=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        raise UsageError(
            f"column {column.name!r} is {column.dtype}, which polars does not cast to {dtype} as {name} asks; convert it "
            "first"
        ) from None


def _with_defaults(rows: pl.DataFrame, specs: Mapping[str, Any]) -> pl.DataFrame:
    filled = []
    for name, spec in specs.items():
        if spec.default is not None:
            present = pl.col(name).fill_nan(None) if rows.schema[name].is_float() else pl.col(name)
            filled.append(present.fill_null(_literal(spec)))
    return rows.with_columns(filled) if filled else rows


def _literal(spec: Any) -> pl.Expr:
    return spec.default if isinstance(spec.default, pl.Expr) else pl.lit(spec.default)


def _refuse_types(rows: pl.DataFrame, specs: Mapping[str, Any], name: str) -> None:
    wrong = [
        f"{each!r} is {rows.schema[each]}, not {spec.dtype}"
        for each, spec in specs.items()
        if spec.dtype is not None and not _fits(spec, rows.schema[each])
    ]
    if wrong:
        raise UsageError(
            f"the frame's types are not those of {name} ({'; '.join(wrong)}); cast them, or let the model coerce"
        )


def _fits(spec: Any, dtype: pl.DataType) -> bool:
    return bool(np.all(spec.dtype.check(dtype)))  # Pandera's own word, which is one or several


def _contract(model: PanderaModel, schema: Any, specs: Mapping[str, Any], rows: pl.DataFrame) -> type[Contract]:
    """The model's checks over all columns that the rows have: a check of whole rows may read any of them."""
    return contract_of(
        name_of(model),
        rows.schema,
        specs,
        checks=schema.checks,
        unique=schema.unique,
        first_stays=isinstance(model, type) and issubclass(model, Contract) and model.first_stays(),
        version=version_of_model(model),
    )

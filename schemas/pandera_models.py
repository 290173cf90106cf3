"""Anybody's Pandera polars model or schema, read as a contract, so that one audit judges theirs and ours.

A contract of ours is strict, changes no value and names every column. A model of anybody's may leave columns unnamed, give
them by a pattern, cast them, fill them: `columns_of` says what it asks of the columns of one frame, and `contract_of` makes
a contract of that, once the frame has been brought to the model's types.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

import pandera.polars as pa
import polars as pl

from schemas.contract import Contract, code_text
from schemas.digests import sha256, sorted_json
from schemas.errors import UsageError, first_line

PanderaModel = type[pa.DataFrameModel] | pa.DataFrameSchema


def schema_of(model: PanderaModel) -> pa.DataFrameSchema:
    """The schema of a `pandera.polars` model, or the schema itself.

    Args:
        model: A class derived from `pandera.polars.DataFrameModel`, or a `pandera.polars.DataFrameSchema`.

    Returns:
        The schema; it belongs to the caller's model and is not to be changed.

    Raises:
        UsageError: For anything else, and for a model that Pandera cannot make a schema of.
    """
    if isinstance(model, pa.DataFrameSchema):
        return model
    if not (isinstance(model, type) and issubclass(model, pa.DataFrameModel)):
        raise UsageError(
            f"cannot audit against {str(model)[:100]}: give a class derived from pandera.polars.DataFrameModel, or a "
            "pandera.polars.DataFrameSchema"
        )
    try:
        return model.to_schema()
    except Exception as error:  # the model is the caller's: whatever is wrong in it, the line that says so is enough
        raise UsageError(f"model {model.__name__}: Pandera makes no schema of it ({first_line(error)})") from None


def name_of(model: PanderaModel) -> str:
    """What the model is called in messages."""
    return model.__name__ if isinstance(model, type) else model.name or "schema"


def columns_of(schema: pa.DataFrameSchema, present: Sequence[str]) -> dict[str, Any]:
    """What a schema asks of the columns that are present: patterns expanded, what holds for all columns put in each.

    Args:
        schema: Of a model, as `schema_of` gives it.
        present: Names of the columns of a frame.

    Returns:
        A Pandera column by name, in the schema's order; columns of the frame that the schema does not know are not among
        them. The columns are copies.
    """
    specs: dict[str, Any] = dict(schema.columns)
    if not specs and schema.dtype is not None:
        specs = {name: pa.Column(name=name) for name in present}
    named = {name for name, spec in specs.items() if not spec.regex}
    matched: dict[str, Any] = {}
    for name, spec in specs.items():
        matching = [n for n in present if n not in named and re.fullmatch(name, n)] if spec.regex else [name]
        matched |= {each: _own(spec, each, schema) for each in matching if each in present}
    return matched


def absent_columns(schema: pa.DataFrameSchema, present: Sequence[str]) -> list[str]:
    """Required columns and patterns of the schema that no column of a frame answers to."""
    known = {name for name, spec in schema.columns.items() if not spec.regex}
    others = [name for name in present if name not in known]
    return [
        name
        for name, spec in schema.columns.items()
        if spec.required and (not any(re.fullmatch(name, n) for n in others) if spec.regex else name not in present)
    ]


def contract_of(
    name: str,
    dtypes: Mapping[str, pl.DataType],
    columns: Mapping[str, Any],
    *,
    checks: Sequence[Any] = (),
    unique: Any = None,
    first_stays: bool = False,
    version: str = "",
) -> type[Contract]:
    """A contract over exactly the columns of some rows.

    Args:
        name: What the contract is called in messages.
        dtypes: Names and types of the rows' columns.
        columns: What is asked of them, as Pandera columns by name; of the others nothing is asked.
        checks: Pandera checks of whole rows.
        unique: Names of the columns whose values together are the key; none: no key.
        first_stays: Whether the first row of a repeated key stays.
        version: What names the rules; none: the content hash that every contract has.

    Returns:
        A class derived from `Contract`.
    """
    described = {each: _column(each, dtype, columns.get(each)) for each, dtype in dtypes.items()}
    schema = pa.DataFrameSchema(described, checks=list(checks), unique=unique or None, strict=True, name=name)

    class Described(Contract):
        """Made of Pandera columns."""

        @classmethod
        def to_schema(cls) -> pa.DataFrameSchema:
            return schema

        @classmethod
        def first_stays(cls) -> bool:
            return first_stays

        @classmethod
        def version(cls) -> str:
            return version or super().version()

    Described.__name__ = name
    return Described


def contract_to_read(model: PanderaModel) -> type[Contract]:
    """What a file is read as: the model's columns and types, and no checks.

    Args:
        model: A Pandera polars model or schema.

    Returns:
        A contract whose columns may all be null. One that is not strict leaves columns of the file unread.

    Raises:
        UsageError: For a model with columns of no type or named by a pattern: they say nothing of how a text is to be read.
    """
    schema, name = schema_of(model), name_of(model)
    vague = [each for each, spec in schema.columns.items() if spec.regex or (spec.dtype is None and schema.dtype is None)]
    if vague or not schema.columns:
        raise UsageError(
            f"cannot read a file as {name}: {', '.join(map(repr, vague)) or 'it'} names no column and type; "
            "read the file yourself and audit the frame"
        )
    dtypes = {each: (schema.dtype or spec.dtype).type for each, spec in schema.columns.items()}
    contract = contract_of(name, dtypes, {})
    read = contract.to_schema()
    read.strict = schema.strict is True
    for each, spec in schema.columns.items():
        read.columns[each].required = spec.required and not schema.add_missing_columns
    return contract


def contract_of_rows(dtypes: Mapping[str, pl.DataType], key: Iterable[str]) -> type[Contract]:
    """A contract that knows the types and the key of some rows and asks nothing else of them."""
    return contract_of("Rows", dtypes, {}, unique=list(key))


def _column(name: str, dtype: pl.DataType, asked: Any) -> pa.Column:
    if asked is None:
        return pa.Column(dtype, nullable=True, name=name)
    return pa.Column(dtype, asked.checks, nullable=asked.nullable, unique=asked.unique, name=name)


def version_of_model(model: PanderaModel) -> str:
    """Content hash of a model's rules, 16 hexadecimal digits: of its columns, their types and checks, and its key."""
    if isinstance(model, type) and issubclass(model, Contract):
        return model.version()
    schema = schema_of(model)
    columns = {
        name: [
            *map(str, (spec.dtype, spec.nullable, spec.required, spec.unique, spec.coerce, spec.regex, spec.default)),
            _rules(model, spec.checks),
        ]
        for name, spec in schema.columns.items()
    }
    described = [columns, str(schema.dtype), schema.unique, schema.strict, schema.coerce, _rules(model, schema.checks)]
    return sha256(sorted_json(described).encode())[:16]


def _rules(model: PanderaModel, checks: Iterable[Any]) -> list[list[Any]]:
    return sorted(([str(check.name), check.statistics, _code_hash(model, check)] for check in checks), key=sorted_json)


def _code_hash(model: PanderaModel, check: Any) -> str:
    """A hash of what a check computes, where it is Python code of the model's own."""
    own = getattr(model, check.name or "", None) or check._check_fn
    return sha256(code_text(own.__code__).encode()) if hasattr(own, "__code__") else ""


def _own(spec: Any, name: str, schema: pa.DataFrameSchema) -> Any:
    column = copy(spec)
    column.name, column.regex = name, False
    column.coerce = bool(schema.coerce or spec.coerce)
    if schema.dtype is not None:
        column.dtype = schema.dtype
    return column

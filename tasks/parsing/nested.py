"""Records inside records: where one asks for a field of theirs, it is a column; dots join the names on the way to it.

Asked for is what the contract calls so, and what the reader renames or leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import polars as pl
from polars import selectors as cs

from schemas.errors import Refused
from schemas.reader import Reader

Prefixes = Mapping[str, tuple[str, ...]]  # of each record that is asked for, the fields that are, by their whole names


def inner_prefixes(wanted: Iterable[str], reader: Reader) -> Prefixes:
    """The records whose fields are asked for: of `a.b.c`, `a` and `a.b`.

    Args:
        wanted: The contract's names.
        reader: How the input's files are written.

    Returns:
        The records' names, and the fields asked of each.
    """
    prefixes: dict[str, tuple[str, ...]] = {}
    for name in sorted({*wanted, *reader.rename, *reader.omit}):
        for at, letter in enumerate(name):
            if letter == ".":
                prefixes[name[:at]] = (*prefixes.get(name[:at], ()), name)
    return prefixes


def flat_record(record: dict[str, Any], prefixes: Prefixes | None) -> dict[str, Any]:
    """A record with the fields of its inner records beside its own.

    Args:
        record: A JSON object.
        prefixes: The records whose fields are asked for; None for all.

    Returns:
        The flat record; of an inner one that is null, each field that is asked for is null.

    Raises:
        ValueError: Two fields have one name, or a value stands where a record is asked for.
    """
    if prefixes is not None and prefixes.keys().isdisjoint(record):
        return record
    flat: dict[str, Any] = {}
    for name, value in _fields(record, "", prefixes):
        if name in flat:
            raise ValueError(f"two fields are {name!r}")
        flat[name] = value
    return flat


def _fields(record: Mapping[str, Any], before: str, prefixes: Prefixes | None) -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        name = f"{before}{key}"
        inner = isinstance(value, dict) if prefixes is None else name in prefixes
        if not inner:
            yield name, value
        elif isinstance(value, dict):
            yield from _fields(value, f"{name}.", prefixes)
        elif value is None and prefixes is not None:
            yield from ((field, None) for field in prefixes[name])
        else:
            raise ValueError(f"{name!r} is no object")


@dataclass(frozen=True)
class FlatColumn:
    """A column of a frame or a field inside one: how it is read, its type, and the frame's column that holds it."""

    expression: pl.Expr
    dtype: pl.DataType
    root: str


def flat_columns(schema: Mapping[str, pl.DataType], prefixes: Prefixes | None, name: str) -> dict[str, FlatColumn]:
    """The columns of a frame and those inside its structs.

    Args:
        schema: The frame's columns and their types.
        prefixes: The structs whose fields are asked for; None for all.
        name: The file's name, for the message.

    Returns:
        The columns by name.

    Raises:
        Refused: Two fields have one name.
    """
    flat: dict[str, FlatColumn] = {}
    for own, dtype in schema.items():
        for column, each in _columns(own, FlatColumn(_by_name(own), dtype, own), prefixes):
            if column in flat:
                raise Refused(f"{name!r} has two columns that are called {column!r}: one of its own, and one inside another")
            flat[column] = each
    return flat


def _columns(name: str, column: FlatColumn, prefixes: Prefixes | None) -> Iterator[tuple[str, FlatColumn]]:
    if not isinstance(column.dtype, pl.Struct) or (prefixes is not None and name not in prefixes):
        yield name, column
        return
    for field in column.dtype.fields:
        inner = FlatColumn(column.expression.struct.field(field.name), _instance(cast(Any, field.dtype)), column.root)
        yield from _columns(f"{name}.{field.name}", inner, prefixes)


def _by_name(name: str) -> pl.Expr:
    """A column; `*` and `^x$` are names, too."""
    return cs.by_name(name).as_expr() if name == "*" or (name.startswith("^") and name.endswith("$")) else pl.col(name)


def _instance(dtype: pl.DataType | type[pl.DataType]) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype

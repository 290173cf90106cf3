"""Columns that have a type already: the file's own, flattened and renamed, and how each becomes the contract's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from schemas.errors import Refused
from schemas.reader import Reader
from tasks.parsing.column_formats import from_typed
from tasks.parsing.decompression import RATIO
from tasks.parsing.nested import FlatColumn, flat_columns, inner_prefixes
from tasks.parsing.type_conversion import ROW, Conversion, typed

CELLS = 1 << 24  # read at a time
ALWAYS_ALLOWED = 1 << 25  # cells


@dataclass(frozen=True)
class NativeColumns:
    """A file's columns by the contract's names."""

    columns: Mapping[str, FlatColumn]

    @property
    def types(self) -> dict[str, pl.DataType]:
        """Their types."""
        return {name: column.dtype for name, column in self.columns.items()}

    def own(self, names: Iterable[str]) -> list[str]:
        """The file's columns that these names need."""
        return sorted({self.columns[name].root for name in names})

    def select(self, names: Iterable[str]) -> list[pl.Expr]:
        """Expressions that give these columns."""
        return [self.columns[name].expression.alias(name) for name in names]


def native_columns(schema: Mapping[str, pl.DataType], name: str, wanted: Iterable[str], reader: Reader) -> NativeColumns:
    """The columns of a file under the contract's names; those inside structs by dotted names, where asked for.

    Args:
        schema: The file's columns and their types.
        name: The file's name, for messages.
        wanted: The contract's names.
        reader: How the input's files are written.

    Returns:
        The columns.

    Raises:
        Refused: Two columns have one name.
    """
    flat = flat_columns(schema, inner_prefixes(wanted, reader), name)
    names = reader.contract_names(flat)
    return NativeColumns({clean: flat[own] for own, clean in names.items()})


def conversions(
    name: str, types: Mapping[str, pl.DataType], wanted: Mapping[str, pl.DataType], reader: Reader
) -> dict[str, Conversion]:
    """How each wanted column that is there becomes the contract's. Raises Refused that lists those that cannot."""
    by_column = {
        column: from_typed(column, types[column], dtype, reader) for column, dtype in wanted.items() if column in types
    }
    if wrong := [f"{column!r} is {types[column]}, not {wanted[column]}" for column, how in by_column.items() if how is None]:
        raise Refused(f"{name!r} does not fit the contract's types: {'; '.join(wrong)}")
    return {column: how for column, how in by_column.items() if how is not None}


def check_size(name: str, rows: int, columns: int, size: int) -> None:
    """Refuse rows far beyond what a file of so many bytes holds."""
    if rows * max(columns, 1) > max(ALWAYS_ALLOWED, RATIO * size):
        raise Refused(f"{name!r} unpacks to {rows} rows, far more than a file of its size holds; split it if it is meant so")


def typed_frames(
    frames: Iterable[pl.DataFrame], conversions: Mapping[str, Conversion], before: int = 0
) -> Iterator[pl.DataFrame]:
    """Frames of the contract's types with `_row` and `_untyped`.

    Args:
        frames: Rows as they were read, under the contract's names.
        conversions: How each column becomes its type.
        before: Number of the rows before them.

    Yields:
        The typed rows.
    """
    for frame in frames:
        numbers = pl.int_range(before + 1, before + frame.height + 1, dtype=pl.UInt64).alias(ROW)
        before += frame.height
        yield typed(frame.with_columns(numbers), conversions)

"""JSON Lines: one object a line, its values as text so that one place decides what a number is.

A line that is no JSON object, or that names a key twice, is rejected by itself with its text. A key that no contract knows
is another schema: the file is refused, unless the contract is not strict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import polars as pl

from schemas.errors import Refused
from schemas.reader import PLAIN, Reader
from tasks.parsing.column_formats import is_plain
from tasks.parsing.csv_records import blocks, check_text
from tasks.parsing.type_conversion import ROW, UNTYPED, UNTYPED_DTYPE, Conversion, typed

LINES = 20_000
MOST_NESTED = 100  # arrays and objects of a line; deeper ones would exhaust the stack


Misfit = tuple[int, str | None, str]  # row, column (None: the whole line), text


class Number(str):
    """The digits of a JSON number, as they were written."""

    __slots__ = ()


class Repeated(ValueError):
    """An object names a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise Repeated
    return record


DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=Number, object_pairs_hook=_object)


def json_batches(
    stream: Iterator[bytes],
    name: str,
    dtypes: Mapping[str, pl.DataType],
    conversions: Mapping[str, Conversion],
    strict: bool = True,
    reader: Reader = PLAIN,
) -> Iterator[tuple[pl.DataFrame, set[str]]]:
    """Frames of the contract's types with `_row` and `_untyped`, and the keys that occur in each.

    Args:
        stream: The file's bytes, in pieces.
        name: The file's name, for messages.
        dtypes: The contract's columns and their types.
        conversions: How each column becomes its type.
        strict: Whether a key that the contract does not know refuses the file.
        reader: How the file is written.

    Yields:
        A frame, and the keys that occur in it.

    Raises:
        Refused: The file cannot be read as JSON Lines.
    """
    row = 0
    for lines in _lines(stream, name):
        broken: dict[int, str] = {}
        rows = [_values(line, number, broken) for number, line in enumerate(lines, row)]
        if reader.rename or reader.omit:
            rows = [{clean: each[own] for own, clean in reader.contract_names(each).items()} for each in rows]
        row += len(lines)
        present = set().union(*rows)
        if strict and (extra := sorted(present - dtypes.keys())):
            raise Refused(f"{name!r} has keys that the contract does not know: {', '.join(map(repr, extra))}")
        yield _frame(rows, broken, row - len(rows), dtypes, conversions, reader), present


def _lines(stream: Iterator[bytes], name: str) -> Iterator[list[str]]:
    row = 0
    for block in blocks(stream, name, dialect=None):
        check_text(block, name, row)
        lines = [line for line in block.decode().split("\n") if line and line != "\r"]
        for first in range(0, len(lines), LINES):
            yield lines[first : first + LINES]
        row += len(lines)


def _values(line: str, number: int, broken: dict[int, str]) -> dict[str, Any]:
    try:
        record = DECODER.decode(line)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict) and line.count("[") + line.count("{") <= MOST_NESTED:
        return record
    broken[number] = line.rstrip("\r")
    return {}


def _frame(
    rows: list[dict[str, Any]],
    broken: Mapping[int, str],
    before: int,
    dtypes: Mapping[str, pl.DataType],
    conversions: Mapping[str, Conversion],
    reader: Reader,
) -> pl.DataFrame:
    misfits: list[Misfit] = [(at + 1, None, text) for at, text in broken.items()]
    texts = [
        _column(column, _kinds(dtype, is_plain(reader, column)), rows, before, misfits) for column, dtype in dtypes.items()
    ]
    numbers = pl.Series(ROW, range(before + 1, before + len(rows) + 1), dtype=pl.UInt64)
    return _with_misfits(typed(pl.DataFrame([*texts, numbers]), conversions), misfits)


def _kinds(dtype: pl.DataType, plain: bool) -> set[type]:
    """The JSON kinds that a type is written in; where the reader speaks of the column, text that it reads is one, too."""
    kind: type = Number if dtype.is_numeric() else bool if dtype == pl.Boolean else str
    return {kind} if plain else {kind, str, *([Number] if dtype.is_temporal() else [])}


def _column(column: str, kinds: set[type], rows: list[dict[str, Any]], before: int, misfits: list[Misfit]) -> pl.Series:
    """One column as text; a value of another JSON kind than `kinds` goes to `misfits`."""
    values = [row.get(column) for row in rows]
    if set(map(type, values)) <= {*kinds, type(None)}:
        with suppress(UnicodeEncodeError):  # JSON may escape half a surrogate pair, which is no text
            return _series(column, values)
    for at, value in enumerate(values):
        if value is not None and (type(value) not in kinds or not _is_text(value)):
            misfits.append((before + at + 1, column, _json(value)))
            values[at] = None
    return _series(column, values)


def _series(column: str, values: list[Any]) -> pl.Series:
    if bool in map(type, values):
        values = [value if value is None else str(value) for value in values]
    return pl.Series(column, values, dtype=pl.String)


def _json(value: object) -> str:
    """The value as JSON again, numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return json.dumps(value)


def _is_text(value: object) -> bool:
    return not isinstance(value, str) or not any("\ud800" <= c <= "\udfff" for c in value)


def _with_misfits(frame: pl.DataFrame, misfits: list[Misfit]) -> pl.DataFrame:
    if not misfits:
        return frame
    at, columns, texts = zip(*misfits, strict=True)
    schema = {ROW: pl.UInt64, "column": pl.String, "text": pl.String}
    more = (
        pl.DataFrame({ROW: at, "column": columns, "text": texts}, schema=schema)
        .group_by(ROW, maintain_order=True)
        .agg(pl.struct("column", "text").cast(UNTYPED_DTYPE.inner).alias("_more"))
    )
    joined = frame.join(more, on=ROW, how="left", maintain_order="left")
    return joined.with_columns(pl.concat_list(UNTYPED, pl.col("_more").fill_null([])).alias(UNTYPED)).drop("_more")

"""JSON Lines: one object a line, its values as text so that one place decides what a number is.

A line that is no JSON object, or that names a key twice, is rejected by itself with its text. A key that no contract knows
is another schema: the file is refused, unless the contract is not strict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import polars as pl

from schemas.errors import Refused
from schemas.reader import PLAIN, ColumnFormat, Reader
from tasks.parsing.column_formats import is_plain
from tasks.parsing.csv_records import blocks, check_text
from tasks.parsing.json_values import DECODER, Number, as_json, is_shallow, is_text
from tasks.parsing.nested import Prefixes, flat_record, inner_prefixes
from tasks.parsing.text_stream import decoded
from tasks.parsing.type_conversion import ROW, UNTYPED, UNTYPED_DTYPE, Conversion, typed

LINES = 20_000

Misfit = tuple[int, str | None, str]  # row, column (None: the whole record), text
Entry = dict[str, Any] | str  # a record, or the text of what is none


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
    return record_batches(line_entries(stream, name), name, dtypes, conversions, strict, reader)


def line_entries(stream: Iterator[bytes], name: str, encoding: str = "utf-8") -> Iterator[list[Entry]]:
    """The records of JSON Lines, some thousand at a time.

    Args:
        stream: The file's bytes, in pieces.
        name: The file's name, for messages.
        encoding: Encoding of the text.

    Yields:
        Records with their numbers as text, and lines that are none.

    Raises:
        Refused: The bytes are no text.
    """
    return (_entries(each) for each in _lines(decoded(stream, name, encoding), name))


def record_batches(
    batches: Iterable[Sequence[Entry]],
    name: str,
    dtypes: Mapping[str, pl.DataType],
    conversions: Mapping[str, Conversion],
    strict: bool = True,
    reader: Reader = PLAIN,
) -> Iterator[tuple[pl.DataFrame, set[str]]]:
    """Frames of the contract's types with `_row` and `_untyped`, and the keys that occur in each.

    Args:
        batches: Records in order, their numbers as text, and texts of what is no record.
        name: The file's name, for messages.
        dtypes: The contract's columns and their types.
        conversions: How each column becomes its type.
        strict: Whether a key that the contract does not know refuses the file.
        reader: How the file is written.

    Yields:
        A frame, and the keys that occur in it.

    Raises:
        Refused: A key is not known.
    """
    row = 0
    prefixes = inner_prefixes(dtypes, reader)
    for batch in batches:
        broken: dict[int, str] = {}
        rows = [_columns(entry, number, broken, prefixes, reader) for number, entry in enumerate(batch, row)]
        row += len(rows)
        present = set().union(*rows)
        if strict and (extra := sorted(present - dtypes.keys())):
            raise Refused(f"{name!r} has keys that the contract does not know: {', '.join(map(repr, extra))}")
        yield _frame(rows, broken, row - len(rows), dtypes, conversions, reader), present


def _columns(entry: Entry, number: int, broken: dict[int, str], prefixes: Prefixes, reader: Reader) -> dict[str, Any]:
    if isinstance(entry, dict):
        try:
            record = flat_record(entry, prefixes)
        except ValueError:
            entry = as_json(entry)
        else:
            if not reader.rename and not reader.omit:
                return record
            return {clean: record[own] for own, clean in reader.contract_names(record).items()}
    broken[number] = entry
    return {}


def _lines(stream: Iterator[bytes], name: str) -> Iterator[list[str]]:
    row = 0
    for block in blocks(stream, name, dialect=None):
        check_text(block, name, row)
        lines = [line for line in block.decode().split("\n") if line and line != "\r"]
        for first in range(0, len(lines), LINES):
            yield lines[first : first + LINES]
        row += len(lines)


def _entries(lines: list[str]) -> list[Entry]:
    return [record if (record := _record(line)) is not None else line.rstrip("\r") for line in lines]


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = DECODER.decode(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and is_shallow(record, line) else None


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
        _column(column, _kinds(dtype, is_plain(reader, column)), rows, before, misfits, reader.column(column))
        for column, dtype in dtypes.items()
    ]
    numbers = pl.Series(ROW, range(before + 1, before + len(rows) + 1), dtype=pl.UInt64)
    return _with_misfits(typed(pl.DataFrame([*texts, numbers]), conversions), misfits)


def _kinds(dtype: pl.DataType, plain: bool) -> set[type]:
    """The JSON kinds that a type is written in; where the reader speaks of the column, text that it reads is one, too."""
    kind: type = Number if dtype.is_numeric() else bool if dtype == pl.Boolean else str
    return {kind} if plain else {kind, str, *([Number] if dtype.is_temporal() else [])}


def _column(
    column: str,
    kinds: set[type],
    rows: list[dict[str, Any]],
    before: int,
    misfits: list[Misfit],
    form: ColumnFormat,
) -> pl.Series:
    """One column as text; a value of another JSON kind than `kinds` goes to `misfits`."""
    values = [row.get(column) for row in rows]
    if set(map(type, values)) <= {*kinds, type(None)}:
        with suppress(UnicodeEncodeError):  # JSON may escape half a surrogate pair, which is no text
            return _series(column, values, form)
    for at, value in enumerate(values):
        if value is not None and (type(value) not in kinds or not is_text(value)):
            misfits.append((before + at + 1, column, as_json(value)))
            values[at] = None
    return _series(column, values, form)


def _series(column: str, values: list[Any], form: ColumnFormat) -> pl.Series:
    """JSON's own true, false and numbers in the words and with the mark that the column's texts have."""
    if bool in map(type, values):
        words = {True: next(iter(form.true), "True"), False: next(iter(form.false), "False")}
        values = [words[value] if isinstance(value, bool) else value for value in values]
    decimal = form.decimal
    if decimal not in (None, "."):
        values = [value.replace(".", decimal) if type(value) is Number else value for value in values]
    return pl.Series(column, values, dtype=pl.String)


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

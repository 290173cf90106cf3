"""The first rows of a file of any format, under the file's own names: what a use case is drafted from.

Text and the cells of a workbook stay text; JSON, Parquet and Arrow bring types of their own. Records inside records are
columns whose names are joined by dots.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from schemas.reader import PLAIN, Reader
from tasks.parsing import arrow, excel, parquet, parquet_folder
from tasks.parsing.csv_records import csv_batches
from tasks.parsing.decompression import BINARY, HEAD, check_magic, format_of, pieces
from tasks.parsing.json_document import document_entries
from tasks.parsing.json_lines import line_entries
from tasks.parsing.json_values import Number, as_json, is_text
from tasks.parsing.native_columns import NativeColumns
from tasks.parsing.nested import flat_columns, flat_record

WHOLE = re.compile(r"-?\d{1,18}")


def sample_rows(path: Path, reader: Reader = PLAIN, rows: int = 1000) -> pl.DataFrame:
    """The first rows of a file, or of a folder of Parquet files.

    Args:
        path: Where it lies.
        reader: How it is written; its renames, the columns that it leaves out and its columns' formats are not applied.
        rows: How many rows at most.

    Returns:
        The rows under the file's own names: columns of text for delimited text and workbooks; of the file's types for
        Parquet and Arrow; of Int64, Float64, Boolean, String or lists of String for JSON. Records that cannot be split
        are left out.

    Raises:
        Refused: The file cannot be read as the reader declares.
    """
    if path.is_dir():
        return _of_folder(path, rows)
    form, compression = format_of(path.name, reader.format)
    if form in BINARY:
        with path.open("rb") as file:
            check_magic(file.read(HEAD), path.name, form, compression)
    if form == "excel":
        sheet = excel.read_sheet(path, path.name, reader, reader.skip_lines + reader.header + 1000 + rows, numbered=True)
        return sheet.frame.select(sheet.names).head(rows)
    if form in ("parquet", "arrow"):
        return _native(path, parquet if form == "parquet" else arrow, rows)
    stream = pieces(path, path.name, form, compression)
    if form == "csv":
        return _text(stream, path.name, reader, rows)
    entries = (
        line_entries(stream, path.name, reader.encoding)
        if form == "jsonl"
        else document_entries(stream, path.name, reader.encoding, reader.path)
    )
    return _of_records(islice((entry for batch in entries for entry in batch), rows))


def _text(stream: Iterator[bytes], name: str, reader: Reader, rows: int) -> pl.DataFrame:
    frames: list[pl.DataFrame] = []
    for batch in csv_batches(stream, name, reader):
        frames.append(batch.frame)
        if sum(frame.height for frame in frames) >= rows:
            break
    return pl.concat(frames).head(rows) if frames else pl.DataFrame()


def _native(path: Path, module: Any, rows: int) -> pl.DataFrame:
    schema = module.schema_of(path)
    flat = flat_columns(schema, None, path.name)
    columns = NativeColumns({name: column for name, column in flat.items() if column.dtype != pl.Unknown})
    names = list(columns.columns)
    frames: list[pl.DataFrame] = []
    for frame in module.frames(path, path.name, columns, names):
        frames.append(frame.head(rows))
        if sum(each.height for each in frames) >= rows:
            break
    return pl.concat(frames).head(rows) if frames else pl.DataFrame(schema=columns.types)


def _of_folder(folder: Path, rows: int) -> pl.DataFrame:
    frames: list[pl.DataFrame] = []
    for path in parquet_folder.folder_files(folder):
        frame = _native(path, parquet, rows - sum(each.height for each in frames))
        said = parquet_folder.partition_values(path.relative_to(folder))
        values = [pl.lit(value, dtype=pl.String).alias(key) for key, value in said.items() if key not in frame.columns]
        frames.append(frame.with_columns(values))
        if sum(each.height for each in frames) >= rows:
            break
    return pl.concat(frames, how="diagonal_relaxed")


def _of_records(entries: Iterable[dict[str, Any] | str]) -> pl.DataFrame:
    records = [flat_record(entry, None) for entry in entries if isinstance(entry, dict)]
    names = dict.fromkeys(name for record in records for name in record)
    inner = {name[:at] for name in names for at, letter in enumerate(name) if letter == "."}
    columns = {name: [record.get(name) for record in records] for name in names}
    kept = {name: values for name, values in columns.items() if name not in inner or any(v is not None for v in values)}
    return pl.DataFrame([_series(name, values) for name, values in kept.items()])


def _series(name: str, values: list[Any]) -> pl.Series:
    """A column of one type: numbers, true and false, lists or, of several, text."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {Number}:
        whole = all(value is None or WHOLE.fullmatch(value) for value in values)
        return pl.Series(name, [value and (int(value) if whole else float(value)) for value in values])
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds == {list}:
        return pl.Series(name, [value and [_said(item) for item in value] for value in values], dtype=pl.List(pl.String))
    return pl.Series(name, [None if value is None else _said(value) for value in values], dtype=pl.String)


def _said(value: object) -> str:
    return value if isinstance(value, str) and is_text(value) else as_json(value)

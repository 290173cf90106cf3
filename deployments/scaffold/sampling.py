"""The first rows of a file, read within bounds: what a use case is drafted from, and how the file is written.

CSV stays text, so that a code like 007 is not taken for a number; JSON Lines and Parquet bring types of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import polars as pl

from deployments.scaffold.column_names import clean_columns, find_names
from deployments.scaffold.target_detection import meant_column
from deployments.scaffold.text_encoding import find_encoding
from deployments.scaffold.text_layout import drawn_line, find_layout
from schemas.errors import Refused, UsageError
from schemas.reader import PLAIN, Reader
from tasks import parsing

MAX_ROWS = 1_000_000
MAX_CELLS = 50_000_000
MAX_BYTES = 256 * 2**20
MAX_COLUMNS = 2_000
MOST_LINES_ARE_ROWS = 0.9

Form = Literal["csv", "jsonl", "parquet"]


@dataclass(frozen=True)
class Sample:
    """The first rows of a file. `whole`: these are all of them. `form` tells what a text in it may stand for.

    `reader` is how the file is written as far as its layout tells; `seen` says in words what was found, and `left_out` why
    columns of the file are no columns of the frame.
    """

    frame: pl.DataFrame
    whole: bool
    form: Form
    reader: Reader = PLAIN
    seen: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def read(path: Path, stated: Mapping[str, Any] | None = None, target: str = "") -> Sample:
    """The first rows of a file, under names that a contract can hold.

    `stated` holds facts of the reader that a person has said; of a workbook's sheets the one is read that alone has the
    column `target`. Raises UsageError, one line, for a file that is not there,
    cannot be read, or holds no rows.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise UsageError(f"{path}: {what}; name one CSV, JSON Lines or Parquet file")
    reader, facts = Reader(**dict(stated or {})), frozenset(stated or ())
    try:
        form, compression, reader = _format_of(path, reader)
        if form == "excel" and "sheet" not in facts:
            reader = replace(reader, sheet=_sheet_with(path, reader, target))
        sample = _read_as(form, path, compression, reader, facts)
    except Refused as refusal:
        raise UsageError(str(refusal)) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        why = str(error).strip().split("\n")[0][:200]
        raise UsageError(f"{path.name!r} cannot be read ({why}); is it complete?") from None
    if sample.frame.is_empty():
        raise UsageError(f"{path.name!r} holds no rows; a use case is drafted from rows, a few hundred or more")
    return sample


def _read_as(form: str, path: Path, compression: str, reader: Reader, facts: frozenset[str]) -> Sample:
    """A sample; of a JSON document the records are looked for where its reader says that they lie."""
    read_form = READERS.get(form, _sampled)
    try:
        return read_form(path, compression, reader, facts)
    except parsing.RecordsElsewhere as refusal:
        if "path" in facts:
            raise
        return read_form(path, compression, replace(reader, path=refusal.path), facts)


def _format_of(path: Path, reader: Reader) -> tuple[str, str, Reader]:
    """Format, compression and the reader; a name that tells no format is taken for text, and the reader says so."""
    try:
        return *parsing.format_of(path.name, reader.format), reader
    except Refused:
        return *parsing.format_of(path.name, "csv"), replace(reader, format="csv")


def _sheet_with(path: Path, reader: Reader, target: str) -> str | None:
    """The only sheet that has the target; None where there is one sheet."""
    sheets = parsing.sheet_names(path, path.name)
    if len(sheets) < 2:
        return None
    having = [
        sheet
        for sheet in sheets
        if meant_column(target, parsing.sample_rows(path, replace(reader, sheet=sheet), 1).columns) is not None
    ]
    if len(having) != 1:
        raise UsageError(
            f"{path.name!r} has the sheets {', '.join(map(repr, sheets))}; {len(having)} of them have a column {target!r}: "
            f"say which one with --read sheet={sheets[0]!r}"
        )
    return having[0]


def _refuse_too_many(names: int, source: str) -> None:
    if names > MAX_COLUMNS:
        raise UsageError(f"{source!r} has {names:,} columns; a contract that people read has at most {MAX_COLUMNS:,}")


def _csv(path: Path, compression: str, reader: Reader, stated: frozenset[str]) -> Sample:
    parts = find_encoding(parsing.pieces(path, path.name, "csv", compression), path.name)
    if "encoding" not in stated:
        reader = replace(reader, encoding=parts.encoding)
    if "line_end" not in stated:
        reader = replace(reader, line_end=parts.line_end)
    if not parts.head.strip():
        raise UsageError(f"{path.name!r} is empty; the first line of a CSV file names its columns")
    if not {"comment", "separator"} & stated and (drawn := drawn_line(parts.head)):
        raise UsageError(
            f"{path.name!r} is a table drawn for people to read ({drawn[:40]!r} is no row of it): export it as CSV, "
            "as psql --csv and mysql --batch do"
        )
    layout = find_layout(parts.head, parts.tail, parts.whole, reader, stated)
    _refuse_too_many(len(layout.names), path.name)
    reader = find_names(layout.names, layout.reader, stated)
    seen = layout.seen
    try:
        frame, whole = _first_rows(path, compression, reader)
    except parsing.StrayQuote:
        if "stray_quotes" in stated:
            raise
        reader, seen = replace(reader, stray_quotes=True), (*seen, "quotes within fields that none encloses")
        frame, whole = _first_rows(path, compression, reader)
        if frame.height < MOST_LINES_ARE_ROWS * parts.head.count("\n") and frame.height < MAX_ROWS:
            raise  # a quote that is never closed swallows the lines behind it
    if not reader.strip and "strip" not in stated and _has_blanks(frame):
        reader = replace(reader, strip=True)
    return _cleaned(frame, whole, "csv", reader, seen, stated)


def _first_rows(path: Path, compression: str, reader: Reader) -> tuple[pl.DataFrame, bool]:
    """Rows as text under the contract's names, and whether these are all."""
    batches = parsing.csv_batches(parsing.pieces(path, path.name, "csv", compression), path.name, reader)
    frames, rows, broken = [], 0, 0
    for batch in batches:
        frames.append(batch.frame)
        rows, broken = rows + batch.frame.height, broken + len(batch.broken)
        if rows > _rows(batch.frame.width):
            break
    frame = pl.concat(frames)
    if frame.is_empty() and broken:
        raise UsageError(
            f"{path.name!r}: its {broken:,} records do not fit a header of {frame.width} columns; say what parts the fields "
            "with --read separator=..., or how many lines stand before the header with --read skip_lines=..."
        )
    return parsing.renamed(frame, frame.columns, reader), rows <= _rows(frame.width)


def _has_blanks(frame: pl.DataFrame) -> bool:
    text = [pl.col(name) for name, dtype in frame.schema.items() if dtype == pl.String]
    flags = frame.select((column != column.str.strip_chars()).any() for column in text)
    return any(flags.row(0)) if text else False


def _cleaned(
    frame: pl.DataFrame, whole: bool, form: Form, reader: Reader, seen: tuple[str, ...], stated: frozenset[str]
) -> Sample:
    frame, reader, left_out = clean_columns(frame, reader, stated)
    rows = _rows(max(frame.width, 1))
    return Sample(frame.head(rows), whole and frame.height <= rows, form, reader, seen, left_out)


def _jsonl(path: Path, compression: str, reader: Reader, stated: frozenset[str]) -> Sample:
    blocks = parsing.blocks(parsing.pieces(path, path.name, "jsonl", compression), path.name, dialect=None)
    kept, size = [], 0
    for block in blocks:
        size += len(block)
        if size > MAX_BYTES:
            break
        kept.append(block)
    text = b"".join(kept)
    if not text.strip():
        raise UsageError(f"{path.name!r} is empty; a JSON Lines file holds one object a line")
    frame = pl.read_ndjson(BytesIO(text), infer_schema_length=None)
    if any(isinstance(dtype, pl.Struct) for dtype in frame.dtypes):
        return _sampled(path, "", reader, stated)
    return _of_types(frame, size <= MAX_BYTES, "jsonl", path, reader, stated)


def _parquet(path: Path, _: str, reader: Reader, stated: frozenset[str]) -> Sample:
    lazy = pl.scan_parquet(path, glob=False)
    schema = lazy.collect_schema()
    names = schema.names()
    _refuse_too_many(len(names), path.name)
    if any(isinstance(dtype, pl.Struct) for dtype in schema.values()):
        return _sampled(path, "", reader, stated)
    return _of_types(lazy.head(_rows(len(names)) + 1).collect(), True, "parquet", path, reader, stated)


def _sampled(path: Path, _: str, reader: Reader, stated: frozenset[str]) -> Sample:
    """The first rows of JSON, Arrow and workbooks; the cells of a workbook are text."""
    frame = parsing.sample_rows(path, reader, MAX_ROWS + 1)
    forms: dict[str, Form] = {"json": "jsonl", "jsonl": "jsonl", "arrow": "parquet", "parquet": "parquet", "excel": "csv"}
    form = forms[parsing.format_of(path.name, reader.format)[0]]
    return _of_types(frame, frame.height <= MAX_ROWS, form, path, reader, stated)


def _of_types(frame: pl.DataFrame, whole: bool, form: Form, path: Path, reader: Reader, stated: frozenset[str]) -> Sample:
    """A sample of a format that names its columns and gives them types."""
    _refuse_too_many(frame.width, path.name)
    reader = find_names(frame.columns, reader, stated)
    frame = parsing.renamed(frame, frame.columns, reader)
    if "strip" not in stated and _has_blanks(frame):
        reader = replace(reader, strip=True)
    return _cleaned(frame, whole, form, reader, (), stated)


def _rows(columns: int) -> int:
    return min(MAX_ROWS, MAX_CELLS // max(columns, 1))


READERS: dict[str, Callable[[Path, str, Reader, frozenset[str]], Sample]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
}

"""The child process: limits first, then read, type, write parts; one line of JSON on standard output says what came of it.

It is started by tasks.ingestion with a folder that holds `plan.json` and `schema.arrow`; the parts are written there.
"""

from __future__ import annotations

import gc
import json
import resource
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from schemas.errors import Refused, first_line
from schemas.reader import PLAIN, Reader, restore_reader
from tasks.parsing import arrow, csv_records, excel, json_document, json_lines, parquet, parquet_folder
from tasks.parsing.column_formats import from_written, renamed
from tasks.parsing.decompression import BINARY, HEAD, check_magic, format_of, pieces
from tasks.parsing.native_columns import conversions, native_columns, typed_frames
from tasks.parsing.type_conversion import ROW, UNTYPED, UNTYPED_DTYPE, Conversion, typed
from tasks.temp_files import is_full

PART_ROWS = 200_000
QUERIED = ".sql.csv"
DIALECT = (
    *(
        "format",
        "encoding",
        "separator",
        "quote",
        "stray_quotes",
        "backslash",
        "line_end",
        "skip_lines",
        "comment",
        "footer",
    ),
    *("header", "names", "unnamed", "decimal", "thousands"),
)
NOTHING: dict[str, Any] = {"rows": 0, "parts": [], "columns": []}


class Full(Exception):
    """There was no room for a part."""


def main(folder: str) -> None:
    """Do what the plan in that folder says and print the outcome: rows, parts and columns, or why it was refused."""
    plan = json.loads(Path(folder, "plan.json").read_text())
    gc.disable()  # no cycles here, and millions of short-lived values
    limit(plan["memory_mb"], plan["seconds"])
    try:
        outcome = parse(plan, Path(folder))
    except Refused as refusal:
        outcome = {"refused": str(refusal)}
    except Full as error:  # no fault of the source's
        outcome = {"full": str(error)}
    except MemoryError:
        outcome = {"refused": too_large(str(plan["name"]), plan["memory_mb"])}
    except (Exception, pl.exceptions.PanicException) as error:
        outcome = {"refused": f"{plan['name']!r} cannot be read: {first_line(error, 300)}"}
    json.dump(outcome, sys.stdout)


def too_large(name: str, memory_mb: int) -> str:
    """What to say of a file that needs more memory."""
    return f"{name!r} was not read within {memory_mb} MiB; raise PENSTOCK_PARSE_MEMORY_MB (`memory_mb`) or split it"


def limit(memory_mb: int, seconds: int) -> None:
    """Cap this process's memory and make it end by itself, whatever becomes of its parent."""
    limits = (memory_mb << 20, memory_mb << 20)
    resource.setrlimit(resource.RLIMIT_DATA, limits)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds + 1)


def parse(plan: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Read the planned source into parts of `folder`. Raises Refused."""
    path, name = Path(plan["path"]), str(plan["name"])
    wanted = dict(pl.read_ipc_schema(folder / "schema.arrow"))
    reader = reader_of(name, restore_reader(plan.get("reader", {})))
    if path.is_dir():
        return _parquet_folder(path, name, wanted, plan, folder, reader)
    form, compression = format_of(name, reader.format)
    if path.stat().st_size == 0:
        return NOTHING
    if form in BINARY:
        with path.open("rb") as file:
            check_magic(file.read(HEAD), name, form, compression)
        return (_workbook if form == "excel" else _native)(path, name, wanted, plan, folder, reader)
    stream = pieces(path, name, form, compression)
    if form == "csv":
        return _delimited(stream, name, wanted, plan, folder, reader)
    return _records(stream, form, name, wanted, plan, folder, reader)


def reader_of(name: str, reader: Reader) -> Reader:
    """The reader of a file: rows that a query gave were written by us, as plain CSV whatever the input's files are."""
    if not name.lower().endswith(QUERIED):
        return reader
    plain = {name: getattr(PLAIN, name) for name in DIALECT}
    columns = {name: replace(form, decimal=None, thousands=None) for name, form in reader.columns.items()}
    return replace(reader, **plain, columns=columns)


def _native(
    path: Path, name: str, wanted: Mapping[str, pl.DataType], plan: Mapping[str, Any], folder: Path, reader: Reader
) -> dict[str, Any]:
    """A file of columns that have types: Parquet or Arrow."""
    module: Any = parquet if format_of(name, reader.format)[0] == "parquet" else arrow
    columns = native_columns(module.schema_of(path), name, wanted, reader)
    check_columns(name, columns.types, wanted, plan["required"], plan["strict"], reader)
    conversions_of = conversions(name, columns.types, wanted, reader)
    frames = typed_frames(module.frames(path, name, columns, list(conversions_of)), conversions_of)
    return _written(frames, list(conversions_of), folder)


def _parquet_folder(
    path: Path, name: str, wanted: Mapping[str, pl.DataType], plan: Mapping[str, Any], folder: Path, reader: Reader
) -> dict[str, Any]:
    parts = list(parquet_folder.folder_parts(path, name, wanted, reader))
    for part in parts:
        check_columns(part.name, part.names(), wanted, plan["required"], plan["strict"], reader)
    present = [column for column in wanted if any(column in part.names() for part in parts)]

    def frames() -> Iterator[pl.DataFrame]:
        rows = 0
        for part in parts:
            for frame in parquet_folder.typed_part(part, wanted, present, reader, rows):
                yield frame
                rows += frame.height

    return _written(frames(), present, folder)


def _workbook(
    path: Path, name: str, wanted: Mapping[str, pl.DataType], plan: Mapping[str, Any], folder: Path, reader: Reader
) -> dict[str, Any]:
    sheet = excel.read_sheet(path, name, reader)
    names = reader.contract_names(sheet.names)
    check_columns(name, names.values(), wanted, plan["required"], plan["strict"], reader)
    conversions_of = {
        column: _possible(excel.cell_conversion(column, dtype, reader), column, dtype, name)
        for column, dtype in wanted.items()
        if column in names.values()
    }
    return _written(typed_frames(excel.sheet_frames(sheet, names), conversions_of), list(conversions_of), folder)


def check_columns(
    name: str,
    present: Iterable[str],
    wanted: Mapping[str, Any],
    required: Iterable[str],
    strict: bool,
    reader: Reader = PLAIN,
) -> None:
    """Refuse a source that lacks a required column, or has one that a strict contract does not know: one line names all.

    Columns are called as the contract calls them; a missing one that the reader renames is also called as the file would.
    """
    columns = list(present)
    missing = [c for c in required if c not in columns]
    extra = [c for c in columns if c not in wanted]
    written = {clean: own for own, clean in reader.rename.items()}
    complaints = [
        f"{what}: {', '.join(_called(each, written) for each in names)}"
        for what, names in (("missing", missing), ("not known", extra if strict else []))
        if names
    ]
    if complaints:
        hint = _hint(columns, wanted, missing, extra)
        raise Refused(f"the columns of {name!r} are not the contract's ({'; '.join(complaints)}){hint}")


def _called(column: str, written: Mapping[str, str]) -> str:
    return repr(column) + (f" (written {written[column]!r})" if column in written else "")


def _hint(columns: Sequence[str], wanted: Mapping[str, Any], missing: Sequence[str], extra: Sequence[str]) -> str:
    """What is likeliest: another separator, or a column under another name."""
    if len(columns) == 1 and len(wanted) > 1:
        marks = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
        mark = next((mark for mark in marks if mark in columns[0]), None)
        if mark is None:
            return "; are its fields separated by commas?"
        return f"; its fields are separated by {marks[mark]}: let the input say reader=Reader(separator={mark!r})"
    meant = {each: next(iter(get_close_matches(each, extra, n=1)), None) for each in missing}
    if len(missing) == len(extra) == 1:
        meant = {missing[0]: extra[0]}
    renames = {new: old for old, new in meant.items() if new}
    if not renames:
        return ""
    pairs = ", ".join(f"{new!r}: {old!r}" for new, old in renames.items())
    return f"; was a column renamed? Then let the input say reader=Reader(rename={{{pairs}}})"


def _delimited(
    stream: Iterator[bytes],
    name: str,
    wanted: Mapping[str, pl.DataType],
    plan: Mapping[str, Any],
    folder: Path,
    reader: Reader,
) -> dict[str, Any]:
    batches = csv_records.csv_batches(stream, name, reader)
    first = next(batches, None)
    if first is None:
        return NOTHING
    names = first.frame.columns
    columns = list(reader.contract_names(names).values())
    check_columns(name, columns, wanted, plan["required"], plan["strict"], reader)
    conversions = {c: text_conversion(c, dtype, name, reader) for c, dtype in wanted.items() if c in columns}

    def frames() -> Iterator[pl.DataFrame]:
        for batch in batches:
            numbered = renamed(batch.frame, names, reader).with_columns(batch.rows.alias(ROW))
            yield _with_broken(typed(numbered, conversions), batch.broken)

    return _written(frames(), list(conversions), folder)


def text_conversion(column: str, dtype: pl.DataType, name: str, reader: Reader = PLAIN) -> Conversion:
    """How text becomes that column. Raises Refused for a type that text cannot say."""
    return _possible(from_written(column, dtype, reader), column, dtype, name)


def _possible(converted: Conversion | None, column: str, dtype: pl.DataType, name: str) -> Conversion:
    if converted is None:
        raise Refused(f"{name!r}: column {column!r} is of type {dtype}, which text cannot say; bring it as Parquet")
    return converted


def _with_broken(frame: pl.DataFrame, broken: Mapping[int, str]) -> pl.DataFrame:
    if not broken:
        return frame
    untyped = [[{"column": None, "text": text}] for text in broken.values()]
    rows = pl.DataFrame({ROW: list(broken), UNTYPED: untyped}, schema={ROW: pl.UInt64, UNTYPED: UNTYPED_DTYPE})
    return pl.concat([frame, rows], how="diagonal").sort(ROW)


def _records(
    stream: Iterator[bytes],
    form: str,
    name: str,
    wanted: Mapping[str, pl.DataType],
    plan: Mapping[str, Any],
    folder: Path,
    reader: Reader,
) -> dict[str, Any]:
    conversions_of = {column: text_conversion(column, dtype, name, reader) for column, dtype in wanted.items()}
    present: set[str] = set()

    entries = (
        json_lines.line_entries(stream, name, reader.encoding)
        if form == "jsonl"
        else json_document.document_entries(stream, name, reader.encoding, reader.path)
    )

    def frames() -> Iterator[pl.DataFrame]:
        for frame, columns in json_lines.record_batches(entries, name, wanted, conversions_of, plan["strict"], reader):
            present.update(columns)
            yield frame

    outcome = _written(frames(), list(wanted), folder)
    if outcome["rows"]:
        check_columns(name, present, wanted, plan["required"], plan["strict"], reader)
    return {**outcome, "columns": [column for column in wanted if column in present]}


def _written(frames: Iterable[pl.DataFrame], columns: list[str], folder: Path) -> dict[str, Any]:
    rows = 0
    parts: list[str] = []
    for frame in frames:
        for part in frame.iter_slices(PART_ROWS):
            path = folder / f"part-{len(parts):06}.parquet"
            _write(part, path)
            parts.append(path.name)
            rows += part.height
    return {"rows": rows, "parts": parts, "columns": columns}


def _write(part: pl.DataFrame, path: Path) -> None:
    try:
        part.write_parquet(path, compression="lz4", statistics=False)
    except Exception as error:
        if is_full(error):
            raise Full(first_line(error, 300)) from error
        raise


if __name__ == "__main__":
    main(sys.argv[1])

"""Workbooks: a sheet's cells as text, as a CSV export of it would have them, and which of them are dates.

A number is written with all its digits, a date in ISO 8601, true and false as such. An error (`#N/A`, `#DIV/0!`) is text,
so that it is rejected unless the reader declares it missing. Rows without any cell are no rows. Nothing is computed: of a
formula the value counts that was stored with it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from schemas.distribution import install_command
from schemas.errors import Refused
from schemas.reader import Reader
from tasks.parsing.column_formats import from_written
from tasks.parsing.csv_records import distinct_names, joined_names, numbered_names
from tasks.parsing.decompression import capped, plain
from tasks.parsing.type_conversion import Conversion, text_value

WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
DATED = "_dated_"  # before the name of a column: which of its cells are dates
NUMBERED = "_numbered_"  # and which are numbers with a fraction, whatever marks the texts beside them have
POINT = "\ufdd0"  # stands for the point of such a number: no text holds it
BATCH = 100_000  # rows
LARGEST_WHOLE = 2.0**63
NUMBER = r"^-?\d*\.\d+(e-?\d+)?$"
MOMENT = r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d+)?$"
CLOCK_DAYS = ("1899-12-30 ", "1899-12-31 ", "1904-01-01 ")  # what is before a clock time that has no date
ERROR = re.compile(r"'Error\((\w+)\)'$")
ERRORS = {
    "Div0": "#DIV/0!", "NA": "#N/A", "Name": "#NAME?", "Null": "#NULL!", "Num": "#NUM!", "Ref": "#REF!", "Value": "#VALUE!",
}  # fmt: skip


@dataclass(frozen=True)
class Sheet:
    """A sheet's rows below its header: columns of text under the file's own names, and one of flags for each."""

    frame: pl.DataFrame
    names: tuple[str, ...]


def sheet_names(path: Path, name: str) -> list[str]:
    """The sheets of a workbook that hold a cell.

    Args:
        path: Where the file lies.
        name: Its name, for messages.

    Returns:
        Their names, in the workbook's order.

    Raises:
        Refused: It cannot be read, or there is no package that reads workbooks.
    """
    with _workbook(path, name) as workbook:
        return _filled(workbook)


def read_sheet(path: Path, name: str, reader: Reader, rows: int | None = None, *, numbered: bool = False) -> Sheet:
    """A sheet of a workbook.

    Args:
        path: Where the file lies.
        name: Its name, for messages.
        reader: Which sheet, and how it is laid out.
        rows: How many of the sheet's rows are read; None for all.
        numbered: Whether names that are empty or stand there twice are made distinct, instead of refused.

    Returns:
        The sheet.

    Raises:
        Refused: It cannot be read, or there is no such sheet, or no package that reads workbooks.
    """
    with _workbook(path, name) as workbook:
        cells = _cells(workbook, _sheet_name(workbook, name, reader), rows)
        cells = cells if _is_plain(reader) else _with_points(cells, workbook, _sheet_name(workbook, name, reader), rows)
    return _below_header(cells, name, reader, numbered)


@contextmanager
def _workbook(path: Path, name: str) -> Iterator[Any]:
    try:
        import fastexcel
    except ImportError:
        raise Refused(f"{name!r} is a workbook; install what reads it: {install_command('excel')}") from None
    _check_unpacked_size(path, name)
    try:
        yield fastexcel.read_excel(path.read_bytes() if _is_misnamed(path) else str(path))
    except fastexcel.FastExcelError as error:
        why = str(error).splitlines()[0][:200]
        raise Refused(f"{name!r} cannot be read as a workbook ({why}); is it complete, and without a password?") from None


def _check_unpacked_size(path: Path, name: str) -> None:
    """Unpack once and count: what an archive says of its sizes is not trusted."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return
        try:
            with zipfile.ZipFile(file) as archive:
                pieces = (piece for member in archive.infolist() for piece in _member(archive, member))
                for _ in capped(pieces, name, path.stat().st_size):
                    pass
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
            raise Refused(f"{name!r} cannot be unpacked ({error}); is it complete?") from None


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(member) as unpacked:
        yield from plain(unpacked)


def _is_misnamed(path: Path) -> bool:
    """Whether a name tells the kind of workbook wrongly, as that of a new one called .xls."""
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    suffix = path.suffix.lower()
    return is_zip == (suffix == ".xls") or suffix not in WORKBOOKS


def _sheet_name(workbook: Any, name: str, reader: Reader) -> str:
    sheets: list[str] = workbook.sheet_names
    there = ", ".join(map(repr, sheets[:10]))
    if reader.sheet is not None:
        if reader.sheet not in sheets:
            raise Refused(f"{name!r} has no sheet {reader.sheet!r}; it has {there}")
        return reader.sheet
    filled = sheets if len(sheets) == 1 else _filled(workbook)
    if len(filled) == 1:
        return filled[0]
    if not filled:
        raise Refused(f"{name!r} holds no cell in any sheet")
    raise Refused(
        f"{name!r} has {len(filled)} sheets with cells ({', '.join(map(repr, filled[:10]))}): "
        f"let the input say which one holds the rows, reader=Reader(sheet={filled[0]!r})"
    )


def _filled(workbook: Any) -> list[str]:
    """The sheets that hold a cell."""
    first: dict[str, Any] = {"header_row": None, "n_rows": 1, "dtypes": "string"}
    return [sheet for sheet in workbook.sheet_names if workbook.load_sheet(sheet, **first).width]


def _cells(workbook: Any, sheet: str, rows: int | None) -> pl.DataFrame:
    """All cells as text, from the sheet's first row on; columns are numbered."""
    whole: dict[str, Any] = {"header_row": None, "skip_rows": 0, "n_rows": rows}
    texts = workbook.load_sheet(sheet, dtypes="string", **whole)
    if not texts.width:
        return pl.DataFrame()
    batch, failed = texts.to_arrow_with_errors()
    numbers = workbook.load_sheet(sheet, dtypes="float", **whole).to_polars()
    columns = [f"{number}" for number in range(texts.width)]
    text, number = pl.DataFrame(pl.from_arrow(batch)), numbers
    text.columns, number.columns = columns, [f"number {each}" for each in columns]
    text = text.hstack(number).select(_all_digits(pl.col(each), pl.col(f"number {each}")).alias(each) for each in columns)
    return _with_errors(text, failed.errors if failed else [])


def _is_plain(reader: Reader) -> bool:
    """Whether a number is written as its cell's text has it."""
    own = [(form.decimal, form.thousands) for form in reader.columns.values()]
    return all(decimal in (None, ".") and not thousands for decimal, thousands in [(reader.decimal, reader.thousands), *own])


def _with_points(cells: pl.DataFrame, workbook: Any, sheet: str, rows: int | None) -> pl.DataFrame:
    """Cells that are numbers with their point marked: as whole numbers these have a value, and texts like 1.234 none."""
    whole = workbook.load_sheet(sheet, dtypes="int", header_row=None, skip_rows=0, n_rows=rows).to_polars()
    columns = [
        pl.DataFrame({"text": text, "whole": number}).select(
            pl.when(pl.col("whole").is_not_null() & pl.col("text").str.contains(NUMBER))
            .then(pl.col("text").str.replace(".", POINT, literal=True))
            .otherwise(pl.col("text"))
            .alias(text.name)
        )
        for text, number in zip(cells.get_columns(), whole.get_columns(), strict=True)
    ]
    return pl.concat(columns, how="horizontal")


def _all_digits(text: pl.Expr, number: pl.Expr) -> pl.Expr:
    """A number's text is rounded to what a person is shown; where that is another number, all digits are written."""
    text = pl.when(text != "").then(text)
    whole = (number == number.round(0)) & (number.abs() < LARGEST_WHOLE)
    digits = pl.when(whole).then(number.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(number.cast(pl.String))
    return pl.when(text.cast(pl.Float64, strict=False) != number).then(digits).otherwise(text)


def _with_errors(text: pl.DataFrame, errors: list[Any]) -> pl.DataFrame:
    """Cells that hold an error have its name as text."""
    by_column: dict[int, dict[int, str]] = {}
    for error in errors:
        row, column = error.offset_position
        kind = ERROR.search(error.detail)
        by_column.setdefault(column, {})[row] = ERRORS.get(kind[1], f"#{kind[1].upper()}!") if kind else "#ERROR!"
    for column, said in by_column.items():
        series = text.to_series(column)
        text = text.with_columns(series.scatter(list(said), list(said.values())))
    return text


def _below_header(cells: pl.DataFrame, name: str, reader: Reader, numbered: bool) -> Sheet:
    rows = _without_other_lines(cells.slice(reader.skip_lines), reader)
    if reader.header:
        if rows.is_empty():
            raise Refused(f"{name!r} has no row that names the columns")
        lines = [[_shown(text) for text in row] for row in rows.head(reader.header).rows()]
        rows = rows.slice(reader.header)
        nameless = {at for at in range(rows.width) if not any(line[at] for line in lines)}
        empty = [each for at, each in enumerate(rows.columns) if at in nameless and rows[each].null_count() == rows.height]
        kept = [at for at, each in enumerate(rows.columns) if each not in empty]
        names = joined_names([[line[at] for at in kept] for line in lines], replace(reader, unnamed=None))
        rows = rows.drop(empty)
    else:
        names = list(reader.names)
        if rows.width and rows.width != len(names):
            raise Refused(f"{name!r} has {rows.width} columns, where its reader names {len(names)}")
    names = numbered_names(names) if numbered else distinct_names(names, name, reader)
    if rows.width != len(names):
        rows = pl.DataFrame(schema=dict.fromkeys(names, pl.String()))
    rows.columns = names
    return Sheet(_dated(rows), tuple(names))


def _without_other_lines(rows: pl.DataFrame, reader: Reader) -> pl.DataFrame:
    """Rows without empty ones, comments and the footer."""
    if not rows.width:
        return rows
    rows = rows.filter(~pl.all_horizontal(pl.all().is_null()))
    if reader.blank_rows == "skip":
        rows = rows.filter(~pl.all_horizontal(pl.all().fill_null("").str.strip_chars() == ""))
    if reader.comment:
        rows = rows.filter(~pl.first().fill_null("").str.starts_with(reader.comment))
    if reader.footer:
        footer = re.compile(reader.footer)
        while rows.height and footer.match(",".join(map(_shown, rows.row(-1)))):
            rows = rows.head(rows.height - 1)
    return rows


def _shown(text: str | None) -> str:
    return (text or "").replace(POINT, ".")


def _dated(rows: pl.DataFrame) -> pl.DataFrame:
    """Cells as text without what the workbook has added to dates, and flags that say which are dates and which numbers."""
    is_moment = pl.all().str.contains(MOMENT).fill_null(False)
    is_number = pl.all().str.contains(POINT, literal=True).fill_null(False)
    flags = rows.select(is_moment.name.prefix(DATED), is_number.name.prefix(NUMBERED))
    shortened = [
        column.to_frame("cell").select(_shortened(pl.col("cell"))).to_series().alias(column.name)  # `*` is a name, too
        for column in rows.get_columns()
    ]
    return pl.DataFrame([*shortened, *flags.get_columns()])


def _shortened(text: pl.Expr) -> pl.Expr:
    is_clock = pl.any_horizontal(text.str.starts_with(day) for day in CLOCK_DAYS)
    shortened = pl.when(is_clock).then(text.str.slice(11)).otherwise(text.str.strip_suffix(" 00:00:00"))
    return pl.when(text.str.contains(MOMENT)).then(shortened).otherwise(text.str.replace(POINT, ".", literal=True))


def sheet_frames(sheet: Sheet, names: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    """A sheet's rows under the contract's names, with the flags of each column.

    Args:
        sheet: The sheet.
        names: The contract's name of each column, by the file's name.

    Yields:
        Rows in order.
    """
    columns = [(prefix + own, prefix + clean) for prefix in ("", DATED, NUMBERED) for own, clean in names.items()]
    chosen = pl.DataFrame([sheet.frame.get_column(own).alias(clean) for own, clean in columns])
    yield from chosen.iter_slices(BATCH)


def cell_conversion(column: str, dtype: pl.DataType, reader: Reader) -> Conversion | None:
    """How the cells of a column become the contract's type: texts as its reader declares, dates and numbers as they are.

    Args:
        column: The contract's name of the column.
        dtype: The type that the contract wants.
        reader: How the input's files are written.

    Returns:
        The conversion, or None where a cell cannot say that type.
    """
    written = from_written(column, dtype, reader)
    if written is None or not (dtype.is_temporal() or dtype.is_numeric()):
        return written
    if dtype.is_numeric():
        return _of_numbers(column, dtype, written, reader)
    value = _moment(pl.col(column), dtype, reader.column(column).time_zone)
    dated = pl.col(DATED + column)
    return Conversion(
        pl.when(dated).then(value).otherwise(written.value),
        pl.when(~dated).then(written.text).when(value.is_null()).then(pl.col(column)),
    )


def _of_numbers(column: str, dtype: pl.DataType, written: Conversion, reader: Reader) -> Conversion:
    value = text_value(pl.col(column), dtype)
    if value is None or _is_plain(reader):
        return written
    number = pl.col(NUMBERED + column) & ~pl.col(column).is_in(list(reader.column(column).missing))
    return Conversion(
        pl.when(number).then(value).otherwise(written.value),
        pl.when(number & value.is_null()).then(pl.col(column)).when(~number).then(written.text),
    )


def _moment(text: pl.Expr, dtype: pl.DataType, zone: str | None) -> pl.Expr:
    """A cell has no zone: where the contract's type has one, the reader says which it is."""
    if not isinstance(dtype, pl.Datetime):
        value = text_value(text, dtype)
        return pl.lit(None, dtype=dtype) if value is None else value
    clock = pl.when(text.str.len_chars() == 10).then(text + " 00:00:00").otherwise(text)
    local = text_value(clock, pl.Datetime(dtype.time_unit))
    assert local is not None
    if dtype.time_zone is None:
        return local
    if zone is None:
        return pl.lit(None, dtype=dtype)
    return local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone(dtype.time_zone)

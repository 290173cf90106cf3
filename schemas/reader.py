"""How a source is written: what turns its bytes into rows, columns and values. Part of an input's declaration.

Nothing here is guessed when a file arrives: what the declaration does not allow is refused, or rejected with its row.
`penstock new` finds a reader from a first file and writes it into the use case, where a person confirms it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

import polars as pl

from schemas.errors import Refused, UsageError

Format = Literal["csv", "jsonl", "json", "parquet", "arrow", "excel"]
FORMATS: tuple[Format, ...] = ("csv", "jsonl", "json", "parquet", "arrow", "excel")
WHITESPACE = "whitespace"
EPOCHS = ("epoch_s", "epoch_ms", "epoch_us", "excel_days")


@dataclass(frozen=True, kw_only=True)
class ColumnFormat:
    """How the values of one column are written, where that is not the plain way.

    Args:
        missing: Texts that mean "no value" in this column, besides those of the reader.
        decimal: Decimal mark; None for the reader's.
        thousands: Mark between groups of digits; None for the reader's.
        units: Texts beside a number that say its unit, before or after it: `$`, `EUR`, `%`, `kg`. The number is kept as
            printed: `12.5%` is 12.5.
        parentheses: Whether `(12.50)` is -12.50, as accounts have it.
        times: Formats of a date or time as strptime knows them, tried in this order: `%d/%m/%Y`, `%m/%d/%y %I:%M %p`; or
            `epoch_s`, `epoch_ms`, `epoch_us` (since 1970) and `excel_days` (since 1899-12-30) for numbers.
        time_zone: IANA name of the zone that times without an offset are in, where the contract's type has a zone.
        true: Texts that mean true, for a column of Booleans.
        false: Texts that mean false.
        spellings: Other spellings of a value and the one that is meant: `{"Yes": "yes"}`.
    """

    missing: tuple[str, ...] = ()
    decimal: str | None = None
    thousands: str | None = None
    units: tuple[str, ...] = ()
    parentheses: bool = False
    times: tuple[str, ...] = ()
    time_zone: str | None = None
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_texts(self, ("missing", "units", "times", "true", "false"))
        _check_marks(self.decimal, self.thousands)
        if both := sorted(set(self.true) & set(self.false)):
            raise UsageError(f"a column's format: {both[0]!r} cannot mean both true and false")
        for each in self.times:
            if "%" not in each and each not in EPOCHS:
                raise UsageError(
                    f"a column's format: {each!r} is no format of a time; use strptime's or {', '.join(EPOCHS)}"
                )
        if self.time_zone is not None:
            try:
                ZoneInfo(self.time_zone)
            except (ValueError, OSError):
                raise UsageError(f"a column's format: there is no time zone {self.time_zone!r}; use an IANA name") from None


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How an input's files are written. The default is CSV as RFC 4180 has it, in UTF-8, with one header line.

    Args:
        format: Format of files whose name does not tell it; None for what the name tells.
        encoding: Encoding of text, by Python's name for it: `utf-8`, `cp1252`, `utf-16`.
        separator: What stands between fields: one or several characters, or `whitespace` for any run of blanks and tabs.
        quote: The character around fields that hold a separator; None where there is none.
        stray_quotes: Whether a quote within a field that no quotes enclose stands for itself; else it refuses the file.
        backslash: Whether a backslash takes the meaning from the character after it (MySQL's exports), instead of doubled
            quotes.
        line_end: `\\n` (also behind `\\r`), or `\\r` alone.
        skip_lines: Lines before the header that are no part of the table.
        comment: Lines that begin with this text are no part of the table.
        footer: A regular expression; lines at the very end that it matches from their start are no part of the table.
        header: How many lines name the columns; of several, the texts of a column are joined by blanks. 0: `names` does.
        names: Names of the columns by their position, where no line names them.
        unnamed: Where each row has one field more than the header: whether it is the `first` (R's row names) or the `last`
            (a separator at the end of each line). `rename` and `omit` call that field `unnamed_` and its position.
        blank_rows: Whether rows all of whose fields are empty are left out (`skip`) or judged like others (`keep`).
        decimal: Decimal mark of all numbers.
        thousands: Mark between groups of digits, None for none.
        missing: Texts that mean "no value" in every column.
        strip: Whether blanks around names and values are taken away; a value of blanks alone is then missing.
        rename: The file's names of columns and those of the contract. A name that stands there twice is followed by ` (2)`
            for its second column; one that is empty is `unnamed_` and its position from 1.
        omit: The file's names of columns that are left out.
        columns: Formats of single columns, by the contract's names.
        sheet: Name of a workbook's sheet; None for its only one.
        path: Where the records lie in a JSON document, its keys joined by dots: `data.items`; empty for the document itself.
    """

    format: Format | None = None
    encoding: str = "utf-8"
    separator: str = ","
    quote: str | None = '"'
    stray_quotes: bool = False
    backslash: bool = False
    line_end: Literal["\n", "\r"] = "\n"
    skip_lines: int = 0
    comment: str | None = None
    footer: str | None = None
    header: int = 1
    names: tuple[str, ...] = ()
    unnamed: Literal["first", "last"] | None = None
    blank_rows: Literal["keep", "skip"] = "keep"
    decimal: str = "."
    thousands: str | None = None
    missing: tuple[str, ...] = ()
    strip: bool = False
    rename: Mapping[str, str] = field(default_factory=dict)
    omit: tuple[str, ...] = ()
    columns: Mapping[str, ColumnFormat] = field(default_factory=dict)
    sheet: str | None = None
    path: str = ""

    def __post_init__(self) -> None:
        _check_texts(self, ("missing", "names", "omit"))
        _check_marks(self.decimal, self.thousands)
        for problem in self._problems():
            raise UsageError(f"a reader: {problem}")

    def _problems(self) -> Iterable[str]:
        if self.format is not None and self.format not in FORMATS:
            yield f"there is no format {self.format!r}; it has {', '.join(FORMATS)}"
        if not _is_encoding(self.encoding):
            yield f"there is no encoding {self.encoding!r}; use a name that Python knows, such as cp1252"
        if not self.separator or set(self.separator) & set("\r\n"):
            yield f"{self.separator!r} cannot separate fields"
        if self.quote is not None and (len(self.quote) != 1 or not self.quote.isascii() or self.quote == self.separator):
            yield f"{self.quote!r} cannot quote a field: it is one character of ASCII, and not the separator"
        if self.line_end not in ("\n", "\r"):
            yield f"a line cannot end with {self.line_end!r}"
        if self.header < 0 or self.skip_lines < 0:
            yield "`header` and `skip_lines` count lines"
        if (self.header == 0) != bool(self.names):
            yield "`names` are given where no line names the columns: with header=0, and only there"
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            yield f"`names` repeats {twice[0]!r}"
        if len(set(self.rename.values())) < len(self.rename):
            yield "`rename` gives two columns one name"
        if both := sorted(set(self.omit) & set(self.rename)):
            yield f"{both[0]!r} is both renamed and left out"
        if self.footer is not None and not _is_pattern(self.footer):
            yield f"`footer` is no regular expression: {self.footer!r}"

    def column(self, name: str) -> ColumnFormat:
        """The format of a column, by the contract's name for it, with the reader's own marks and missing texts.

        Args:
            name: The contract's name of the column.

        Returns:
            The format; `decimal` is never None in it.
        """
        own = self.columns.get(name, ColumnFormat())
        values = {each.name: getattr(own, each.name) for each in fields(own)}
        values["missing"] = (*self.missing, *(text for text in own.missing if text not in self.missing))
        values["decimal"] = own.decimal or self.decimal
        values["thousands"] = own.thousands or self.thousands
        return ColumnFormat(**values)

    def contract_names(self, names: Iterable[str]) -> dict[str, str]:
        """What a file's columns are called in the contract, those apart that are left out.

        Args:
            names: The file's own names.

        Returns:
            The contract's name of each, by the file's name and in its order.

        Raises:
            Refused: Two columns would have one name.
        """
        left_out = set(self.omit)
        clean = {name: self.rename.get(name, name) for name in names if name not in left_out}
        if len(set(clean.values())) < len(clean):
            seen: dict[str, str] = {}
            for own, name in clean.items():
                if name in seen:
                    raise Refused(f"{seen[name]!r} and {own!r} would both be the column {name!r}: leave one out (`omit`)")
                seen[name] = own
        return clean


def check_reader(reader: Reader, dtypes: Mapping[str, pl.DataType], whose: str) -> None:
    """Refuse a reader that speaks of columns that the contract lacks, or of times in a column of another type.

    Args:
        reader: How the input's files are written.
        dtypes: The contract's columns and their types.
        whose: The input's name, for the error.

    Raises:
        UsageError: They do not fit; one line names the column.
    """
    for name, form in reader.columns.items():
        if name not in dtypes:
            near = get_close_matches(name, dtypes, n=1)
            raise UsageError(
                f"input {whose!r}: its reader speaks of {name!r}, which the contract has not"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        if form.times and (problem := _wrong_times(form, dtypes[name])):
            raise UsageError(f"input {whose!r}: its reader's times of {name!r} do not fit: {problem}")
    if unknown := sorted(set(reader.rename.values()) - set(dtypes)):
        raise UsageError(f"input {whose!r}: its reader renames a column to {unknown[0]!r}, which the contract has not")


def _wrong_times(form: ColumnFormat, dtype: pl.DataType) -> str:
    if not dtype.is_temporal() or isinstance(dtype, pl.Duration):
        return f"the contract's type is {dtype}"
    if isinstance(dtype, pl.Time) and set(form.times) & set(EPOCHS):
        return "a time of the day has no date to count from"
    zones = {says_zone(each) for each in form.times}
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None and True in zones:
        return "they have an offset, and the contract's type has no time zone"
    if isinstance(dtype, pl.Datetime) and dtype.time_zone and False in zones and form.time_zone is None:
        return "say with `time_zone` which zone they are in, as the contract's type has one"
    return ""


def says_zone(written: str) -> bool | None:
    """Whether a format has an offset; None for an epoch, which needs none."""
    if written.startswith("epoch"):
        return None
    return re.search(r"%[:#]*z|%Z|%\+", written) is not None


def describe_reader(reader: Reader) -> dict[str, Any]:
    """A reader as plain data: what is not the default, so that a fact that is added later changes no hash.

    Args:
        reader: The reader.

    Returns:
        A document that JSON can hold; empty for the default.
    """
    described = _stated(reader)
    if reader.columns:
        described["columns"] = {name: _stated(each) for name, each in sorted(reader.columns.items())}
    return described


def restore_reader(described: Mapping[str, Any]) -> Reader:
    """The reader that `describe_reader` made plain data of.

    Args:
        described: The document.

    Returns:
        The reader.

    Raises:
        UsageError: The document holds what no reader has.
    """
    columns = {name: ColumnFormat(**_tuples(each)) for name, each in described.get("columns", {}).items()}
    try:
        return Reader(**{**_tuples(described), "columns": columns})
    except TypeError as error:
        raise UsageError(f"a reader cannot be made of its description: {error}") from None


def _stated(value: Any) -> dict[str, Any]:
    stated = {}
    for each in fields(value):
        default = each.default if each.default is not MISSING else cast(Any, each.default_factory)()
        held = getattr(value, each.name)
        if held != default:
            stated[each.name] = list(held) if isinstance(held, tuple) else dict(held) if isinstance(held, Mapping) else held
    return stated


def _tuples(described: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in described.items()}


def _check_texts(value: Any, names: Iterable[str]) -> None:
    """A lone text where several are meant would be taken letter by letter."""
    for name in names:
        if isinstance(getattr(value, name), str):
            raise UsageError(f"`{name}` takes several texts: write ({getattr(value, name)!r},)")


def _check_marks(decimal: str | None, thousands: str | None) -> None:
    for mark in (decimal, thousands):
        if mark is not None and (len(mark) != 1 or mark.isalnum() or mark in "+-"):
            raise UsageError(f"{mark!r} is no decimal mark and parts no thousands: it is one character, no letter or digit")
    if decimal is not None and decimal == thousands:
        raise UsageError(f"{decimal!r} cannot be both the decimal mark and the mark of thousands")


def _is_encoding(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except LookupError:
        return False


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


PLAIN = Reader()

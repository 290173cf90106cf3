"""Text to a column's values, as the input's reader says that they are written.

A text is stripped, its spelling is settled, and what means "no value" becomes null; then it is a number, a time, a
Boolean or text. A text that is not written as declared has no value, and stays as it was for the audit to reject.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

import polars as pl
from polars import selectors as cs

from schemas.reader import PLAIN, ColumnFormat, Reader, says_zone
from tasks.parsing.type_conversion import NANOSECOND_YEARS, Conversion, as_text, conversion, from_text, text_value

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

FIRST_YEAR = 1000  # a year of fewer digits is one whose century was left out
LARGEST_WHOLE = 2.0**53  # floats hold each whole number up to here
EXCEL_EPOCH = -25_569  # 1899-12-30 in days since 1970
FRACTION = re.compile(r"%\.?\d?f")
LOST_DIGITS = {unit: rf"[.,]\d{{{most}}}\d*[1-9]" for unit, most in (("ms", 6), ("us", 6), ("ns", 9))}
EPOCH_UNITS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}  # microseconds


def is_plain(reader: Reader, name: str) -> bool:
    """Whether a column's texts are written the plain way: nothing is declared of them."""
    return not reader.strip and reader.column(name) == PLAIN.column(name)


def from_written(name: str, target: pl.DataType, reader: Reader) -> Conversion | None:
    """The conversion of a column of text that is written as its reader declares.

    Args:
        name: The contract's name of the column, which the frame has too.
        target: The type that the contract wants.
        reader: How the input's files are written.

    Returns:
        The conversion, or None where text cannot say that type.
    """
    if is_plain(reader, name):
        return from_text(name, target)
    return _conversion(pl.col(name), name, target, reader)


def _conversion(original: pl.Expr, name: str, target: pl.DataType, reader: Reader) -> Conversion | None:
    form = reader.column(name)
    text = _meant(original, form, reader)
    value = _value(text, target, form)
    if value is None:
        return None
    return Conversion(value, pl.when(value.is_null() & text.is_not_null() & (text != "")).then(original))


def from_typed(name: str, source: pl.DataType, target: pl.DataType, reader: Reader) -> Conversion | None:
    """The conversion of a column that has a type already: text is read as declared, whole numbers that are dates too.

    Args:
        name: The contract's name of the column.
        source: The type that it has.
        target: The type that the contract wants.
        reader: How the input's files are written.

    Returns:
        The conversion, or None where there is none without loss.
    """
    if is_plain(reader, name):
        return conversion(name, source, target)
    is_text = isinstance(source, (pl.String, pl.Categorical, pl.Enum))
    is_written = is_text or (source.is_numeric() and bool(reader.column(name).times))
    if not is_written and not reader.column(name).missing:
        return conversion(name, source, target)
    if not is_written:
        return _without_missing(name, source, target, reader.column(name))
    return _conversion(_written(pl.col(name), source), name, target, reader)


def _written(column: pl.Expr, source: pl.DataType) -> pl.Expr:
    """A value as a person writes it: a whole number without the point that a column of floats gives it."""
    text = as_text(column, source)
    if not source.is_float():
        return text
    whole = (column == column.round(0)) & (column.abs() < LARGEST_WHOLE)
    return pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(text)


def _without_missing(name: str, source: pl.DataType, target: pl.DataType, form: ColumnFormat) -> Conversion | None:
    plain = conversion(name, source, target)
    if plain is None:
        return None
    texts = (as_text(pl.col(name), source), _written(pl.col(name), source))
    nothing = pl.any_horizontal(text.is_in(list(form.missing)) for text in texts)
    return Conversion(pl.when(~nothing).then(plain.value), pl.when(~nothing).then(plain.text))


def _meant(column: pl.Expr, form: ColumnFormat, reader: Reader) -> pl.Expr:
    """The text that is meant, null where it means that there is none."""
    text = column
    missing = list(form.missing)
    if reader.strip:
        text, missing = text.str.strip_chars(), [*missing, ""]
    if form.spellings:
        text = text.replace(dict(form.spellings))
    return pl.when(~text.is_in(missing)).then(text) if missing else text


def _value(text: pl.Expr, target: pl.DataType, form: ColumnFormat) -> pl.Expr | None:
    if target == pl.String:
        return text
    if target == pl.Boolean and (form.true or form.false):
        words = dict.fromkeys(form.true, True) | dict.fromkeys(form.false, False)
        return text.replace_strict(words, default=None, return_dtype=pl.Boolean)
    if target.is_numeric():
        return text_value(_plain_number(text, form), target)
    if form.times and isinstance(target, (pl.Date, pl.Datetime, pl.Time)):
        return pl.coalesce([_time(text, each, target, form) for each in form.times])
    return text_value(text, target)


def _plain_number(text: pl.Expr, form: ColumnFormat) -> pl.Expr:
    """A number as everyone writes it, null where it is not written as declared."""
    decimal = form.decimal or "."
    if decimal == "." and not (form.thousands or form.units or form.parentheses):
        return text
    point, group = re.escape(decimal), re.escape(form.thousands or "")
    digits = rf"\d{{1,3}}(?:{group}\d{{2,3}})*{group}\d{{3}}|\d+" if form.thousands else r"\d+"
    unit = rf"(?:{'|'.join(map(re.escape, sorted(form.units, key=len, reverse=True)))})?" if form.units else ""
    exponent = "" if {"e", "E"} & set(form.units) else r"(?:[eE][+-]?\d+)?"
    number = rf"(?:{digits})(?:{point}\d*)?{exponent}|{point}\d+"
    signed = rf"[+-]?\s*{unit}\s*[+-]?\s*(?:{number})\s*{unit}"
    whole = rf"^(?:{signed}|\(\s*{unit}\s*(?:{number})\s*{unit}\s*\))$" if form.parentheses else rf"^(?:{signed})$"
    bare = text
    for each in sorted(form.units, key=len, reverse=True):
        bare = bare.str.replace(each, "", literal=True)
    if form.thousands:
        bare = bare.str.replace_all(form.thousands, "", literal=True)
    if decimal != ".":
        bare = bare.str.replace(decimal, ".", literal=True)
    bare = bare.str.replace_all(r"[\s()]", "")
    bare = pl.when(text.str.starts_with("(")).then(pl.lit("-") + bare).otherwise(bare) if form.parentheses else bare
    return pl.when(text.str.contains(whole)).then(bare)


def _time(text: pl.Expr, written: str, target: pl.DataType, form: ColumnFormat) -> pl.Expr:
    if isinstance(target, pl.Time):
        return text.str.to_time(written, strict=False)
    zone = form.time_zone or ("UTC" if written in EPOCH_UNITS else None)
    moment = _moment(text, written, zone if isinstance(target, pl.Datetime) and target.time_zone else None)
    if isinstance(target, pl.Date):
        return pl.when(moment.dt.time() == pl.time(0, 0)).then(moment.dt.date())
    assert isinstance(target, pl.Datetime)
    zoned = moment.dt.convert_time_zone(target.time_zone) if target.time_zone else moment
    value = _in_unit(zoned, target)
    if not FRACTION.search(written):
        return value
    if target.time_unit == "ns":
        rest = text.str.extract(r"[.,]\d{6}(\d{1,3})").str.pad_end(3, "0").cast(pl.Int64).fill_null(0)
        value = (value.to_physical() + rest).cast(target)
    return pl.when(~text.str.contains(LOST_DIGITS[target.time_unit])).then(value)


def _in_unit(moment: pl.Expr, target: pl.Datetime) -> pl.Expr:
    """A moment in microseconds in the contract's unit, null where that cannot say it."""
    if target.time_unit == "us":
        return moment
    if target.time_unit == "ns":
        return pl.when(moment.dt.year().is_between(*NANOSECOND_YEARS)).then(moment).dt.cast_time_unit("ns")
    value = moment.dt.cast_time_unit(target.time_unit)
    return pl.when(value.dt.cast_time_unit("us") == moment).then(value)


def _moment(text: pl.Expr, written: str, zone: str | None) -> pl.Expr:
    """The moment that a text says: with a zone where the format has one, or where one is given."""
    if written in EPOCH_UNITS:
        number, unit = text.cast(pl.Int64, strict=False), EPOCH_UNITS[written]
        value = (pl.when(number.is_between(-(10**17) // unit, 10**17 // unit)).then(number) * unit).cast(pl.Datetime("us"))
        return value.dt.replace_time_zone("UTC") if zone else value
    if written == "excel_days":
        days = text.cast(pl.Float64, strict=False)
        value = pl.when(days.is_between(0, 2_958_466)).then(((days + EXCEL_EPOCH) * 86_400_000).round(0) * 1000)
        value = value.cast(pl.Int64).cast(pl.Datetime("us"))
    else:
        value = text.str.to_datetime(written, time_unit="us", strict=False)
        value = pl.when(value.dt.year() >= FIRST_YEAR).then(value)
    if zone and not says_zone(written):
        return value.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    return value


def renamed(frame: Frame, names: Sequence[str], reader: Reader) -> Frame:
    """A frame's columns under the contract's names, without those that are left out.

    Args:
        frame: Columns under the file's names, and maybe others of our own.
        names: The file's names.
        reader: How the input's files are written.

    Returns:
        The frame.
    """
    if not reader.rename and not reader.omit:
        return frame
    gone = [name for name in names if name in reader.omit]
    return frame.drop(cs.by_name(*gone)).rename(reader.rename, strict=False)  # by name: `*` and `^x$` are names, too

"""Which type a column has, and how its values are written: what a person reads as a number, a date or "nothing" is one.

What is found is declared in the input's reader, and the values here are those that ingestion will read: it is the same code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import polars as pl

from deployments.scaffold import number_formats, time_formats
from schemas.errors import UsageError
from schemas.reader import ColumnFormat, Reader, says_zone
from tasks.parsing import from_written

Type = Literal["integer", "number", "decimal", "flag", "date", "moment", "utc", "clock", "text"]
TIMES = ("date", "moment", "utc")

DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
NUMBER = r"^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
PATTERNS: dict[Type, str] = {
    "integer": r"^-?(0|[1-9][0-9]{0,18})$",
    "number": NUMBER,
    "flag": r"^(true|false|True|False|TRUE|FALSE)$",
    "date": f"^{DAY}$",
    "moment": f"^{DAY}[T ]{CLOCK}$",
    "utc": rf"^{DAY}[T ]{CLOCK}(Z|[+-][0-9]{{2}}:?[0-9]{{2}})$",
    "clock": f"^{CLOCK}$",
}
DTYPES: dict[Type, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "flag": pl.Boolean(),
    "date": pl.Date(),
    "moment": pl.Datetime("us"),
    "utc": pl.Datetime("us", "UTC"),
    "clock": pl.Time(),
    "text": pl.String(),
}
NANOSECONDS = r":\d{2}[.,]\d{6}\d*[1-9]"
DIGITS_ONLY = r"^-?[0-9]+$"
INFINITE = ("inf", "-inf", "+inf", "Infinity", "-Infinity", "INF", "-INF", "Inf", "-Inf")
# Words that mean "no value" wherever they stand, and words that do so only among values of another type.
NOTHING_WORDS = (
    "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "-nan", "NULL", "Null", "null", "(null)", "?", "??", "",
    "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!", "NaT", r"\N", '""', "''",
)  # fmt: skip
AMONG_OTHERS = (
    "na", "Na", "N.A.", "n.a.", "none", "None", "NONE", "nil", "NIL", "Nil", "-", "--", "---", ".", "..", "*", "missing",
    "Missing", "MISSING", "unknown", "Unknown", "UNKNOWN", "undefined", "not available", "Not available", "Not Available",
    "n/d", "ND", "nd", "TBD", "tbd", "empty", "blank", "x", "X", "(blank)", "(empty)", "no data", "No data",
)  # fmt: skip
MISSING_WORDS = frozenset((*NOTHING_WORDS, *AMONG_OTHERS))
MOST_LEVELS = 7  # numbers of so few values are levels, and an odd one among them is one of these
SENTINEL = re.compile(r"-?9{2,6}|-200|-?8{2,5}|-1000|-32768|-2147483648")
MOST_SPELLINGS = 400
MOST_UNITS = 8  # so many different texts with numbers and units are rather numbers than categories
ONE_WORD_SHARE = 0.3  # of one or two words: "k.A.", "Refused"
ODD_WORDS, ODD_SHARE = 5, 0.03  # other words in a column of numbers or dates: few enough to be no values of it


@dataclass(frozen=True)
class Typed:
    """A column with the type that its values have.

    Args:
        name: The contract's name of the column.
        type: The type.
        values: Its values as ingestion reads them.
        form: How they are written; the plain way where nothing is declared.
        nothing: Words in it that mean "no value" in any column.
        seen: What was seen that a person may want to know, for a comment.
        confirm: What may be read in two ways, in words; empty where there is one.
        sentinel: A number that stands for "no value", such as -999; None for none.
    """

    name: str
    type: Type
    values: pl.Series
    form: ColumnFormat = field(default_factory=ColumnFormat)
    nothing: tuple[str, ...] = ()
    seen: str = ""
    confirm: str = ""
    sentinel: float | None = None


@dataclass(frozen=True)
class _Reading:
    """A type that all of a column's texts have under a format."""

    type: Type
    form: ColumnFormat = field(default_factory=ColumnFormat)
    seen: str = ""
    confirm: str = ""


def type_column(series: pl.Series, form: str, reader: Reader | None = None) -> Typed:
    """The type of a column: of text in CSV any, of text in formats with types of their own dates, times and marked numbers.

    Raises UsageError for a column whose cells hold no single value (lists, structs, bytes, durations).
    """
    if series.dtype == pl.String:
        return _type_text(series, form, reader or Reader())
    kind, values = _known(series)
    if kind == "integer" and (times := time_formats.of_numbers(series)):
        values = _read(series, times.type, times.form)
        return Typed(series.name, times.type, values, times.form, seen=times.seen, confirm=times.confirm)
    return Typed(series.name, kind, values)


def _known(series: pl.Series) -> tuple[Type, pl.Series]:
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime):
        return ("utc" if dtype.time_zone else "moment"), series
    if dtype.is_integer():
        return "integer", series
    if dtype.is_float():
        return "number", series.cast(pl.Float64)
    kinds: dict[type[pl.DataType], Type] = {pl.Decimal: "decimal", pl.Boolean: "flag", pl.Date: "date", pl.Time: "clock"}
    for known, kind in kinds.items():
        if isinstance(dtype, known):
            return kind, series
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum, pl.Null)):
        return "text", series.cast(pl.String)
    raise UsageError(
        f"column {series.name!r} holds {dtype}, not one value a cell: leave it out, or write it as plain columns"
    )


def _type_text(series: pl.Series, form: str, reader: Reader) -> Typed:
    name, written = series.name, series.str.strip_chars() if reader.strip else series
    if name in reader.columns:
        return _stated(series, reader)
    if form == "csv" and (kind := _plain_number(written)):
        return _without_sentinel(Typed(name, kind, _read(series, kind, ColumnFormat(), Reader(strip=reader.strip))), series)
    counts = written.drop_nulls().value_counts(name="count")
    texts = counts.to_series(0)
    distinct = texts.filter(~texts.is_in([*NOTHING_WORDS, *INFINITE]) & (texts.str.strip_chars() != ""))
    nothing = tuple(sorted(set(texts.filter(texts.is_in(NOTHING_WORDS)).to_list()) - {""}))
    rest = distinct.filter(~distinct.is_in(AMONG_OTHERS))
    infinite = texts.is_in(INFINITE).any()
    reading = _reading(rest, name, form) if len(rest) else None
    if reading and (not infinite or (reading.type in ("integer", "number") and reading.form == ColumnFormat())):
        words = tuple(sorted(set(distinct.to_list()) - set(rest.to_list())))
        reading = replace(reading, type="number") if infinite and reading.type == "integer" else reading
        if "-" in words and {*reading.form.units} & {*number_formats.CURRENCIES}:
            zero = "'-' is read as missing; in accounts it means zero"
            reading = replace(reading, confirm="; ".join(filter(None, (reading.confirm, zero))))
        return _typed(series, reading, nothing, words, reader)
    if nearly := _nearly(counts, rest, name, form) if not infinite else None:
        odd = tuple(sorted(set(distinct.to_list()) - set(nearly[1].to_list())))
        return _typed(series, nearly[0], nothing, odd, reader)
    reading = _text(counts.filter(~pl.nth(0).is_in(NOTHING_WORDS)))
    if form == "csv" and len(rest) > MOST_UNITS and (why := number_formats.why_text(rest)):
        reading = _Reading("text", reading.form, reading.seen, why)
    return _typed(series, reading, nothing, (), reader)


def _plain_number(series: pl.Series) -> Literal["integer", "number"] | None:
    """Whether all texts are plain numbers: told without counting them, as most columns of large files are."""
    first = series.head(1000).drop_nulls()
    if not len(first) or not first.str.contains(NUMBER).all():
        return None
    texts = series.drop_nulls()
    lengths = texts.str.len_chars()
    if lengths.min() == lengths.max() and lengths[0] in time_formats.LENGTHS:
        return None  # may be dates: 20240131
    for kind in ("integer", "number"):
        if first.str.contains(PATTERNS[kind]).all() and _reads_as(texts, kind, PATTERNS[kind]):
            return kind
    return None


def _without_sentinel(typed: Typed, series: pl.Series) -> Typed:
    """Numbers of which one stands for "no value": -999 or 9999, often there and far from all others."""
    values: Any = typed.values.drop_nulls()
    for value in dict.fromkeys((values.min(), values.max())):
        if value is None or not SENTINEL.fullmatch(f"{value:.0f}") or value != round(value):
            continue
        others = values.filter(values != value)
        if others.n_unique() < MOST_LEVELS:
            continue
        if value < others.min():
            far = value < 0 <= others.min()
        else:
            far = abs(value) > 3 * max(abs(others.max()), abs(others.min()) / 20)
        count = len(values) - len(others)
        if far and count >= max(5, 0.002 * len(series)):
            texts = tuple(sorted(series.filter(typed.values == value).unique().str.strip_chars().unique().to_list()))
            form = ColumnFormat(missing=texts)
            confirm = f"{texts[0]} stands for no value in {count:,} rows, and is read as missing"
            kept = _read(series, typed.type, form, Reader(strip=True, columns={typed.name: form}))
            return Typed(typed.name, typed.type, kept, form, typed.nothing, typed.seen, confirm, float(value))
    return typed


def _stated(series: pl.Series, reader: Reader) -> Typed:
    """A column whose format a person has said: the first type of which it gives all values, else text."""
    form = reader.columns[series.name]
    texts = series.drop_nulls().unique()
    nothing = tuple(sorted(set(texts.filter(texts.is_in(NOTHING_WORDS)).to_list()) - {""}))
    whole = Reader(strip=reader.strip, missing=nothing, columns={series.name: form})
    meant = series.filter(series.is_not_null() & ~series.str.strip_chars().is_in([*nothing, *form.missing, ""]))
    kinds: tuple[Type, ...] = ("date", "moment", "utc", "clock") if form.times else ("flag", "integer", "number")
    for kind in kinds:
        fits = not (form.times and kind in ("moment", "utc")) or any(map(says_zone, form.times)) == (kind == "utc")
        if len(meant) and fits and not _read(meant, kind, form, whole).null_count():
            return Typed(series.name, kind, _read(series, kind, form, whole), form, nothing, "as it was said")
    if form.times or form.true:
        raise UsageError(f"--read: not all values of {series.name!r} are written so, for example {meant.head(1).to_list()}")
    return Typed(series.name, "text", _read(series, "text", form, whole), form, nothing)


def _text(counts: pl.DataFrame) -> _Reading:
    """Text: other spellings of a value that repeats are that value, and digits behind a zero are a code."""
    values, often = counts.to_series(0), counts["count"]
    if len(values) and values.str.contains(r"^-?\d+$").all() and values.str.contains(r"^-?0\d").any():
        return _Reading("text", seen="codes: some begin with a zero, so they are text")
    if len(values) > MOST_SPELLINGS:
        return _Reading("text")
    groups: dict[str, list[tuple[int, str]]] = {}
    for value, count in zip(values.to_list(), often.to_list(), strict=True):
        groups.setdefault(re.sub(r"\s+", " ", value.strip()).casefold(), []).append((-count, value))
    spellings = {other: min(group)[1] for group in groups.values() for _, other in group if other != min(group)[1]}
    if not spellings:
        return _Reading("text")
    seen = ", ".join(f"{other!r} is read as {value!r}" for other, value in sorted(spellings.items())[:5])
    return _Reading("text", ColumnFormat(spellings=dict(sorted(spellings.items()))), seen)


def _typed(series: pl.Series, reading: _Reading, nothing: tuple[str, ...], words: tuple[str, ...], reader: Reader) -> Typed:
    form = ColumnFormat(**{**vars(reading.form), "missing": (*reading.form.missing, *words)})
    whole = Reader(strip=reader.strip, missing=nothing, columns={series.name: form})
    return Typed(
        series.name, reading.type, _read(series, reading.type, form, whole), form, nothing, reading.seen, reading.confirm
    )


def _read(series: pl.Series, kind: Type, form: ColumnFormat, reader: Reader | None = None) -> pl.Series:
    """A column's values as ingestion reads them."""
    reader = reader or Reader(columns={series.name: form})
    text = series.cast(pl.String).to_frame()
    conversion = from_written(series.name, _dtype(kind, series, form), reader)
    assert conversion
    return text.select(conversion.value.alias(series.name)).to_series()


def _dtype(kind: Type, series: pl.Series, form: ColumnFormat) -> pl.DataType:
    """The type that holds all digits of the values: nanoseconds only where there are that many."""
    dtype = DTYPES[kind]
    if isinstance(dtype, pl.Datetime) and form.times and series.cast(pl.String).str.contains(NANOSECONDS).any():
        return pl.Datetime("ns", dtype.time_zone)
    return dtype


def _reading(distinct: pl.Series, name: str, form: str) -> _Reading | None:
    """The type that all texts have, or None. Of a format with types of its own, plain numbers in quotes stay text."""
    typed_format = form != "csv"
    for kind, pattern in PATTERNS.items():
        if form == "parquet" and kind in TIMES:
            continue  # its text is text until a format says what it is
        if _reads_as(distinct, kind, pattern):
            if kind == "integer" and (times := time_formats.of_digits(distinct, name)):
                return _Reading(times.type, times.form, times.seen, times.confirm)
            return _Reading(kind) if not typed_format or kind in TIMES else None
    if times := time_formats.of_digits(distinct, name) or time_formats.find(distinct, name):
        return _Reading(times.type, times.form, times.seen, times.confirm)
    if numbers := number_formats.find(distinct):
        return _Reading(numbers.type, numbers.form, numbers.seen, numbers.confirm)
    return None


def _nearly(counts: pl.DataFrame, rest: pl.Series, name: str, form: str) -> tuple[_Reading, pl.Series] | None:
    """The type that nearly all texts have: what is none of it are few words, which then mean that there is no value."""
    if form != "csv" or len(rest) < 20:
        return None
    numeric = rest.str.contains(r"[0-9]") & ~rest.str.contains(r"^[^0-9]{12,}")
    kept = rest.filter(numeric)
    odd = rest.filter(~numeric)
    share = counts.filter(pl.nth(0).is_in(odd.implode()))["count"].sum() / max(int(counts["count"].sum()), 1)
    most = ODD_SHARE if len(odd) > 2 else ONE_WORD_SHARE
    if not 0 < len(odd) <= ODD_WORDS or share > most or not len(kept):
        return None
    reading = _reading(kept, name, form)
    if reading is None:
        return None
    words = ", ".join(repr(word) for word in odd.sort().to_list())
    confirm = f"{words} in {share:.1%} of the rows is read as missing, as all else is {reading.type}"
    return _Reading(reading.type, reading.form, reading.seen, "; ".join(filter(None, (reading.confirm, confirm)))), kept


def _reads_as(distinct: pl.Series, kind: Type, pattern: str) -> bool:
    """Whether all values match and parse. Integers beyond 64 bits do not read as numbers, which would round them."""
    if not distinct.str.contains(pattern).all():
        return False
    if (
        kind == "number"
        and _read(distinct.filter(distinct.str.contains(DIGITS_ONLY)), "integer", ColumnFormat()).null_count()
    ):
        return False
    parsed = _read(distinct, kind, ColumnFormat())
    return parsed.null_count() == 0 and (kind != "number" or bool(parsed.is_finite().all()))


def looks_typed(values: Sequence[str]) -> bool:
    """Whether values, nothing-words apart, are all numbers, dates, clock times or true and false. For a layout's header."""
    rest = [value for value in values if value not in MISSING_WORDS]
    return bool(rest) and all(TYPED_VALUE.fullmatch(value.strip()) for value in rest)


TYPED_VALUE = re.compile(
    r"(?i)[-+(]?\s*[$€£¥]?\s*[-+]?\d[\d.,' \u00a0]*(e[-+]?\d+)?\s*[%$€£¥]?\)?|true|false"
    r"|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?|\d{1,2}:\d{2}(:\d{2})?.*"
)

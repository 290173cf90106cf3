"""Which type a column has. Of text, only what reads one way: 007 is a code, 31/12/2024 is text, 1e5 is a number.

What is taken for a type here is never more than what ingestion parses to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from schemas.errors import UsageError
from tasks.parsing import from_text

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
}
DTYPES: dict[Type, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "flag": pl.Boolean(),
    "date": pl.Date(),
    "moment": pl.Datetime("us"),
    "utc": pl.Datetime("us", "UTC"),
}
DIGITS_ONLY = r"^-?[0-9]+$"
INFINITE = ("inf", "-inf", "+inf", "Infinity", "-Infinity", "INF", "-INF", "Inf", "-Inf")
MISSING = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "Null", "null", "None", "none", "-", "?")
DAY_FORMATS = {"%d/%m/%Y": "31/12/2024", "%m/%d/%Y": "12/31/2024", "%d.%m.%Y": "31.12.2024", "%Y/%m/%d": "2024/12/31"}
OTHER_FORMATS = {
    "1.234,56": r"^-?[0-9]{1,3}(\.?[0-9]{3})*,[0-9]+$",
    "$1,234.56": r"^-?[$€£]? ?[0-9]{1,3}(,?[0-9]{3})*(\.[0-9]+)?( ?[%€$£])?$",
    "2024-12-31 23:59": rf"^{DAY}[T ][0-9]{{2}}:[0-9]{{2}}$",
}


@dataclass(frozen=True)
class Typed:
    """A column with the type it was found to have.

    `missing`: words such as NA that stand in a column of numbers: its contract stays text, its `values` are the numbers.
    `looks`: a written-out example of the format of all its values, where it is one that ingestion does not parse.
    """

    name: str
    type: Type
    values: pl.Series
    missing: tuple[str, ...] = field(default=())
    looks: str = ""

    def cast(self, dtype: str) -> str:
        """The end of an expression that makes numbers of the column, as code: a missing word becomes null."""
        if not self.missing:
            return f".cast(pl.{dtype})"
        nan = ".fill_nan(None)" if any(word.lower() == "nan" for word in self.missing) else ""
        return f".cast(pl.{dtype}, strict=False){nan}"


def type_column(series: pl.Series, form: Literal["csv", "jsonl", "parquet"]) -> Typed:
    """The type of a column: of text in CSV any, of text in JSON Lines dates and times, of text in Parquet none but text.

    Raises UsageError for a column whose cells hold no single value (lists, structs, bytes, durations).
    """
    if series.dtype == pl.String:
        return _type_text(series, form)
    return Typed(series.name, *_known(series))


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


def _type_text(series: pl.Series, form: str) -> Typed:
    name = series.name
    distinct = series.drop_nulls().unique()
    if not len(distinct):
        return Typed(name, "text", series)
    kind = next((kind for kind, pattern in PATTERNS.items() if _reads_as(distinct, kind, pattern)), None)
    if kind and (form == "csv" or (form == "jsonl" and kind in TIMES)):
        return Typed(name, kind, parse(series, kind))
    if kind:
        return Typed(name, "text", series, looks=f"{distinct[0]} in quotes" if kind in (*TIMES, "number") else "")
    finite = distinct.filter(~distinct.is_in(INFINITE))
    if form == "csv" and 0 < len(finite) < len(distinct) and _reads_as(finite, "number", NUMBER):
        return Typed(name, "number", series.cast(pl.Float64))
    rest = distinct.filter(~distinct.is_in(MISSING))
    if form == "csv" and 0 < len(rest) < len(distinct) and _reads_as(rest, "number", NUMBER):
        words = tuple(sorted(set(distinct.to_list()) - set(rest.to_list())))
        return Typed(name, "number", parse(series, "number").fill_nan(None), missing=words)
    return Typed(name, "text", series, looks=_looks(rest))


def _reads_as(distinct: pl.Series, kind: Type, pattern: str) -> bool:
    """Whether all values match and parse. Integers beyond 64 bits do not read as numbers, which would round them."""
    if not distinct.str.contains(pattern).all():
        return False
    if kind == "number" and parse(distinct.filter(distinct.str.contains(DIGITS_ONLY)), "integer").null_count():
        return False
    parsed = parse(distinct, kind)
    return parsed.null_count() == 0 and (kind != "number" or bool(parsed.is_finite().all()))


def parse(series: pl.Series, kind: Type) -> pl.Series:
    """Text as values of a type, as ingestion parses it; null where it does not parse."""
    conversion = from_text(series.name, DTYPES[kind])
    assert conversion
    return series.to_frame().select(conversion.value.alias(series.name)).to_series()


def _looks(distinct: pl.Series) -> str:
    if not len(distinct):
        return ""
    days = distinct.str.head(10)
    for day_format, example in DAY_FORMATS.items():
        if days.str.to_date(day_format, strict=False).null_count() == 0:
            return example
    if not distinct.str.contains("[,$€£%:]").any():  # plain digits are codes
        return ""
    return next((example for example, pattern in OTHER_FORMATS.items() if distinct.str.contains(pattern).all()), "")

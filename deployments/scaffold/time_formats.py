"""Dates and times as people write them: one format, or few, under which every text of a column is one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import time
from functools import cache
from itertools import product
from typing import Literal

import polars as pl

from schemas.reader import ColumnFormat, says_zone

FIRST_YEAR, LAST_YEAR = 1700, 2200
DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m.%d.%Y", "%d-%m-%Y", "%m-%d-%Y",
    "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y", "%y/%m/%d",
    "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %b %y", "%d %B %Y", "%d. %B %Y", "%d/%b/%Y", "%Y-%b-%d", "%Y %b %d",
    "%b %d, %Y", "%b %d %Y", "%B %d, %Y", "%B %d %Y", "%b. %d, %Y", "%A, %B %d, %Y", "%a, %b %d, %Y", "%A, %d %B %Y",
    "%d%b%Y", "%Y%m%d", "%a, %d %b %Y", "%a %b %d %Y", "%A %d %B %Y", "%d %B, %Y",
)  # fmt: skip
MONTHS = ("%Y-%m", "%Y/%m", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%m/%Y", "%b %y")
CLOCKS = (
    "%H:%M", "%H:%M:%S", "%H:%M:%S%.f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%I:%M:%S%p", "%H.%M.%S", "%Hh%M",
)  # fmt: skip
JOINTS = (" ", "T", ", ", " at ", "  ", ":", "-", " - ")
ZONES = ("", "%#z", " %#z", " UTC", " GMT")
WHOLE = ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%d/%b/%Y:%H:%M:%S %z", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ")
DIGITS = {8: ("%Y%m%d", "%m%d%Y", "%d%m%Y"), 12: ("%Y%m%d%H%M",), 14: ("%Y%m%d%H%M%S",)}
EPOCHS = {10: "epoch_s", 13: "epoch_ms", 16: "epoch_us"}
LENGTHS = frozenset((*DIGITS, *EPOCHS))
NAMED_TIME = re.compile(r"(?i)time|date|stamp|epoch|_at$|^at$|_ts$|^ts$|created|updated|when|day$")
MOST_FORMATS = 3
EXAMPLES = 300

Kind = Literal["date", "moment", "utc", "clock"]


@dataclass(frozen=True)
class TimeFormats:
    """Formats under which all texts of a column are times, their type, and what may be read in two ways."""

    type: Kind
    formats: tuple[str, ...]
    seen: str
    confirm: str = ""
    time_zone: str | None = None

    @property
    def form(self) -> ColumnFormat:
        """The column's format."""
        return ColumnFormat(times=self.formats, time_zone=self.time_zone)


def find(distinct: pl.Series, name: str = "") -> TimeFormats | None:
    """The formats under which all texts are dates, times or clock times, or None.

    Args:
        distinct: Different texts, those that mean "no value" apart; ISO 8601 is not looked for.
        name: The column's name.

    Returns:
        The formats, the type of the values, and in words what was seen.
    """
    texts = distinct.str.strip_chars()
    if not texts.str.contains(r"\d").all() or texts.str.len_chars().max() > 40:  # type: ignore[operator]
        return None
    few = texts.head(EXAMPLES)
    if not few.str.contains(r"\d\D+\d|^[A-Za-z]{3,9}[ -]\d{2,4}$").all():
        return None
    for clock in CLOCKS if few.str.contains(r"^\d{1,2}[:.h]\d{2}([:.]\d{2}(\.\d+)?)?( ?[AaPp][Mm])?$").all() else ():
        if (
            few.str.to_time(clock, strict=False).null_count() == 0
            and texts.str.to_time(clock, strict=False).null_count() == 0
        ):
            return TimeFormats("clock", (clock,), f"clock times written {clock}")
    formats = _greedy(texts, few)
    return _decided(texts, formats, name) if formats else None


def _greedy(texts: pl.Series, few: pl.Series) -> tuple[str, ...]:
    """The format that reads the most texts, then the one that reads the most of the rest, until none is left."""
    chosen: list[str] = []
    rest = texts
    while len(rest) and len(chosen) < MOST_FORMATS:
        probe = few if not chosen else rest.head(EXAMPLES)
        best = max(_candidates(probe), key=lambda each: len(probe) - _moments(probe, each).null_count(), default=None)
        if best is None:
            return ()
        read = _moments(rest, best).is_not_null()
        if not read.any():
            return ()
        chosen.append(best)
        rest = rest.filter(~read)
    return tuple(chosen) if not len(rest) and (len(chosen) == 1 or len(texts) >= 10) else ()


def _candidates(probe: pl.Series) -> Iterator[str]:
    """Formats that read at least one of some texts, told by their first one's marks."""
    for text in dict.fromkeys(probe.head(3).to_list()):
        for each in _formats_like(_shape_of(text)):
            if _moments(probe.head(20), each).is_not_null().any():
                yield each


@cache
def _formats_like(shape: str) -> tuple[str, ...]:
    """Formats whose marks are those of a text's shape, in which digits are 0 and letters are a."""
    return tuple(each for each in _all_formats() if _shape(each) == shape)


@cache
def _all_formats() -> tuple[str, ...]:
    moments = (f"{d}{joint}{clock}{zone}" for d, joint, clock, zone in product(DATES, JOINTS, CLOCKS, ZONES))
    return (*DATES, *MONTHS, *WHOLE, *moments)


def _shape_of(text: str) -> str:
    without_offset = re.sub(r"(:\d{2}(?:\.\d+)?)(\s?)(Z|[+-]\d{2}:?\d{2})$", r"\1\2z", text)
    return re.sub(r"[A-Za-z]+", "a", re.sub(r"\d+", "0", without_offset))


def _shape(written: str) -> str:
    text = re.sub(r"%[aAbBp]", "a", written.replace("%.f", ".0"))
    text = re.sub(r"%#?z", "z", text)
    return re.sub(r"(?<!%)[A-Za-z]+", "a", re.sub(r"%[A-Za-z]", "0", text))


def _moments(texts: pl.Series, written: str) -> pl.Series:
    try:
        moments = texts.str.to_datetime(written, strict=False, time_unit="us")
    except pl.exceptions.PolarsError:
        return pl.repeat(None, len(texts), dtype=pl.Datetime("us"), eager=True)
    if "%y" in written:  # two digits, or it is no year
        moments = moments.to_frame("m").select(pl.when(texts.str.len_chars() >= 6).then(pl.col("m"))).to_series()
    years = moments.dt.year()
    return moments.to_frame("m").select(pl.when(years.is_between(FIRST_YEAR, LAST_YEAR)).then(pl.col("m"))).to_series()


def _decided(texts: pl.Series, formats: Sequence[str], name: str) -> TimeFormats:
    """The type, and day before month or the other way round where both can be."""
    swapped = [_swapped(each) for each in formats]
    confirm = ""
    both = all(other and _moments(texts, other).null_count() == 0 for other in swapped) and len(formats) == 1
    if both:
        formats, confirm = _likelier(texts, formats[0], str(swapped[0]))
    moments = pl.concat([_moments(texts, each).drop_nulls().dt.replace_time_zone(None) for each in formats])
    zones = {says_zone(each) for each in formats}
    midnight = bool((moments.dt.time() == time(0)).all()) if len(moments) else False
    seen = f"times written {', '.join(formats)}"
    if zones == {True, False}:
        return TimeFormats("utc", tuple(formats), f"{seen}; without an offset they are read as UTC", confirm, "UTC")
    kind: Kind = "utc" if zones == {True} else "date" if midnight else "moment"
    return TimeFormats(kind, tuple(formats), seen, confirm)


def _swapped(written: str) -> str | None:
    """The same format with day and month in each other's place, where both are numbers."""
    if "%d" not in written or "%m" not in written or written.startswith("%Y"):
        return None
    return written.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")


def _likelier(texts: pl.Series, one: str, other: str) -> tuple[tuple[str], str]:
    """Of two orders the one under which the days lie closer together; else day first, but with slashes month first."""
    gaps = {each: max(_moments(texts, each).dt.date().sort().diff().dt.total_days()[1:], default=0) for each in (one, other)}
    usual = next(each for each in (one, other) if each.startswith("%m") == ("/" in each))
    best = min(gaps, key=lambda each: (gaps[each], each != usual))
    unlike = other if best == one else one
    example = texts[0]
    return (best,), f"{example!r} is read as {best}; or is it {unlike}?"


def of_digits(distinct: pl.Series, name: str) -> TimeFormats | None:
    """Dates written as digits alone: 20240131, and seconds since 1970 in a column that is named like a time."""
    if not distinct.str.contains(r"^\d+$").all():
        return None
    lengths = distinct.str.len_chars().unique().to_list()
    if len(lengths) != 1 or len(distinct) < 3:
        return None
    for written in DIGITS.get(lengths[0], ()):
        moments = _moments(distinct, written)
        years = moments.dt.year()
        if moments.null_count() == 0 and years.is_between(1900, 2100).all():
            kind: Kind = "date" if "%H" not in written else "moment"
            return TimeFormats(kind, (written,), f"dates written {written}")
    if lengths == [5] and NAMED_TIME.search(name) and distinct.cast(pl.Int64).is_between(25_000, 60_000).all():
        return TimeFormats("date", ("excel_days",), "days as a spreadsheet numbers them")
    epoch = EPOCHS.get(lengths[0])
    if epoch and NAMED_TIME.search(name):
        return TimeFormats("moment", (epoch,), f"times as {epoch.replace('_', ' in ')} since 1970")
    return None


def of_numbers(series: pl.Series) -> TimeFormats | None:
    """The same for a column of whole numbers."""
    distinct = series.drop_nulls().unique().cast(pl.String)
    return of_digits(distinct, series.name) if len(distinct) else None

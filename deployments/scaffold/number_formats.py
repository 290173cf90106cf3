"""Numbers as people write them: thousands, decimal commas, money, per cent, units, and losses in parentheses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import polars as pl

from schemas.reader import ColumnFormat, Reader
from tasks.parsing import from_written

CURRENCIES = (
    "$", "€", "£", "¥", "₹", "USD", "EUR", "GBP", "CHF", "JPY", "CAD", "AUD", "INR", "CNY", "SEK", "NOK", "DKK", "PLN",
    "BRL", "NZ$", "HK$", "S$", "RM", "₺", "₽", "₩", "₫", "฿", "₴", "₪", "Kč", "Ft",
    "R", "US$", "C$", "A$", "R$", "kr", "zł", "Rs", "Rs.", "Fr.",
)  # fmt: skip
APOSTROPHE = "\u2019"
SPACES = " \u00a0\u202f\u2009"  # plain, no-break, narrow and thin
PARTS = re.compile(
    rf"^(?P<open>\()?\s*(?P<sign>[-+])?\s*(?P<before>[^\d\s.,()+-]+\.?)?(?P<gap>\s*)(?P<sign2>[-+])?"
    rf"(?P<digits>[\d.,'{APOSTROPHE}{SPACES}]*\d[.,]?)(?P<gap2>\s*)(?P<after>[^\d\s.,()+-][^\d\s()+,-]*)?\s*(?P<close>\))?$"
)
LONGEST_UNIT = 8
ORDINALS = {"st", "nd", "rd", "th"}
CREDITS = {"cr", "dr"}  # beside an amount: a sign, not a unit
LIMIT = re.compile(r"(?P<below>[<>\u2264\u2265~]=?)?\s*-?\d[\d.,]*\s*(?P<above>\+)?")
SCALES = {"k", "m", "b", "bn", "mm", "mio", "mrd", "million", "billion", "thousand", "tsd"}
EXAMPLES = 400


@dataclass(frozen=True)
class NumberFormat:
    """How all numbers of a column are written, and what may be read in two ways."""

    type: Literal["integer", "number"]
    form: ColumnFormat
    seen: str
    confirm: str = ""


def find(distinct: pl.Series) -> NumberFormat | None:
    """The format under which all texts are numbers, or None: codes, several units and ordinals are no numbers.

    Args:
        distinct: Different texts, those that mean "no value" apart.

    Returns:
        The format, and in words what was seen.
    """
    few = distinct.head(EXAMPLES).to_list()
    matches = [PARTS.fullmatch(text.strip()) for text in few]
    if not few or not all(matches):
        return None
    parts = [match for match in matches if match]
    units = {unit for match in parts for unit in (match["before"], match["after"]) if unit}
    if not _are_units(units, parts):
        return None
    for decimal, thousands in _marks([match["digits"].strip() for match in parts]):
        form = ColumnFormat(
            decimal=decimal if decimal != "." else None,
            thousands=thousands,
            units=tuple(sorted(units)),
            parentheses=any(match["open"] for match in parts),
        )
        values = _numbers(distinct, form)
        if values.null_count() == 0:
            return _named(values, form, parts, decimal, thousands, distinct)
    return None


def why_text(distinct: pl.Series) -> str:
    """Why texts that begin or end with numbers are none, with examples: several units, limits, credits; or ''."""
    texts = [text.strip() for text in distinct.head(EXAMPLES).to_list()]
    limits = [match for match in map(LIMIT.fullmatch, texts) if match]
    limited = [match[0] for match in limits if match["below"] or match["above"]]
    if limited and len(limits) == len(texts) > len(limited):
        return f"numbers with limits ({', '.join(limited[:3])}) are read as text"
    parts = [match for match in map(PARTS.fullmatch, texts) if match]
    signed = [match[0] for match in parts if (match["after"] or "").lower().rstrip(".") in CREDITS]
    if signed and len(parts) == len(texts):
        return f"amounts with a word for their sign ({', '.join(signed[:3])}) are read as text"
    example = _several_units(parts) if len(parts) == len(texts) else ""
    return f"numbers in several units ({example}) are read as text" if example else ""


def _several_units(parts: list[re.Match[str]]) -> str:
    """Examples of numbers whose units differ, such as 218g and 1.3kg, or ''."""
    by_unit = {(match["after"] or match["before"] or ""): match[0] for match in parts}
    if len(by_unit) > 1 and by_unit.keys() <= {*CURRENCIES, ""}:
        return ", ".join(list(by_unit.values())[:3])
    if not 1 < len(by_unit) <= 6 or any(match["before"] and not match["gap"] for match in parts):
        return ""
    return ", ".join(list(by_unit.values())[:3]) if "" not in by_unit or len(by_unit) > 2 else ""


def _numbers(distinct: pl.Series, form: ColumnFormat) -> pl.Series:
    conversion = from_written(distinct.name, pl.Float64(), Reader(strip=True, columns={distinct.name: form}))
    assert conversion
    return distinct.to_frame().select(conversion.value.alias(distinct.name)).to_series()


def _are_units(units: set[str], parts: list[re.Match[str]]) -> bool:
    """Whether what stands beside the numbers is one unit: not a code's letters, not several units, no scale, no ordinal."""
    if len(units) > 1 or any(len(unit) > LONGEST_UNIT for unit in units):
        return False
    lower = {unit.lower().rstrip(".") for unit in units}
    if lower & CREDITS or (lower & (ORDINALS | SCALES) and "m" not in units):
        return False
    money = bool(units) and units <= {*CURRENCIES, "%"}
    if any(match["before"] and not match["gap"] for match in parts) and not money:
        return False  # T123 is a code
    zeros = [match for match in parts if re.match(r"0\d", match["digits"])]
    if zeros:
        return False
    return (
        money
        or bool(units)
        or any(re.search(rf"[.,'{APOSTROPHE}{SPACES}]", match["digits"]) or match["open"] for match in parts)
    )


def _marks(numbers: list[str]) -> list[tuple[str, str | None]]:
    """Pairs of decimal mark and thousands mark that may be meant, the likeliest first."""
    points, commas = any("." in n for n in numbers), any("," in n for n in numbers)
    other = next((mark for mark in ("'", APOSTROPHE, *SPACES) if any(mark in n for n in numbers)), None)
    if other:
        return [(",", other), (".", other)] if commas else [(".", other), (",", other)]
    if points and commas:
        return [(".", ","), (",", ".")]
    if commas:
        grouped = all(re.fullmatch(r"\d{1,3}(,\d{3})+|\d{1,3}", n) for n in numbers)
        return [(".", ","), (",", None)] if grouped else [(",", None), (".", ",")]
    if points:
        several = any(n.count(".") > 1 for n in numbers)
        return [(",", "."), (".", None)] if several else [(".", None)]
    return [(".", None)]


def _named(
    values: pl.Series,
    form: ColumnFormat,
    parts: list[re.Match[str]],
    decimal: str,
    thousands: str | None,
    distinct: pl.Series,
) -> NumberFormat:
    seen = [f"numbers with {', '.join(map(repr, form.units))}" if form.units else "numbers"]
    seen += [f"decimal mark {decimal!r}"] if decimal != "." else []
    seen += [f"thousands parted by {thousands!r}"] if thousands else []
    seen += ["losses in parentheses"] if form.parentheses else []
    numbers = [match["digits"].strip() for match in parts]
    two_ways = thousands in (",", ".") and not any(decimal in n for n in numbers)
    grouped = [at for at, number in enumerate(numbers) if thousands and thousands in number]
    always = two_ways and grouped and all(re.fullmatch(r"\d{1,3}[.,]\d{3}", numbers[at]) for at in grouped)
    at = grouped[0] if grouped else 0
    confirm = f"{distinct[at]!r} is read as {values[at]:,.0f}; or is {thousands!r} a decimal mark?" if always else ""
    whole = not any(decimal in n for n in numbers) and bool((values == values.round(0)).all())
    return NumberFormat("integer" if whole and "%" not in form.units else "number", form, ", ".join(seen), confirm)

"""What the values of a column are like: counted once, read by everything that guesses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from deployments.scaffold.type_inference import TIMES, Type, Typed

CLOSED_SET = 12
CATEGORIES = 400
SENTENCES = 50  # fewer different texts are categories, however long they are
ROWS_PER_VALUE = 30
COVERED = 0.2
TEXT_WORDS, TEXT_CHARACTERS = 4.0, 40.0
SHAPE_VALUES, PARTS = 20, 12
KNOWN_SHAPES = {
    "UUIDs": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
    "e-mail addresses": r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
}
RUNS = {"9": "[0-9]", "A": "[A-Z]", "a": "[a-z]"}
RUN_TOGETHER = re.compile(
    r"(cust|customer|user|member|client|order|patient|person|acct|account|emp|employee|product|item|store|student|session|"
    r"trip|loan|case|ticket|invoice|row|record|respondent|subject|policy|claim|device|sensor|movie|film|song|track)(id|no|nr|num)"
)
ID_WORDS = {"id", "ids", "key", "uuid", "guid", "nr", "no", "number", "num", "code", "ref", "reference", "identifier", "#"}


@dataclass(frozen=True)
class Profile:
    """One column's facts. `values` are typed; `missing` words among them are null."""

    typed: Typed

    @property
    def name(self) -> str:
        """The column's name in the file."""
        return self.typed.name

    @property
    def type(self) -> Type:
        """The type of its values."""
        return self.typed.type

    @property
    def values(self) -> pl.Series:
        """Its values, typed."""
        return self.typed.values

    @cached_property
    def rows(self) -> int:
        """How many values it has: rows without those where nothing stands."""
        return len(self.values) - self.nulls

    @cached_property
    def nulls(self) -> int:
        """Rows where nothing stands."""
        return self.values.null_count()

    @cached_property
    def distinct(self) -> int:
        """How many different values it has."""
        return int(self.values.drop_nulls().n_unique())

    @property
    def is_text(self) -> bool:
        """Whether its values are text."""
        return self.type == "text"

    @property
    def is_time(self) -> bool:
        """Whether its values are dates or times with a date."""
        return self.type in TIMES

    @property
    def is_numeric(self) -> bool:
        """Whether its values are numbers, flags apart."""
        return self.type in ("integer", "number", "decimal")

    @cached_property
    def extremes(self) -> tuple[Any, Any]:
        """Its smallest and largest finite number, None where there is none."""
        numbers = self.values.cast(pl.Float64) if self.type == "decimal" else self.values.drop_nulls()
        finite = numbers.filter(numbers.is_finite()) if numbers.dtype.is_float() else numbers
        return finite.min(), finite.max()

    @cached_property
    def not_finite(self) -> int:
        """How many of its numbers are NaN or infinite."""
        return int((~self.values.is_finite()).sum()) if self.type == "number" else 0

    @cached_property
    def named_id(self) -> bool:
        """Whether its name says that it identifies something: customer_id, orderNo, Ticket Number."""
        words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", self.name)
        tokens = re.split(r"[\W_]+", words.lower().strip(" _"))
        return self.name.strip() == "#" or tokens[-1] in ID_WORDS or RUN_TOGETHER.fullmatch(tokens[-1]) is not None

    @cached_property
    def counts(self) -> list[tuple[object, int]]:
        """Values and how often each stands there, most frequent first, ties in the order of the values."""
        return _counts(self.values)

    def examples(self, most: int) -> list[object]:
        """Some of its values: the most frequent of the first thousands of rows."""
        return [value for value, _ in _counts(self.values.drop_nulls().head(10_000))[:most]]

    @cached_property
    def is_free_text(self) -> bool:
        """Whether it holds sentences: many different texts, of four words or forty characters on average."""
        if not self.is_text or self.distinct < max(2, min(SENTENCES, self.rows // 2)):
            return False
        values = self.values.drop_nulls()
        words = _mean(values.str.count_matches(r"\s+")) + 1
        return words >= TEXT_WORDS or (self.mean_length >= TEXT_CHARACTERS and not self.shape)

    @property
    def mean_length(self) -> float:
        """Mean number of characters of a text."""
        return _mean(self.values.drop_nulls().str.len_chars())

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Values of a column of few texts, sorted; of one with many, the most frequent; none where they hardly repeat."""
        if not self.is_text or self.distinct < 2 or self.is_free_text:
            return ()
        if self.distinct <= CATEGORIES:
            few = self.distinct * 2 <= self.rows
            return tuple(sorted(str(v) for v, _ in self.counts)) if few else ()
        top = [(str(v), n) for v, n in self.counts[:CATEGORIES] if n >= 5]
        return tuple(sorted(v for v, _ in top)) if sum(n for _, n in top) >= COVERED * self.rows else ()

    @property
    def is_closed(self) -> bool:
        """Whether its few values are likely all there are: each stands there often."""
        return 0 < len(self.categories) == self.distinct <= CLOSED_SET and self.rows >= ROWS_PER_VALUE * self.distinct

    @cached_property
    def shape(self) -> str:
        """A regular expression of the form that all its texts share, or ''."""
        values = self.values.drop_nulls().unique()
        if not self.is_text or len(values) < SHAPE_VALUES:
            return ""
        known = (pattern for pattern in KNOWN_SHAPES.values() if values.str.contains(pattern).all())
        return next(known, "") or _shape(values)

    @property
    def is_personal(self) -> bool:
        """Whether its values are e-mail addresses, which do not belong in receipts."""
        return self.shape == KNOWN_SHAPES["e-mail addresses"]


def _shape(values: pl.Series) -> str:
    """Runs of digits and letters, fixed in length where all are: `^T-[0-9]{6}$`. '' without digits or a fixed length."""
    template = _collapse(values, {"[0-9]": "9", "[A-Z]": "A", "[a-z]": "a"})
    fixed = template.n_unique() == 1
    forms = (template if fixed else _collapse(template, {"9+": "9", "A+": "A", "a+": "a"})).unique()
    if len(forms) > 1 or not (fixed or "9" in forms[0]):
        return ""
    parts = [m.group() for m in re.finditer(r"9+|A+|a+|[^9Aa]+", forms[0])]
    if len(parts) > PARTS:
        return ""
    groups = values.str.extract_groups("^" + "".join(_group(p) for p in parts) + "$").struct.unnest()
    return "^" + "".join(_piece(groups.to_series(i), part) for i, part in enumerate(parts)) + "$"


def _group(part: str) -> str:
    return f"({RUNS[part[0]]}+)" if part[0] in RUNS else f"({escape(part)})"


def _piece(values: pl.Series, part: str) -> str:
    if part[0] not in RUNS or (part[0] != "9" and values.n_unique() == 1):
        return escape(str(values[0]))
    lengths = values.str.len_chars()
    if lengths.min() != lengths.max():
        return RUNS[part[0]] + "+"
    return RUNS[part[0]] + (f"{{{lengths[0]}}}" if lengths[0] > 1 else "")


def escape(text: str) -> str:
    """Text as a regular expression of itself; only what has a meaning there is escaped."""
    return re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text)


def _collapse(values: pl.Series, replacements: dict[str, str]) -> pl.Series:
    for pattern, letter in replacements.items():
        values = values.str.replace_all(pattern, letter)
    return values


def _counts(values: pl.Series) -> list[tuple[object, int]]:
    counted = values.drop_nulls().alias("value").value_counts(name="count")
    return [tuple(row) for row in counted.sort(["count", "value"], descending=[True, False]).rows()]


def _mean(numbers: pl.Series) -> float:
    return float(numbers.sum()) / max(len(numbers), 1)

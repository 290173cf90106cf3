"""Columns that tell the outcome too well: what is strong and speaks of a leak is for a person to confirm.

Strong alone is a warning, for some problems are separable by nature. A column is for a person to confirm where what it says
is the outcome in other words, or where it is filled for one outcome only, follows the order of a sorted file, is later than
the event, or is strong under a name that speaks of the outcome.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from schemas.verdicts import Kind, Leak
from tasks.evaluation.column_strength import BINS, as_numbers, strength

MOST_REPEATED = 0.05  # of rows that are there twice: more are worth a word
QUESTION = "known before the outcome?"
MOST_ROWS, LEAST_ROWS = 20_000, 40
PURE = 0.995  # of a pattern: a few rows may be wrong
CHANCE = 1e-9  # a pattern that chance makes more often is none
NEAR, STRONG = 0.85, 0.98  # AUC: enough beside a name; enough for a warning
NEAR_R2, STRONG_R2 = 0.7, 0.97
SAME_ORDER = 0.9995  # rank correlation
LATER = 0.01  # share of the rows
PLANNED = re.compile(r"due|expir|deadline|plan|sched|promis|until|expect|birth|next")
SPEAKS = re.compile(
    r"outcome|result|status|final|reason|closed|closing|cancel|refund|churn|default|chargeback|resol|actual|label|target|"
    r"decision|approv|settle|returned|exit|leav|terminat|discharg|died|death|deceased|alive|surviv|predict|verdict|after|"
    r"post_|_end|end_|lost|won|paid|collect|recover|complet"
)
COMMON = {"type", "name", "class", "date", "time", "code", "number", "value", "total", "count", "rate", "amount"}


@dataclass(frozen=True)
class _Target:
    """The outcome as numbers: a class's position, or the value."""

    name: str
    kind: Kind
    y: np.ndarray
    words: tuple[str, ...]

    @property
    def classes(self) -> int:
        return len(self.words)

    def word(self, code: float) -> str:
        return self.words[int(code)] if self.words else f"{code:g}"


def find_leaks(
    frame: pl.DataFrame,
    target: str,
    kind: Kind,
    *,
    time: str | None = None,
    ignore: Collection[str] = (),
    ordered: bool = True,
) -> tuple[Leak, ...]:
    """What each column of some rows says of the outcome that it should not.

    Args:
        frame: Typed rows, in the order of their file; more than 20,000 are thinned out.
        target: Column of the outcome; rows where it is null do not count.
        kind: binary, multiclass or regression.
        time: Column of the event time; a time column that is later than it is known only afterwards.
        ignore: Columns that are not judged: the key, and what no model reads.
        ordered: Whether the order of the rows is that in which they were delivered.

    Returns:
        The findings, in the order of the columns; at most one a column.
    """
    rows = frame.filter(pl.col(target).is_not_null())
    rows = rows.gather_every(max(1, rows.height // MOST_ROWS))
    if rows.height < LEAST_ROWS:
        return ()
    outcome = _target(rows[target], kind)
    judged = [_judge(rows, name, outcome, time, ordered) for name in rows.columns if name not in {target, time, *ignore}]
    return tuple(leak for leak in judged if leak)


def repeated_rows(frame: pl.DataFrame, columns: Collection[str]) -> float:
    """Share of the rows that repeat an earlier one, beyond what chance would repeat of such columns.

    Args:
        frame: Rows.
        columns: Columns that are compared: all but the key.

    Returns:
        The share, 0 where chance explains it: where the columns, each shuffled for itself, repeat a third as much.
    """
    rows = frame.select(columns)
    if not rows.width or not rows.height:
        return 0.0
    share = _repeated(rows)
    return share if share and share > 3 * _repeated(_shuffled(rows)) else 0.0


def _repeated(rows: pl.DataFrame) -> float:
    """Share of rows whose 64-bit hash stands before them; among a million different rows two are alike once in 4e7 runs."""
    return 1 - rows.hash_rows().n_unique() / rows.height


def shared_rows(one: pl.DataFrame, other: pl.DataFrame) -> float:
    """Share of the rows of one frame that equal a row of another, beyond what chance would make equal.

    Args:
        one: Rows.
        other: Rows with the same columns, whose share is asked for.

    Returns:
        The share, 0 where chance explains it: where rows whose columns are each shuffled agree a third as much.
    """
    if not other.height:
        return 0.0
    share = _share_in(one, other)
    return share if share > 3 * _share_in(one, _shuffled(other)) else 0.0


def _share_in(one: pl.DataFrame, other: pl.DataFrame) -> float:
    return other.join(one.unique(), on=other.columns, how="semi", nulls_equal=True).height / other.height


def _shuffled(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame([s.sample(fraction=1.0, shuffle=True, seed=n) for n, s in enumerate(rows.get_columns())])


def _target(values: pl.Series, kind: Kind) -> _Target:
    if kind == "regression":
        return _Target(values.name, kind, values.cast(pl.Float64).to_numpy(), ())
    words = values.cast(pl.String)
    known = words.unique().sort()
    codes = words.cast(pl.Enum(known)).to_physical().to_numpy().astype(np.float64)
    return _Target(values.name, kind, codes, tuple(known))


def _judge(rows: pl.DataFrame, name: str, target: _Target, time: str | None, ordered: bool) -> Leak | None:
    column = rows[name]
    if column.dtype.is_nested() or column.n_unique() < 2:
        return None
    if time and (why := _later(column, rows[time])):
        return Leak(column=name, confirm=True, why=why)
    best, mean = strength(column, target.y, target.classes)
    if why := next(_signs(column, target, ordered), "") or _named(name, target, best):
        return Leak(column=name, confirm=True, why=why, strength=round(mean, 4))
    if mean >= (STRONG if target.classes else STRONG_R2):
        metric = "AUC" if target.classes else "R2"
        return Leak(column=name, confirm=False, why=f"tells {target.name} almost alone ({metric} {mean:.3f})", strength=mean)
    return None


def _signs(column: pl.Series, target: _Target, ordered: bool) -> Iterator[str]:
    """Patterns that no honest column has, as phrases."""
    numbers = as_numbers(column)
    yield from filter(None, (_same_words(column, target), _filled(column, target)))
    if numbers is not None:
        if ordered:
            yield from filter(None, (_order(numbers, target),))
        yield from filter(None, (_same_number(numbers, target), _default(numbers, target), _threshold(numbers, target)))


def _later(column: pl.Series, event: pl.Series) -> str:
    if not column.dtype.is_temporal() or column.dtype != event.dtype or PLANNED.search(column.name.lower()):
        return ""
    later = int((column > event).sum())
    return f"later than {event.name} in {later:,} rows" if later > LATER * len(column) else ""


def _named(name: str, target: _Target, best: float) -> str:
    if best < (NEAR if target.classes else NEAR_R2):
        return ""
    ours, theirs = _words(name), {word for word in _words(target.name) if len(word) > 3} - COMMON
    shared = next((word for word in ours if any(word.startswith(t[:5]) or t == word for t in theirs)), "")
    metric = "AUC" if target.classes else "R2"
    if shared or SPEAKS.search(name.lower()):
        return f"its name speaks of the outcome, and it tells {target.name} ({metric} {best:.3f})"
    return ""


def _words(name: str) -> list[str]:
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [word for word in re.split(r"[\W_]+", spaced.lower()) if word]


def _same_words(column: pl.Series, target: _Target) -> str:
    """The classes under other names: one value for each class, one class for each value."""
    if not target.classes:
        return ""
    pairs = pl.DataFrame({"value": column, "y": target.y}).drop_nulls()
    if pairs.height < max(LEAST_ROWS, PURE * len(column)) or pairs["value"].n_unique() != target.classes:
        return ""
    counts = pairs.group_by("value", "y").len().sort("len", descending=True).unique("value", keep="first")
    whole = counts["y"].n_unique() == target.classes and counts["len"].sum() >= PURE * pairs.height
    return f"says {target.name} in other words, one value for each class" if whole else ""


def _filled(column: pl.Series, target: _Target) -> str:
    """Filled, or empty, for one outcome only."""
    empty = column.is_null().to_numpy()
    if 0 < empty.sum() < len(empty):
        for part, word in ((~empty, "filled"), (empty, "empty")):
            if (only := _only(part, target)) is not None:
                return f"{word} only where {target.name} is {target.word(only)}"
    return ""


def _only(part: np.ndarray, target: _Target) -> float | None:
    """The one outcome of some rows, where the others have others and chance would not have it so."""
    values, counts = np.unique(target.y[part], return_counts=True)
    if not values.size:
        return None
    most = values[counts.argmax()]
    share = float((target.y == most).mean())
    inside = counts.max() / counts.sum()
    sure = part.sum() >= 10 and share < 1 and part.sum() * np.log(share) < np.log(CHANCE)
    return float(most) if inside >= PURE and sure else None


def _same_number(numbers: np.ndarray, target: _Target) -> str:
    """A number in the same order as the target: the target times something, rounded, or in another unit."""
    both = np.isfinite(numbers)
    if target.classes or both.mean() < PURE:
        return ""
    x, y = numbers[both], target.y[both]
    if np.unique(x).size <= BINS or abs(_rank_correlation(x, y)) < SAME_ORDER:
        return ""
    line = np.polyfit(x, y, 1)
    exact = np.abs(np.polyval(line, x) - y).max() <= 1e-3 * np.ptp(y)
    return f"says {target.name} in {'another unit' if exact else 'other words: both have one order'}"


def _default(numbers: np.ndarray, target: _Target) -> str:
    """One number wherever the outcome is one thing, other numbers wherever it is another."""
    finite = numbers[np.isfinite(numbers)]
    values, counts = np.unique(finite, return_counts=True)
    if values.size <= max(2, target.classes):
        return ""
    usual = values[counts.argmax()]
    only, other = _only(numbers == usual, target), _only(numbers != usual, target)
    if other is None and target.classes != 2:
        other = _without(numbers != usual, target, only)
    return f"{usual:g} just where {target.name} is {target.word(only)}" if only is not None and other is not None else ""


def _without(part: np.ndarray, target: _Target, only: float | None) -> float | None:
    """Of several outcomes: whether hardly any of these rows has that one."""
    return only if only is not None and (target.y[part] == only).mean() <= 1 - PURE else None


def _threshold(numbers: np.ndarray, target: _Target) -> str:
    """Two classes with a gap between them, or several one above the other: cuts of the number are the outcome."""
    both = np.isfinite(numbers)
    if not target.classes or both.mean() < PURE or np.unique(numbers[both]).size <= BINS:
        return ""
    x, y = numbers[both], target.y[both]
    spans = sorted((x[y == code].min(), x[y == code].max()) for code in np.unique(y))
    apart = all(last[1] < first[0] for last, first in pairwise(spans))
    return f"a threshold of it is {target.name}" if apart and len(spans) == target.classes else ""


def _order(numbers: np.ndarray, target: _Target) -> str:
    """The row's place in a file that is sorted by the outcome."""
    place = np.arange(numbers.size, dtype=np.float64)
    if np.isnan(numbers).any() or abs(_rank_correlation(numbers, place)) < SAME_ORDER:
        return ""
    tells = strength(pl.Series("place", place), target.y, target.classes)[1]
    sorted_ = tells >= (STRONG if target.classes else STRONG_R2)
    return f"counts the rows of a file that is sorted by {target.name}" if sorted_ else ""


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's."""
    ranks = [pl.Series(values).rank("average").to_numpy() for values in (x, y)]
    return float(np.corrcoef(ranks)[0, 1]) if min(np.ptp(r) for r in ranks) > 0 else 0.0

"""Compression: two marginals of any size as small frames that Evidently scores and draws as it would score all rows.

    Wasserstein on numbers             some thousand rows: means of bins of equal mass (not quantile points: they bend heavy
                                       tails), and one row that both sides share and that restores the standard deviation
    PSI, Jensen-Shannon on numbers     the bins that Evidently would draw over all rows, as categories
    PSI, Jensen-Shannon on categories  proportional counts by largest remainder; all rows where there are few

Columns differ in length and are padded with nulls, which Evidently drops before it compares; shares of nulls are compared
apart. Frames are plain pandas: from Arrow-backed ones Evidently silently loses columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.features import CATEGORIES, Categories, Marginal, Numbers

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

ATOMS = 4999  # with the shared row 5,000: beyond, Evidently takes twice the time
CATEGORY_ROWS = 50_000  # category codes are cheap, and Jensen-Shannon is steep where shares are small
FEW = 20  # up to so many values, Evidently compares numbers value by value
OTHER = "(all others)"

Counts = NDArray[np.int64]
Column = tuple[NDArray[np.float64], list[str] | None]  # numbers, or category codes with their labels


@dataclass(frozen=True)
class Frames:
    """What Evidently compares, and which columns are which."""

    reference: pd.DataFrame
    window: pd.DataFrame
    numerical: tuple[str, ...]
    categorical: tuple[str, ...]


def frames(reference: Mapping[str, Marginal], window: Mapping[str, Marginal], method: str) -> Frames:
    """Frames of the columns of `reference` for a distance method: wasserstein (on numbers only), psi or jensenshannon.

    Each column has values on both sides and the same kind.
    """
    pairs = {name: _pair(reference[name], window[name], method) for name in reference}
    return Frames(
        reference=_frame({name: left for name, (left, _) in pairs.items()}),
        window=_frame({name: right for name, (_, right) in pairs.items()}),
        numerical=tuple(name for name, (left, _) in pairs.items() if left[1] is None),
        categorical=tuple(name for name, (left, _) in pairs.items() if left[1] is not None),
    )


def atoms(marginal: Numbers, rows: int = ATOMS) -> NDArray[np.float64]:
    """Means of `rows` slices of equal mass, in rising order, of shape (rows,).

    The integral of the quantile function is known at the ends of the bins and taken as linear between them.
    """
    mass = np.concatenate([[0], np.cumsum(marginal.count)])
    centred = np.concatenate([[0], np.cumsum(marginal.count * (marginal.means - marginal.mean))])
    cuts = np.linspace(0, marginal.values, rows + 1)
    means: NDArray[np.float64] = np.diff(np.interp(cuts, mass, centred)) * rows / marginal.values + marginal.mean
    return means


def balanced(
    reference: NDArray[np.float64], window: NDArray[np.float64], std: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both columns with one more row, the same, that gives the reference back the spread its slices have lost.

    Of equal mass on both sides, it changes no difference of distribution functions: the distance only shrinks by 1 - mass,
    and so does the standard deviation aimed at. Where slices have lost no more than that, nothing is added.
    """
    mass = 1 / (len(reference) + 1)
    missing = (1 - mass) * std**2 - reference.var()
    if missing <= 0:
        return reference, window
    centre = reference.mean()
    side = 1 if reference[-1] - centre >= centre - reference[0] else -1
    shared = centre + side * np.sqrt(missing / mass)
    return np.append(reference, shared), np.append(window, shared)


def proportional(counts: Counts, rows: int) -> Counts:
    """`rows` in proportion to counts, by largest remainder (Hamilton's method); ties go to the first."""
    quota = counts * (rows / counts.sum())
    whole: Counts = np.floor(quota).astype(np.int64)
    first = np.argsort(whole - quota, kind="stable")[: rows - whole.sum()]
    whole[first] += 1
    return whole


def histogram(reference: Numbers, window: Numbers) -> tuple[list[str], Counts, Counts]:
    """Labels and counts of the bins that Evidently's PSI and Jensen-Shannon would use on all rows.

    By value up to 20 values in the reference, else bins of equal width over both, as many as Sturges' rule gives.
    """
    if reference.distinct <= FEW:
        values = np.union1d(reference.upper, window.upper)
        counts = [_at(side, values) for side in (reference, window)]
        return [str(float(value)) for value in values], counts[0], counts[1]
    low, high = min(reference.low, window.low), max(reference.upper[-1], window.upper[-1])
    edges = np.linspace(low, high, int(np.ceil(np.log2(reference.values + window.values) + 1)) + 1)
    labels = [f"{i + 1:02d}: {a:.4g} to {b:.4g}" for i, (a, b) in enumerate(pairwise(edges))]
    return labels, _between(reference, edges), _between(window, edges)


def _pair(reference: Marginal, window: Marginal, method: str) -> tuple[Column, Column]:
    if isinstance(reference, Numbers) and isinstance(window, Numbers):
        if method == "wasserstein":
            left, right = balanced(atoms(reference), atoms(window), reference.std)
            order = np.random.default_rng(0).permutation(len(left))  # or Evidently's chart over rows shows a trend
            return (left[order], None), (right[order], None)
        labels, left_counts, right_counts = histogram(reference, window)
    elif isinstance(reference, Categories) and isinstance(window, Categories):
        labels, left_counts, right_counts = _aligned(reference, window)
    else:
        raise TypeError("a column is of one kind in the reference and of another in the window")
    return (_codes(left_counts), labels), (_codes(right_counts), labels)


def _codes(counts: Counts) -> NDArray[np.float64]:
    rows = min(int(counts.sum()), CATEGORY_ROWS)
    return np.repeat(np.arange(len(counts)), proportional(counts, rows)).astype(np.float64)


def _aligned(reference: Categories, window: Categories) -> tuple[list[str], Counts, Counts]:
    """Labels of either side and both counts. Categories that the reference had no room for are compared as one."""
    fresh = (label for label in window.counts if label not in reference.counts)
    labels = [*reference.counts, *islice(fresh, 0 if reference.other else CATEGORIES)]
    left, right = (np.array([side.counts.get(label, 0) for label in labels], np.int64) for side in (reference, window))
    rest = (reference.other, window.values - int(right.sum()))
    if any(rest):
        labels, left, right = [*labels, OTHER], np.append(left, rest[0]), np.append(right, rest[1])
    return labels, left, right


def _at(side: Numbers, values: NDArray[np.float64]) -> Counts:
    counts = np.zeros(len(values), np.int64)
    counts[np.searchsorted(values, side.upper)] = side.count
    return counts


def _between(side: Numbers, edges: NDArray[np.float64]) -> Counts:
    """Counts between edges, left ends included: exact but for bins that an edge cuts, which are taken as even inside."""
    before = np.concatenate([[0], np.cumsum(side.count)])
    lower = np.concatenate([[side.low], side.upper[:-1]])
    cut = np.searchsorted(side.upper, edges[1:-1])
    inside = np.clip(cut, 0, len(side.count) - 1)
    width = side.upper[inside] - lower[inside]
    even = (width > 0) & (side.means[inside] < side.upper[inside]) & (edges[1:-1] > lower[inside]) & (cut < len(side.count))
    part = np.where(even, (edges[1:-1] - lower[inside]) / np.where(width > 0, width, 1), 0.0)
    below = before[cut] + part * side.count[inside]
    counts: Counts = np.diff(np.rint(np.concatenate([[0], below, [side.values]])).astype(np.int64))
    return counts


def _frame(columns: Mapping[str, Column]) -> pd.DataFrame:
    import pandas as pd

    rows = max((len(values) for values, _ in columns.values()), default=0)
    padded = {}
    for name, (values, labels) in columns.items():
        full = np.full(rows, np.nan if labels is None else -1.0)
        full[: len(values)] = values
        padded[name] = (
            full if labels is None else pd.Categorical.from_codes(full.astype(int), pd.Index(labels, dtype=object))
        )
    return pd.DataFrame(padded)

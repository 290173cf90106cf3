"""How well one column alone tells the outcome."""

from __future__ import annotations

import numpy as np
import polars as pl

BINS, MOST_VALUES = 20, 50


def as_numbers(column: pl.Series) -> np.ndarray | None:
    """Values of a number or a time as float64, null as NaN; None for anything else.

    Args:
        column: Values of one column.

    Returns:
        float64, shape (n,), or None.
    """
    if column.dtype.is_numeric() or isinstance(column.dtype, pl.Decimal):
        return column.cast(pl.Float64).to_numpy()
    return column.to_physical().cast(pl.Float64).to_numpy() if column.dtype.is_temporal() else None


def strength(column: pl.Series, y: np.ndarray, classes: int) -> tuple[float, float]:
    """How well a column alone tells the outcome, on rows that it was not learned from.

    Numbers are cut into 20 bins of equal count, the 50 most frequent texts stand for themselves, nothing is a value of its
    own; each half of the rows is told by the means of the other.

    Args:
        column: Values of one column, n of them.
        y: Outcomes as float64, shape (n,): a class's position, or a number.
        classes: How many classes there are; 0 for a number.

    Returns:
        AUC of the class that is told best and the mean over the classes, or twice the R2.
    """
    codes = _codes(column)
    half = np.random.default_rng(0).permutation(codes.size) % 2 == 0
    told = [_told(codes, half, (y == each).astype(float) if classes else y) for each in range(max(classes, 1))]
    if not classes:
        rest, total = float(((y - told[0]) ** 2).sum()), float(((y - y.mean()) ** 2).sum())
        return (1 - rest / total, 1 - rest / total) if total > 0 else (0.0, 0.0)
    areas = [_auc(y == each, scores) for each, scores in enumerate(told)]
    return max(areas), float(np.mean(areas))


def _codes(column: pl.Series) -> np.ndarray:
    """The bin of each value, 0 where nothing stands."""
    numbers = as_numbers(column)
    if numbers is None:
        words = column.cast(pl.String).alias("value")
        top = words.drop_nulls().value_counts(sort=True)["value"].head(MOST_VALUES).to_list()
        return words.replace_strict({word: n + 2 for n, word in enumerate(top)}, default=1).fill_null(0).to_numpy()
    edges = np.unique(np.nanquantile(numbers, np.arange(1, BINS) / BINS))
    return np.where(np.isnan(numbers), 0, 1 + np.searchsorted(edges, numbers))


def _told(codes: np.ndarray, half: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean outcome of the same bin among the other half, drawn a little toward the mean of all."""
    scores = np.empty(y.size)
    for part in (half, ~half):
        counts = np.bincount(codes[~part], minlength=codes.max() + 1)
        sums = np.bincount(codes[~part], weights=y[~part], minlength=codes.max() + 1)
        scores[part] = ((sums + y.mean()) / (counts + 1))[codes[part]]
    return scores


def _auc(positive: np.ndarray, scores: np.ndarray) -> float:
    wins, p = pl.Series(scores).rank("average").to_numpy()[positive].sum(), int(positive.sum())
    return float((wins - p * (p + 1) / 2) / (p * (positive.size - p))) if 0 < p < positive.size else 0.5

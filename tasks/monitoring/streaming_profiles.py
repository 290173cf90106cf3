"""Marginals of windows too large to be sorted whole: one pass over batches counts in the reference's bins, a second refines.

    first pass    each batch is sorted and counted in the reference's bins, and beyond its ends; exact counts, sums, extremes
    second pass   bins that hold more than 1 / SHARE of the window, and more than one value, are cut into equal widths

Memory is that of a batch and of the bins. What is left of a bin's width is the rank error, and is stated: no quantile is
further off than the share of rows in the largest bin that holds more than one value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.features import CATEGORIES, LARGEST, Categories, Marginal, Numbers, summarize_columns

EXACT_ROWS = 10_000_000  # windows up to here are sorted whole
BATCH = 1_000_000  # rows
SHARE = 5_000
TEXTS = (pl.Boolean, pl.String, pl.Categorical, pl.Enum, pl.Null)

Floats = NDArray[np.float64]


def stream_marginals(
    window: pl.LazyFrame, known: Mapping[str, Marginal], names: Sequence[str], batch: int = BATCH
) -> tuple[dict[str, Marginal], float]:
    """Marginals of some columns of a window of any size, and the rank error reached, as a share of the rows.

    `known` holds the reference's marginals; columns that it lacks, or has of another kind, are summarised batch by batch as
    far as the kind allows and never compared. Raises UsageError for dates, lists and the like.
    """
    schema = window.collect_schema()
    summarize_columns(pl.DataFrame(schema=schema), names)  # the same refusals as of a small window
    first = {name: _Texts() if schema[name] in TEXTS else _Bins(_edges(known.get(name))) for name in names}
    _pass(window, names, first, batch)
    coarse = {name: bins for name, bins in first.items() if isinstance(bins, _Bins)}
    fine = {name: _Bins(edges) for name, bins in coarse.items() if len(edges := bins.refined()) > len(bins.edges)}
    if fine:
        _pass(window, list(fine), fine, batch)
    summaries = {**first, **fine}
    return {name: each.marginal() for name, each in summaries.items()}, max(
        (each.error() for each in summaries.values()), default=0.0
    )


def _pass(window: pl.LazyFrame, names: Sequence[str], into: Mapping[str, _Bins | _Texts], batch: int) -> None:
    for rows in _batches(window.select(names), batch):
        for name in names:
            into[name].add(rows[name])


def _batches(window: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Batches of at most so many rows; the engine may give larger ones."""
    for batch in window.collect_batches(chunk_size=rows, maintain_order=False):
        yield from batch.iter_slices(rows)


def _edges(known: Marginal | None) -> Floats:
    return known.upper if isinstance(known, Numbers) else np.empty(0)


@dataclass
class _Bins:
    """Counts between edges: bin i holds edges[i-1] < v <= edges[i]; the last one what is above all edges."""

    edges: Floats
    rows: int = 0
    count: NDArray[np.int64] = field(init=False)
    sums: Floats = field(init=False)
    low: Floats = field(init=False)
    high: Floats = field(init=False)
    squares: float = 0.0  # of values less `centre`
    centre: float = field(init=False)

    def __post_init__(self) -> None:
        size = len(self.edges) + 1
        self.count, self.sums = np.zeros(size, np.int64), np.zeros(size)
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)
        self.centre = float(self.edges[len(self.edges) // 2]) if len(self.edges) else 0.0

    def add(self, column: pl.Series) -> None:
        """Count one batch."""
        self.rows += len(column)
        values = np.sort(column.drop_nulls().cast(pl.Float64).to_numpy())
        values = values[np.searchsorted(values, -LARGEST) : np.searchsorted(values, LARGEST, side="right")]
        if not len(values):
            return
        ends = np.append(np.searchsorted(values, self.edges, side="right"), len(values))
        starts = np.concatenate([[0], ends[:-1]])
        held = np.flatnonzero(ends > starts)
        first, last = starts[held], ends[held]
        self.count[held] += last - first
        self.sums[held] += np.add.reduceat(values, first)
        self.low[held] = np.minimum(self.low[held], values[first])
        self.high[held] = np.maximum(self.high[held], values[last - 1])
        centred = values - self.centre
        self.squares += float(centred @ centred)

    def refined(self) -> Floats:
        """The edges, with more of them inside bins that hold too many rows."""
        most = self.count.sum() / SHARE
        wide = np.flatnonzero((self.count > most) & (self.low < self.high))
        cut = [np.linspace(self.low[i], self.high[i], int(np.ceil(self.count[i] / most)) + 1) for i in wide]
        return np.unique(np.concatenate([self.edges, *cut])) if cut else self.edges

    def error(self) -> float:
        """Share of the rows in the largest bin of more than one value."""
        wide = self.low < self.high
        return float(self.count[wide].max() / self.count.sum()) if wide.any() else 0.0

    def marginal(self) -> Numbers:
        """What a summary of all rows would be, as finely as the bins are."""
        held = self.count > 0
        values = int(self.count.sum())
        if not values:
            none = np.empty(0)
            return Numbers(self.rows, self.rows, 0, 0.0, 0.0, 0.0, none, none.astype(np.int64), none)
        mean = float(self.sums.sum() / values)
        variance = self.squares / values - (mean - self.centre) ** 2
        upper, low = self.high[held], self.low[held]
        return Numbers(
            rows=self.rows,
            nulls=self.rows - values,
            distinct=int(held.sum()) + int((low < upper).sum()),
            mean=mean,
            std=float(np.sqrt(max(variance, 0.0))),
            low=float(low[0]),
            upper=upper,
            count=self.count[held],
            means=np.where(low == upper, upper, self.sums[held] / self.count[held]),
        )


@dataclass
class _Texts:
    """Counts of categories; of those there is no room for, counts together."""

    rows: int = 0
    nulls: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    other: int = 0

    def add(self, column: pl.Series) -> None:
        """Count one batch."""
        self.rows += len(column)
        self.nulls += column.null_count()
        counted = column.alias("value").drop_nulls().value_counts(name="count").with_columns(pl.col("value").cast(pl.String))
        for label, count in counted.iter_rows():
            if label in self.counts or len(self.counts) < 100 * CATEGORIES:
                self.counts[label] = self.counts.get(label, 0) + count
            else:
                self.other += count

    def error(self) -> float:
        """Categories have no ranks."""
        return 0.0

    def marginal(self) -> Categories:
        """Counts, most frequent first."""
        ordered = dict(sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0])))
        return Categories(self.rows, self.nulls, ordered, self.other)


def marginals(
    window: pl.DataFrame | pl.LazyFrame, known: Mapping[str, Marginal], names: Sequence[str], rows: int
) -> tuple[dict[str, Marginal], float]:
    """Marginals of a window: exact up to EXACT_ROWS, streamed above."""
    if rows <= EXACT_ROWS:
        return summarize_columns(window.lazy().select(names).collect(), names), 0.0
    return stream_marginals(window.lazy(), known, names)

"""References: what a model was trained on, column by column, small enough to be stored with its version.

    numbers      bins between quantiles, each with its upper end, its count and the mean of its values
    categories   counts

A window is summarised by the same code, so that both sides of a comparison are rounded in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas import score_columns
from schemas.errors import UsageError
from schemas.usecase import UseCase
from tasks.features.engineering import TARGET

FORMAT = 1
BINS = 1000  # 5,000 bring a Wasserstein score no nearer, not even on heavy tails
CATEGORIES = 1000  # that a reference lists; the rows of all others are counted together
LARGEST = 1e150  # beyond it squares overflow


@dataclass(frozen=True)
class Numbers:
    """Marginal of a numeric column.

    Bin i holds the `count[i]` values v with upper[i-1] < v <= upper[i] (the first: low <= v), of mean `means[i]`. Where
    there are no more values than bins, each value has a bin of its own; a bin of one value has `means[i] == upper[i]`.
    `nulls` counts NaN and infinities as well.
    """

    rows: int
    nulls: int
    distinct: int
    mean: float
    std: float
    low: float
    upper: NDArray[np.float64]
    count: NDArray[np.int64]
    means: NDArray[np.float64]

    @property
    def values(self) -> int:
        """Rows that hold a number."""
        return self.rows - self.nulls


@dataclass(frozen=True)
class Categories:
    """Marginal of a categorical column: counts, most frequent first; a stored one lists CATEGORIES, `other` is the rest."""

    rows: int
    nulls: int
    counts: Mapping[str, int]
    other: int = 0

    @property
    def values(self) -> int:
        """Rows that hold a category."""
        return self.rows - self.nulls


Marginal = Numbers | Categories


def reference_profile(
    use_case: UseCase,
    designed: pl.DataFrame,
    target: pl.Series | None = None,
    scores: NDArray[np.floating[Any]] | None = None,
    *,
    bins: int = BINS,
) -> dict[str, Any]:
    """JSON document of the features, of the target (as `_target`) and of the model's scores (see score_columns).

    Args:
        use_case: The use case.
        designed: Designed rows, those that a model was fitted on.
        target: Their outcomes; None for none.
        scores: The model's scores of them, shape (n,), or (n, classes); None for none.
        bins: How many bins of equal count a numeric column is cut into.

    Returns:
        A document that JSON can hold; `read_profiles` reads it.

    Raises:
        UsageError: A feature is missing, or has a type that has no marginal here.
    """
    if missing := [name for name in use_case.features if name not in designed.columns]:
        raise UsageError(f"reference of {use_case.name}: no column {', '.join(missing)}; give designed rows")
    frame = designed.select(list(use_case.features))
    extra = [] if target is None else [target.alias(TARGET)]
    if scores is not None:
        extra += score_columns.to_columns(score_columns.internal_names(use_case.target), scores)
    marginals = summarize_columns(frame, frame.columns, bins) | {s.name: summarize_column(s, bins) for s in extra}
    return {
        "format_version": FORMAT,
        "use_case": use_case.name,
        "rows": designed.height,
        "columns": {name: _to_json(marginal) for name, marginal in marginals.items()},
    }


def read_profiles(document: Mapping[str, Any]) -> dict[str, Marginal]:
    """Marginals by column from a stored document.

    Args:
        document: What `reference_profile` gave, read from JSON.

    Returns:
        One marginal a column.

    Raises:
        UsageError: The document has a format that this release does not know.
    """
    if document.get("format_version") != FORMAT:
        raise UsageError(
            f"reference of format_version {document.get('format_version')!r}: this release reads {FORMAT}; train again"
        )
    return {name: _from_json(column) for name, column in document["columns"].items()}


def summarize_columns(frame: pl.DataFrame, names: Iterable[str], bins: int = BINS) -> dict[str, Marginal]:
    """Marginals of some columns, one after the other: on two cores, threads are no faster and need the memory of both.

    Args:
        frame: Designed rows.
        names: The columns.
        bins: How many bins of equal count a numeric column is cut into.

    Returns:
        One marginal a column.
    """
    return {name: summarize_column(frame[name], bins) for name in names}


def summarize_column(column: pl.Series, bins: int = BINS) -> Marginal:
    """Marginal of one column, exact in its counts. Raises UsageError for dates, lists and the like."""
    if column.dtype.is_numeric():
        return _numbers(column, bins)
    if has_marginal(column.dtype):
        return _categories(column)
    raise UsageError(
        f"column {column.name!r} is {column.dtype}: cast it to a number, text or category in the use case's features"
    )


def has_marginal(dtype: pl.DataType) -> bool:
    """Whether columns of a type can be summarised: numbers, flags, text and categories.

    Args:
        dtype: The type.

    Returns:
        Whether they can.
    """
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum, pl.Null)


def _numbers(column: pl.Series, bins: int) -> Numbers:
    values = _sorted(column)
    if not len(values):
        none = np.empty(0)
        return Numbers(len(column), len(column), 0, 0.0, 0.0, 0.0, none, none.astype(np.int64), none)
    ends, distinct = _cuts(values, bins)
    count = np.diff(ends, prepend=-1)
    starts = ends - count + 1
    upper = values[ends].astype(np.float64)
    sums = np.add.reduceat(values, starts, dtype=np.float64)
    mean = float(sums.sum() / len(values))
    centred = values - np.float64(mean)
    return Numbers(
        rows=len(column),
        nulls=len(column) - len(values),
        distinct=distinct,
        mean=mean,
        std=float(np.sqrt(centred @ centred / len(values))),
        low=float(values[0]),
        upper=upper,
        count=count,
        means=np.where(values[starts] == values[ends], upper, sums / count),
    )


def _sorted(column: pl.Series) -> NDArray[Any]:
    """Values in rising order, without nulls, NaN and what is too large to be squared."""
    if not (column.dtype.is_float() or column.dtype.is_signed_integer()) or column.dtype == pl.Int128:
        column = column.cast(pl.Float64)
    values = np.sort(column.drop_nulls().to_numpy())
    if column.dtype.is_integer():
        return values
    limit = values.dtype.type(
        min(LARGEST, float(np.finfo(values.dtype).max))
    )  # of the same type, or all values are converted
    return values[np.searchsorted(values, -limit) : np.searchsorted(values, limit, side="right")]


def _cuts(values: NDArray[Any], bins: int) -> tuple[NDArray[np.int64], int]:
    """Positions of the last values of the bins in sorted values, and the number of distinct values.

    Equal counts, then halves, quarters, ... of the outermost bins, where heavy tails lie; a value with more rows than a
    bin's share gets a bin of its own. Equal values are never parted.
    """
    steps = values[1:] != values[:-1]
    distinct = int(np.count_nonzero(steps)) + 1
    rows = len(values)
    if distinct <= bins:
        return np.append(np.flatnonzero(steps), rows - 1), distinct
    share = rows / bins
    tail = 2.0 ** np.arange(np.log2(share) + 1)
    wanted = np.concatenate([np.arange(1, bins) * share, tail, rows - tail, [rows]])
    picked = np.unique(values[np.clip(wanted - 1, 0, rows - 1).astype(np.int64)])
    before, after = np.searchsorted(values, picked), np.searchsorted(values, picked, side="right")
    alone = before[(after - before > share) & (before > 0)]
    return np.unique(np.concatenate([after, alone])) - 1, distinct


def _categories(column: pl.Series) -> Categories:
    counts = column.alias("value").drop_nulls().value_counts(name="count").with_columns(pl.col("value").cast(pl.String))
    pairs = counts.sort(["count", "value"], descending=[True, False]).iter_rows()
    return Categories(len(column), column.null_count(), dict(pairs))


def _listed(marginal: Categories) -> Categories:
    frequent = dict(islice(marginal.counts.items(), CATEGORIES))
    return replace(marginal, counts=frequent, other=marginal.values - sum(frequent.values()))


def _to_json(marginal: Marginal) -> dict[str, Any]:
    if isinstance(marginal, Categories):
        marginal = _listed(marginal)
    fields = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(marginal).items()}
    return {"kind": "numbers" if isinstance(marginal, Numbers) else "categories", **fields}


def _from_json(column: Mapping[str, Any]) -> Marginal:
    fields = {name: value for name, value in column.items() if name != "kind"}
    if column["kind"] == "categories":
        return Categories(**fields)
    arrays = {"upper": np.float64, "means": np.float64, "count": np.int64}
    return Numbers(**fields | {name: np.asarray(fields[name], kind) for name, kind in arrays.items()})

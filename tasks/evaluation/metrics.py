"""How good scores are: metrics over all rows, per slice and per block, and a simple baseline to compare with.

A metric is a polars expression over `_y` (the outcome as a number) and the score columns (schemas.score_columns); the same
expression serves a whole frame and, grouped, its slices and blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import polars as pl

from schemas.refs import CommitId, Sha256
from schemas.score_columns import SCORE, internal_names, to_columns, to_scores
from schemas.usecase import UseCase
from schemas.verdicts import Evaluation
from tasks.features import BLOCK, TARGET, numeric_target
from tasks.timestamps import moment

HIGHER_IS_BETTER = frozenset({"auc", "accuracy", "r2"})
BINS = 10
TINY = 1e-12


def metric_expressions(use_case: UseCase) -> dict[str, pl.Expr]:
    """The metrics of the use case's kind, by name.

    binary: auc, log_loss, error_rate, brier, base_rate; multiclass: macro one-against-rest auc, log_loss, accuracy;
    regression: rmse, mae, r2. Null where undefined (an AUC of one class, an R2 of equal outcomes).

    Args:
        use_case: The use case.

    Returns:
        Expressions over the columns that `with_scores` makes.
    """
    y = pl.col("_y")
    if use_case.target.kind == "binary":
        p = pl.col(SCORE)
        return {"auc": _auc(y, p), "log_loss": -_log(pl.when(y == 1).then(p).otherwise(1 - p)).mean(),
                "error_rate": ((p >= use_case.target.threshold) != (y == 1)).mean(),
                "brier": ((p - y) ** 2).mean(), "base_rate": y.mean()}  # fmt: skip
    if use_case.target.kind == "multiclass":
        scores = [pl.col(name) for name in internal_names(use_case.target)]
        own = pl.coalesce(pl.when(y == i).then(score) for i, score in enumerate(scores))
        best = pl.concat_list(scores).list.arg_max()
        auc = pl.mean_horizontal([_auc((y == i).cast(pl.Float64), s) for i, s in enumerate(scores)], ignore_nulls=False)
        return {"auc": auc, "log_loss": -_log(own).mean(), "accuracy": (best == y).mean()}
    error = pl.col(SCORE) - y
    total = ((y - y.mean()) ** 2).sum()
    r2 = pl.when(total > 0).then(1 - (error**2).sum() / total)
    return {"rmse": (error**2).mean().sqrt(), "mae": error.abs().mean(), "r2": r2}


def with_scores(use_case: UseCase, frame: pl.DataFrame, scores: np.ndarray) -> pl.DataFrame:
    """The rows that have an outcome, with `_y` and a float64 column for each column of the scores.

    Args:
        use_case: The use case.
        frame: Designed rows with `_target`.
        scores: Scores, shape (n,), or (n, classes) for several classes.

    Returns:
        A frame without the rows that have no outcome.
    """
    y = pl.Series("_y", numeric_target(use_case.target.kind, frame[TARGET]))
    columns = to_columns(internal_names(use_case.target), np.asarray(scores, dtype=np.float64))
    return frame.with_columns(y, *columns).filter(pl.col(TARGET).is_not_null())


def evaluate(
    use_case: UseCase, model_sha256: Sha256, data_commit: CommitId, frame: pl.DataFrame, scores: np.ndarray
) -> Evaluation:
    """Metrics of one model's scores, shape (n,) or (n, classes), on the rows of `frame` that have an outcome.

    A slice is evaluated where it has the gate's `min_slice_rows`; a metric that is undefined on some rows is left out.

    Args:
        use_case: The use case.
        model_sha256: SHA-256 of the model's bytes, for the record.
        data_commit: Commit of the data, for the record.
        frame: Designed rows with `_target`, `_block` and the slices.
        scores: Scores, shape (n,), or (n, classes) for several classes.

    Returns:
        Metrics over all rows and by slice, with numbers of rows and blocks.

    Raises:
        NotEnoughEvidence: No row has an outcome.
    """
    rows = with_scores(use_case, frame, scores)
    whole = {
        **rows.select(**metric_expressions(use_case)).row(0, named=True),
        "calibration_error": calibration_error(use_case, rows),
    }
    return Evaluation(
        model_sha256=model_sha256,
        data_commit=data_commit,
        window=event_window(use_case, rows),
        rows=rows.height,
        blocks=rows[BLOCK].n_unique(),
        metrics=_finite(whole),
        slices={name: _finite(values) for name, values in slice_metrics(use_case, rows).items()},
    )


def slice_metrics(use_case: UseCase, rows: pl.DataFrame) -> dict[str, dict[str, float | None]]:
    """Metrics per slice, as 'column=value', of rows made by `with_scores`; `rows` is each slice's size."""
    by_slice: dict[str, dict[str, float | None]] = {}
    for column in use_case.slices:
        grouped = rows.group_by(pl.col(column).cast(pl.String).fill_null("null")).agg(
            rows=pl.len(), **metric_expressions(use_case)
        )
        enough = grouped.filter(pl.col("rows") >= use_case.gate.min_slice_rows).sort(column)
        by_slice |= {f"{column}={row.pop(column)}": row for row in enough.iter_rows(named=True)}
    return by_slice


def block_metric(use_case: UseCase, rows: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Columns `_block`, `rows` and `value` of one metric per block, blocks in order; null where it is undefined.

    Args:
        use_case: The use case.
        rows: Rows from `with_scores`, with `_block`.
        metric: Name of the metric.

    Returns:
        Columns `_block`, `rows` and `value`.
    """
    return rows.group_by(BLOCK).agg(rows=pl.len(), value=metric_expressions(use_case)[metric]).sort(BLOCK)


def calibration_error(use_case: UseCase, rows: pl.DataFrame) -> float | None:
    """Expected calibration error over ten bins of equal count; of several classes, that of the most likely one.

    Naeini, Cooper, Hauskrecht: Obtaining well calibrated probabilities using Bayesian binning (AAAI 2015), with the
    equal-count bins of Nixon et al., Measuring calibration in deep learning (2019). None for a regression.
    """
    if use_case.target.kind == "regression" or rows.is_empty():
        return None
    said, happened = to_scores(use_case.target, internal_names(use_case.target), rows), rows["_y"].to_numpy()
    if said.ndim == 2:
        said, happened = said.max(axis=1), said.argmax(axis=1) == happened
    edges = np.quantile(said, np.arange(1, BINS) / BINS)
    gaps = np.bincount(np.searchsorted(edges, said), weights=said - happened)  # equal scores share a bin
    return float(np.abs(gaps).sum() / len(said))


def event_window(use_case: UseCase, rows: pl.DataFrame) -> tuple[datetime, datetime] | None:
    """First and last event time, or None without rows or times.

    Args:
        use_case: The use case.
        rows: The rows.

    Returns:
        The two moments, in UTC.
    """
    if use_case.time is None or rows.is_empty():
        return None
    first, last = (moment(value) for value in (rows[use_case.time].min(), rows[use_case.time].max()))
    return (first, last) if first and last else None


def _auc(y: pl.Expr, score: pl.Expr) -> pl.Expr:
    """Area under the ROC curve by ranks (Mann and Whitney 1947), ties halved; null where a class is missing."""
    positive, negative = y.sum(), (1 - y).sum()
    wins = (score.rank("average") * y).sum() - positive * (positive + 1) / 2
    return pl.when(positive * negative > 0).then(wins / (positive * negative))


def _log(p: pl.Expr) -> pl.Expr:
    return p.clip(TINY, 1.0).log()


def _finite(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if value is not None and np.isfinite(value)}

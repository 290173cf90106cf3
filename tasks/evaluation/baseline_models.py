"""The models that a first champion has to beat: a constant, a linear model or a table of means."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import polars as pl

from schemas.usecase import UseCase
from tasks.evaluation.metrics import metric_expressions, with_scores
from tasks.features import TARGET, feature_names, numeric_target

BASELINE_ROWS = 25_000

MOST_CATEGORIES = 500


def baseline_scores(
    use_case: UseCase, train: pl.DataFrame, holdout: pl.DataFrame, stopping: pl.DataFrame | None = None
) -> np.ndarray:
    """Scores on `holdout` of the better of two simple models, shaped as a booster's; of the first where the gate says so.

    One knows only the base rate (or mean), the other is a logistic (or ridge) regression on at most 25,000 of the training
    rows. `stopping` chooses between them by log loss (or RMSE); without it, the newest fifth of `train` does.

    Args:
        use_case: The use case.
        train: Rows to fit on, with `_target`.
        holdout: Rows that no model was fitted on, with `_target` and `_block`.
        stopping: Rows that choose between the two; None for the newest fifth of `train`.

    Returns:
        Scores on `holdout`, shape (n,), or (n, classes).
    """
    if stopping is None:
        cut = train.height - train.height // 5
        train, stopping = train[:cut], train[cut:]
    metric = "rmse" if use_case.target.kind == "regression" else "log_loss"
    judged, asked = [constant_scores(use_case, train, part) for part in (stopping, holdout)]
    if use_case.gate.baseline == "constant":
        return asked
    if use_case.target.kind != "regression" and train[TARGET].n_unique() < len(use_case.target.classes):
        return asked  # a class that is not there cannot be fitted
    linear = _linear(use_case, train, [stopping, holdout])
    losses = [
        with_scores(use_case, stopping, scores).select(metric_expressions(use_case)[metric]).item()
        for scores in (judged, linear[0])
    ]
    return linear[1] if losses[1] < losses[0] else asked


def constant_scores(use_case: UseCase, train: pl.DataFrame, part: pl.DataFrame) -> np.ndarray:
    """The base rate (or the mean) of some rows as the score of each of others: what a first champion must surely beat.

    Args:
        use_case: The use case.
        train: Rows with `_target`.
        part: Rows to score.

    Returns:
        Scores, shape (n,), or (n, classes).
    """
    y = numeric_target(use_case.target.kind, train[TARGET])
    if use_case.target.kind != "multiclass":
        return np.full(part.height, y.mean())
    shares = np.bincount(y.astype(int), minlength=len(use_case.target.classes)) / len(y)
    return np.tile(shares, (part.height, 1))


def _linear(use_case: UseCase, train: pl.DataFrame, parts: Sequence[pl.DataFrame]) -> list[np.ndarray]:
    from sklearn.linear_model import LogisticRegression, Ridge  # type: ignore[import-untyped]

    rows = train.gather_every(-(-train.height // BASELINE_ROWS))
    regression = use_case.target.kind == "regression"
    model = Ridge() if regression else LogisticRegression(solver="newton-cholesky", max_iter=50)
    tables = [_table(use_case, part, rows) for part in parts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that has not quite converged is a baseline still
        model.fit(_table(use_case, rows, rows), numeric_target(use_case.target.kind, rows[TARGET]))
    if regression:
        return [model.predict(table) for table in tables]
    scores = [model.predict_proba(table) for table in tables]
    return scores if use_case.target.kind == "multiclass" else [s[:, 1] for s in scores]


def _table(use_case: UseCase, rows: pl.DataFrame, like: pl.DataFrame) -> np.ndarray:
    """The features as float32, shape (n, columns): categories one-hot, numbers standardised by `like`, nulls at its mean."""
    columns = []
    for name in feature_names(use_case):
        dtype = rows.schema[name]
        if isinstance(dtype, pl.Enum):
            codes = rows[name].to_physical().fill_null(len(dtype.categories)).to_numpy()
            columns.append((codes[:, None] == np.arange(min(len(dtype.categories), MOST_CATEGORIES))).astype(np.float32))
        else:
            mean, spread = like.select(
                pl.col(name).cast(pl.Float64).mean().alias("m"), s=pl.col(name).cast(pl.Float64).std()
            ).row(0)
            numbers = (rows[name].cast(pl.Float64) - (mean or 0.0)) / (spread or 1.0)
            columns.append(numbers.fill_null(0.0).to_numpy().astype(np.float32)[:, None])
    return np.hstack(columns)

"""Calibrate probabilities: a curve fitted on rows whose labels are known, applied to any."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl
from prefect import task
from pydantic import Field

from schemas.errors import NotEnoughEvidence, UsageError
from schemas.refs import Value
from schemas.verdicts import Kind
from tasks.evaluation import metric_expressions, score_flaw, with_scores
from tasks.features import TARGET, numeric_target
from tasks.models import sigmoid
from tasks.standalone.arguments import matrix_of, require_columns, require_frame, require_numbers
from tasks.standalone.labelled_rows import Scores, labelled_rows, score_columns
from tasks.standalone.task_options import STANDALONE_TASK_OPTIONS

LEAST = 1e-9  # probabilities nearer to 0 or 1 are taken as this near


class Calibration(Value):
    """A curve on the log-odds (binary), or one number that multiplies the log-probabilities (several classes)."""

    kind: Literal["binary", "multiclass"]
    slope: float = Field(gt=0)
    intercept: float
    rows: int = Field(ge=0, description="rows that it was fitted on")
    log_loss_before: float = Field(description="of those rows")
    log_loss_after: float


def fit_calibration(rows: pl.DataFrame, label: str, scores: Scores, *, kind: Kind | None = None) -> Calibration:
    """Fit a sigmoid that turns scores into calibrated probabilities, on rows that the model has not seen.

    binary: Platt scaling, with Platt's smoothed targets (Probabilistic outputs for support vector machines, 1999), on the
    log-odds of the score. multiclass: temperature scaling (Guo et al., On calibration of modern neural networks, 2017). The
    order of the scores stays. Where no rising curve fits, the slope is 1 and the intercept 0.

    Args:
        rows: Labelled rows with scores; rows whose label is null count nowhere.
        label: Column of the outcome: Boolean or 0 and 1, or a class's name.
        scores: Column of the probability of the positive; for several classes {class: column}.
        kind: binary or multiclass; None: as label and scores say.

    Returns:
        Slope and intercept, and the log loss before and after.

    Raises:
        UsageError: For a column that is missing or of a wrong type, a regression, and scores that are no probabilities.
        NotEnoughEvidence: Where there are no rows, none has a label, or all have one class.
    """
    labelled = labelled_rows(rows, label, [scores], kind=kind)
    case, values = labelled.use_case, labelled.scores(scores)
    if case.target.kind == "regression":
        raise UsageError(f"label {label!r} is a number: calibration is for classes")
    if flaw := score_flaw(case, labelled.designed.height, values, f"column {scores!r}"):
        raise UsageError(f"rows: {flaw}")
    y = numeric_target(case.target.kind, labelled.designed[TARGET])
    if len(np.unique(y)) < 2:
        raise NotEnoughEvidence(f"cannot calibrate: the {y.size:,} labelled rows hold one class only")
    slope, intercept = sigmoid(case, _margins(values), y)
    losses = [
        with_scores(case, labelled.designed, each).select(metric_expressions(case)["log_loss"]).item()
        for each in (values, _calibrated(values, slope, intercept))
    ]
    return Calibration(
        kind=case.target.kind,
        slope=slope,
        intercept=intercept,
        rows=y.size,
        log_loss_before=losses[0],
        log_loss_after=losses[1],
    )


def apply_calibration(rows: pl.DataFrame, calibration: Calibration, scores: Scores) -> pl.DataFrame:
    """Calibrate the scores of rows.

    Args:
        rows: Rows with scores; labels are not read.
        calibration: What `fit_calibration` gave.
        scores: Column of the probability of the positive; for several classes {class: column}.

    Returns:
        The rows, with calibrated float64 probabilities in the place of the scores.

    Raises:
        UsageError: For a column that is missing or of a wrong type, scores that are no probabilities, and one column for a
            calibration of several classes or the other way round.
        NotEnoughEvidence: For a frame without rows.
    """
    require_frame(rows, "rows")
    names = score_columns(scores)
    require_columns(rows, names, "rows")
    require_numbers(rows, names, "scores")
    if isinstance(scores, str) != (calibration.kind == "binary"):
        raise UsageError(f"scores: the calibration is {calibration.kind}; name one column, or {{class: column}} for several")
    values = matrix_of(rows, names)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise UsageError(f"rows: column {scores!r} holds values that are no probabilities")
    done = _calibrated(values, calibration.slope, calibration.intercept).reshape(rows.height, -1)
    return rows.with_columns(pl.Series(name, column) for name, column in zip(names, done.T, strict=True))


def _margins(values: np.ndarray) -> Any:
    """Log-odds of probabilities of shape (n,), log-probabilities of those of shape (n, classes)."""
    likely = np.clip(values, LEAST, 1 - LEAST)
    return np.log(likely / (1 - likely)) if values.ndim == 1 else np.log(likely)


def _calibrated(values: np.ndarray, slope: float, intercept: float) -> Any:
    margins = slope * _margins(values) + intercept
    if values.ndim == 1:
        return 1 / (1 + np.exp(-margins))
    likely = np.exp(margins - margins.max(axis=1, keepdims=True))
    return likely / likely.sum(axis=1, keepdims=True)


fit_calibration_task = task(**STANDALONE_TASK_OPTIONS)(fit_calibration)
apply_calibration_task = task(**STANDALONE_TASK_OPTIONS)(apply_calibration)

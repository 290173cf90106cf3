"""What a model is worth before labels come: from its calibrated scores, or from a small model of its loss.

    classes      confidence-based performance estimation (CBPE): each row counts as every class with its probability
    regression   direct loss estimation (DLE): a small model of the loss, fitted on the holdout
    both         an interval that learns from the record: realized minus estimated, window by window

Neither can see that the relation of inputs and outcome itself has changed; the record of errors can, one window later.
Methods after NannyML's documentation of CBPE and DLE (Kuberski et al., nannyml.com, 2023).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.score_columns import SCORE
from schemas.usecase import Target, Training, UseCase
from schemas.verdicts import Estimate
from tasks import features, training
from tasks.evaluation import block_mean, with_scores
from tasks.features import TARGET
from tasks.models import load_booster, predict_scores

FORMAT = 1
LEVEL = 0.9
LEAST_RECORD = 3  # windows before an interval is stated
HALF_LIFE = 4.0  # windows: how long an error is remembered
SHRINKAGE = 3.0  # windows' worth of belief that the scores alone are right
TINY = 1e-12
LOSSES = {"rmse": 2, "mae": 1}  # metric and the power of the error that the small model predicts
LOSS_TRAINING = Training(params={"max_depth": 3, "learning_rate": 0.1, "min_child_weight": 20, "subsample": 0.8}, rounds=60)

Floats = NDArray[np.float64]


def build_estimator(use_case: UseCase, holdout: pl.DataFrame, scores: NDArray[Any]) -> dict[str, Any]:
    """How to estimate a model's performance without labels: a document that is stored with the version.

    It also holds the level of the metrics on the holdout with an interval.

    Args:
        use_case: The use case.
        holdout: Labelled rows that the model has not seen, in the order of time.
        scores: Scores, shape (n,), or (n, classes) for several classes.

    Returns:
        A document that JSON can hold.
    """
    document: dict[str, Any] = {"format_version": FORMAT, "rows": holdout.height}
    known = holdout.filter(pl.col(TARGET).is_not_null())
    scores = np.asarray(scores, np.float64)[holdout[TARGET].is_not_null().to_numpy()]
    document["level"] = holdout_level(use_case, known, scores)
    if use_case.target.kind == "regression":
        return document | {"method": "direct loss", "models": _loss_models(use_case, known, scores)}
    return document | {"method": "cbpe", "calibration": _calibration(use_case, known, scores)}


def holdout_level(use_case: UseCase, holdout: pl.DataFrame, scores: NDArray[Any]) -> dict[str, Any] | None:
    """The gate's metric on the holdout and its interval at 90% over blocks; None where fewer than two blocks have one."""
    metric = use_case.gate.metric
    mean = block_mean(use_case, with_scores(use_case, holdout, scores), metric, LEVEL)
    return {"metric": metric, **mean.model_dump()} if mean else None


def estimate_metrics(
    use_case: UseCase, document: Mapping[str, Any] | None, rows: pl.DataFrame, scores: NDArray[Any]
) -> dict[str, float]:
    """Estimates by metric for designed rows and their scores; none without rows, or for a regression without a document.

    auc, log_loss, error_rate, brier (binary); auc, log_loss, accuracy (multiclass); rmse, mae (regression).
    """
    scores = np.asarray(scores, np.float64)
    if not len(scores) or not np.isfinite(scores).all():
        return {}
    if use_case.target.kind == "regression":
        return _direct_losses(use_case, (document or {}).get("models") or {}, rows, scores)
    by_class = _by_class(scores)
    likely = calibrated(by_class, (document or {}).get("calibration"))
    estimates = _binary(use_case, by_class[:, 1], likely[:, 1]) if scores.ndim == 1 else _multiclass(by_class, likely)
    return {name: float(value) for name, value in estimates.items() if np.isfinite(value)}


def correct_estimates(
    use_case: UseCase, estimates: Mapping[str, float], rows: int, past: Sequence[Mapping[str, float]], level: float = LEVEL
) -> Estimate:
    """Estimates with their record taken into account: `past` are realized minus raw estimates of earlier windows, in order.

    The error expected next is the mean of past errors, weighted by recency and shrunk towards none; the interval is
    Student's t over the errors that this very rule made in the record, each predicted from those before it.
    """
    values, intervals = dict(estimates), {}
    for name, value in estimates.items():
        errors = np.array([each[name] for each in past if name in each])
        values[name] = _bounded(name, value + expected_error(errors))
        if len(errors) >= LEAST_RECORD:
            half = half_width(errors, level)
            intervals[name] = (_bounded(name, values[name] - half), _bounded(name, values[name] + half))
    method: Literal["cbpe", "direct loss"] = "direct loss" if use_case.target.kind == "regression" else "cbpe"
    return Estimate(
        method=method, rows=rows, raw=estimates, metrics=values, intervals=intervals, level=level, record=len(past)
    )


def expected_error(errors: Floats) -> float:
    """The next error: past ones weighted by recency, shrunk towards 0."""
    weights = 0.5 ** (np.arange(len(errors))[::-1] / HALF_LIFE)
    return float(weights @ errors / (weights.sum() + SHRINKAGE))


def half_width(errors: Floats, level: float = LEVEL) -> float:
    """Half of the prediction interval for the next error, from one-step predictions of the errors there are."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    missed = np.array([errors[i] - expected_error(errors[:i]) for i in range(len(errors))])
    return float(stdtrit(len(missed), (1 + level) / 2) * np.sqrt(np.mean(missed**2)))


def calibrated(scores: Floats, calibration: Sequence[Sequence[float]] | None) -> Floats:
    """Probabilities of shape (n, classes), rows sum to 1: slope and intercept on each class's logit; None: as they are."""
    if not calibration:
        return scores
    logits = _logit(scores)
    likely = np.column_stack([_expit(a * logits[:, k] + b) for k, (a, b) in enumerate(calibration)])
    shares: Floats = likely / likely.sum(axis=1, keepdims=True)
    return shares


def _calibration(use_case: UseCase, holdout: pl.DataFrame, scores: Floats) -> list[list[float]] | None:
    """Slope and intercept by class, or None where calibration of either half does not improve the other.

    Platt: Probabilistic outputs for support vector machines (1999). A holdout of some days has a base rate of its own:
    a correction that does not carry over to other days does harm.
    """
    by_class, hit = _by_class(scores), _hits(use_case, holdout)
    half = len(by_class) // 2
    first, second = slice(None, half), slice(half, None)
    for fitted, judged in ((first, second), (second, first)):
        calibration = _platt(by_class[fitted], hit[fitted])
        if calibration is None or _loss(hit[judged], calibrated(by_class[judged], calibration)) >= _loss(
            hit[judged], by_class[judged]
        ):
            return None
    return _platt(by_class, hit)


def _platt(scores: Floats, hit: Floats) -> list[list[float]] | None:
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    if not len(hit) or (hit.sum(axis=0) == 0).any() or (hit.sum(axis=0) == len(hit)).any():
        return None
    pairs = []
    for k in range(scores.shape[1]):
        model = LogisticRegression(C=1e6).fit(_logit(scores[:, [k]]), hit[:, k])
        pairs.append([float(model.coef_[0, 0]), float(model.intercept_[0])])
    return pairs


def _binary(use_case: UseCase, scores: Floats, likely: Floats) -> dict[str, Any]:
    positive = scores >= use_case.target.threshold
    return {
        "auc": _auc(scores, likely),
        "log_loss": -(likely * _log(scores) + (1 - likely) * _log(1 - scores)).mean(),
        "error_rate": np.where(positive, 1 - likely, likely).mean(),
        "brier": (likely * (1 - scores) ** 2 + (1 - likely) * scores**2).mean(),
    }


def _multiclass(scores: Floats, likely: Floats) -> dict[str, Any]:
    best = scores.argmax(axis=1)
    return {
        "auc": np.mean([_auc(scores[:, k], likely[:, k]) for k in range(scores.shape[1])]),
        "log_loss": -(likely * _log(scores)).sum(axis=1).mean(),
        "accuracy": likely[np.arange(len(best)), best].mean(),
    }


def _auc(scores: Floats, likely: Floats) -> float:
    """Area under the ROC curve where each row is a positive of weight `likely` and a negative of the rest; ties halved."""
    values, at = np.unique(scores, return_inverse=True)
    positive = np.bincount(at, weights=likely, minlength=len(values))
    negative = np.bincount(at, weights=1 - likely, minlength=len(values))
    below = np.cumsum(negative) - negative / 2
    total = positive.sum() * negative.sum()
    return float(positive @ below / total) if total > 0 else float("nan")


def _loss_models(use_case: UseCase, holdout: pl.DataFrame, scores: Floats) -> dict[str, str]:
    """The small models of squared and absolute error, as base64 of their bytes."""
    error = np.abs(scores - features.numeric_target(use_case.target.kind, holdout[TARGET]))
    case, rows = _loss_case(use_case), holdout.with_columns(pl.Series(SCORE, scores))
    if rows.is_empty():
        return {}
    fitted = {
        name: training.refit_booster(case, rows.with_columns(pl.Series(TARGET, error**power)), LOSS_TRAINING.rounds).model
        for name, power in LOSSES.items()
    }
    return {name: base64.b64encode(model).decode() for name, model in fitted.items()}


def _direct_losses(use_case: UseCase, models: Mapping[str, str], rows: pl.DataFrame, scores: Floats) -> dict[str, float]:
    if not models:
        return {}
    case, scored = _loss_case(use_case), rows.with_columns(pl.Series(SCORE, scores))
    estimates = {}
    for name, model in models.items():
        losses = predict_scores(case, load_booster(base64.b64decode(model)), scored).clip(0)
        estimates[name] = float(losses.mean(dtype=np.float64) ** (1 / LOSSES[name]))
    return estimates


def _loss_case(use_case: UseCase) -> UseCase:
    """The problem of predicting the loss from the features and the prediction."""
    target = Target(kind="regression", name="loss", value=pl.col(TARGET))
    return replace(use_case, target=target, features={**use_case.features, SCORE: pl.col(SCORE)}, training=LOSS_TRAINING)


def _by_class(scores: Floats) -> Floats:
    return np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores


def _hits(use_case: UseCase, rows: pl.DataFrame) -> Floats:
    """Outcomes of shape (n, classes), one 1 a row."""
    outcome = features.numeric_target(use_case.target.kind, rows[TARGET]).astype(int)
    hit: Floats = np.eye(len(use_case.target.classes) or 2)[outcome]
    return hit


def _loss(hit: Floats, likely: Floats) -> float:
    return float(-(hit * _log(likely)).sum(axis=1).mean())


def _bounded(name: str, value: float) -> float:
    return max(value, 0.0) if name in {*LOSSES, "log_loss"} else min(max(value, 0.0), 1.0)


def _log(p: Floats) -> Floats:
    logs: Floats = np.log(np.clip(p, TINY, 1.0))
    return logs


def _logit(p: Floats) -> Floats:
    clipped = np.clip(p, 1e-9, 1 - 1e-9)
    logits: Floats = np.log(clipped / (1 - clipped))
    return logits


def _expit(x: Floats) -> Floats:
    p: Floats = 1 / (1 + np.exp(-x))
    return p

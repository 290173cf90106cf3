"""Calibrating a classifier, with the calibration inside the model's own bytes.

A logistic curve on the margin (Platt, Probabilistic outputs for support vector machines, 1999) turns a sum of leaves into
another sum of leaves: each leaf times the slope, the base plus the intercept. So the calibrated model is a booster like
any other, and batch, online, SHAP values and MLflow's users agree on it without knowing. For several classes one number
divides the margins (temperature scaling: Guo et al., On calibration of modern neural networks, 2017).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from schemas.usecase import UseCase
from tasks.models.xgboost_runtime import load_xgboost

DIGITS = 6

Sigmoid = tuple[float, float]


def sigmoid(use_case: UseCase, margins: np.ndarray, y: np.ndarray) -> Sigmoid:
    """Slope and intercept that calibrate margins, shape (n,) or (n, classes), to the outcomes: 0 and 1, or positions.

    Rounded, so that they do not depend on the last bits of a sum. The slope is never negative: calibration keeps the order.

    Args:
        use_case: The use case.
        margins: Margins of held-out rows, shape (n,), or (n, classes).
        y: Outcomes as numbers, shape (n,): 0 and 1, or the class's position.

    Returns:
        Slope and intercept.

    References:
        Platt, Probabilistic outputs for support vector machines (1999).
    """
    slope, intercept = _temperature(margins, y) if use_case.target.kind == "multiclass" else _platt(margins, y)
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope > 0):
        return 1.0, 0.0
    return float(f"{slope:.{DIGITS}g}"), float(f"{intercept:.{DIGITS}g}")


def calibrated(model: bytes, coefficients: Sigmoid) -> bytes:
    """The booster whose margins are `slope` times the former ones plus `intercept`, as UBJSON.

    Args:
        model: Bytes of a model in XGBoost's UBJSON.
        coefficients: Slope and intercept.

    Returns:
        Bytes of the calibrated model.
    """
    xgb = load_xgboost()
    slope, intercept = coefficients
    document = json.loads(xgb.Booster(model_file=bytearray(model)).save_raw("json"))
    learner = document["learner"]
    for tree in learner["gradient_booster"]["model"]["trees"]:
        _scale(tree, slope)
    base = json.loads(learner["learner_model_param"]["base_score"])
    binary = learner["objective"]["name"] == "binary:logistic"
    scaled = [_probability(slope * _log_odds(p) + intercept) if binary else slope * p for p in base]
    learner["learner_model_param"]["base_score"] = json.dumps(scaled, separators=(",", ":"))
    adjusted = xgb.Booster(model_file=bytearray(json.dumps(document, ensure_ascii=False).encode()))
    return bytes(adjusted.save_raw("ubj"))


def _scale(tree: dict[str, Any], slope: float) -> None:
    leaves = [at for at, child in enumerate(tree["left_children"]) if child < 0]
    for at in leaves:
        tree["split_conditions"][at] *= slope
    tree["base_weights"] = [weight * slope for weight in tree["base_weights"]]


def _platt(margins: np.ndarray, y: np.ndarray) -> Sigmoid:
    """The least log loss, with Platt's smoothed outcomes, which keep one-sided evidence finite."""
    from scipy.special import expit  # type: ignore[import-untyped]

    positive = float(y.sum())
    wanted = np.where(y > 0, (positive + 1) / (positive + 2), 1 / (y.size - positive + 2))

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        curve = at[0] * margins + at[1]
        error = expit(curve) - wanted
        return float((np.logaddexp(0, curve) - wanted * curve).mean()), np.array([(error * margins).mean(), error.mean()])

    return _least(loss, [1.0, 0.0])


def _temperature(margins: np.ndarray, y: np.ndarray) -> Sigmoid:
    from scipy.special import logsumexp, softmax

    own = margins[np.arange(y.size), y.astype(int)]

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        curve = at[0] * margins
        gradient = (softmax(curve, axis=1) * margins).sum(axis=1) - own
        return float((logsumexp(curve, axis=1) - at[0] * own).mean()), np.array([gradient.mean(), 0.0])

    return _least(loss, [1.0, 0.0])


def _least(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], start: list[float]) -> Sigmoid:
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    optimum = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-8}).x
    return float(optimum[0]), float(optimum[1])


def _log_odds(p: float) -> float:
    return math.log(p / (1 - p))


def _probability(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))

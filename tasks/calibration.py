"""Calibrating a classifier, with the calibration inside the model's own bytes.

A logistic curve on the margin (Platt, Probabilistic outputs for support vector machines, 1999) turns a sum of leaves into
another sum of leaves: each leaf times the slope, the base plus the intercept. So the calibrated model is a booster like
any other, and batch, online, SHAP values and MLflow's users agree on it without knowing. For several classes one number
divides the margins (temperature scaling: Guo et al., On calibration of modern neural networks, 2017).
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from schemas.usecase import UseCase
from tasks.matrices import load_xgboost

STEPS = 100
DIGITS = 6

Sigmoid = tuple[float, float]


def sigmoid(use_case: UseCase, margins: np.ndarray, y: np.ndarray) -> Sigmoid:
    """Slope and intercept that calibrate margins, shape (n,) or (n, classes), to the outcomes: 0 and 1, or positions.

    Rounded, so that they do not depend on the last bits of a sum. The slope is never negative: calibration keeps the order.
    """
    slope, intercept = _temperature(margins, y) if use_case.target.kind == "multiclass" else _platt(margins, y)
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope > 0):
        return 1.0, 0.0
    return float(f"{slope:.{DIGITS}g}"), float(f"{intercept:.{DIGITS}g}")


def calibrated(model: bytes, coefficients: Sigmoid) -> bytes:
    """The booster whose margins are `slope` times the former ones plus `intercept`, as UBJSON."""
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
    made = xgb.Booster(model_file=bytearray(json.dumps(document, ensure_ascii=False).encode()))
    return bytes(made.save_raw("ubj"))


def _scale(tree: dict[str, Any], slope: float) -> None:
    leaves = [at for at, child in enumerate(tree["left_children"]) if child < 0]
    for at in leaves:
        tree["split_conditions"][at] *= slope
    tree["base_weights"] = [weight * slope for weight in tree["base_weights"]]


def _platt(margins: np.ndarray, y: np.ndarray) -> Sigmoid:
    """Newton's method on the log loss, with Platt's smoothed outcomes, which keep one-sided evidence finite."""
    positive = float(y.sum())
    wanted = np.where(y > 0, (positive + 1) / (positive + 2), 1 / (y.size - positive + 2))
    slope, intercept = 1.0, 0.0
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(slope * margins + intercept)))
        error, weight = p - wanted, p * (1 - p) + 1e-12
        gradient = np.array([(error * margins).sum(), error.sum()])
        cross = (weight * margins).sum()
        curvature = np.array([[(weight * margins**2).sum(), cross], [cross, weight.sum()]])
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        slope, intercept = slope - float(step[0]), intercept - float(step[1])
        if np.abs(step).max() < 1e-10:
            break
    return slope, intercept


def _temperature(margins: np.ndarray, y: np.ndarray) -> Sigmoid:
    slope, own = 1.0, margins[np.arange(y.size), y.astype(int)]
    for _ in range(STEPS):
        p = np.exp(slope * (margins - margins.max(axis=1, keepdims=True)))
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * margins).sum(axis=1)
        curvature = ((p * margins**2).sum(axis=1) - mean**2).sum()
        step = float((mean - own).sum() / (curvature + 1e-9))
        slope -= step
        if abs(step) < 1e-10:
            break
    return slope, 0.0


def _log_odds(p: float) -> float:
    return math.log(p / (1 - p))


def _probability(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))

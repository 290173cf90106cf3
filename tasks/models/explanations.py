"""What each feature brings to a prediction, and to predictions on the whole: SHAP values as XGBoost computes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.models.booster import known_categories
from tasks.models.xgboost_runtime import load_xgboost

if TYPE_CHECKING:
    import xgboost

EXPLAINED = 2000  # rows that importances are averaged over


def shap_contributions(booster: xgboost.Booster, rows: pl.DataFrame) -> np.ndarray:
    """SHAP values of each feature and, last, the bias.

    They sum to the margin: log-odds of the positive, log-odds of each class, or the value. A category that the model does
    not know counts as missing, as in scoring.

    Args:
        booster: The model.
        rows: Designed rows.

    Returns:
        Shape (n, features + 1), or (n, classes, features + 1), in units of the margin.

    References:
        Lundberg et al., From local explanations to global understanding with explainable AI for trees (2020).
    """
    xgb = load_xgboost()
    features = known_categories(booster, rows.select(booster.feature_names or []))
    contributions: np.ndarray = booster.predict(xgb.DMatrix(features, enable_categorical=True), pred_contribs=True)
    return contributions


def shap_importances(booster: xgboost.Booster, rows: pl.DataFrame) -> dict[str, float]:
    """Mean absolute SHAP value of each feature, in units of the margin, over rows spread evenly over `rows`.

    For several classes the mean over these, too.

    Args:
        booster: The model.
        rows: Designed rows; at most some thousands of them are read.

    Returns:
        The value of each feature, by name.
    """
    some = rows.gather_every(-(-rows.height // EXPLAINED)) if rows.height else rows
    names = booster.feature_names or []
    if some.is_empty():
        return dict.fromkeys(names, 0.0)
    sizes = np.abs(shap_contributions(booster, some)[..., :-1]).astype(np.float64)
    return dict(zip(names, sizes.reshape(-1, len(names)).mean(axis=0).tolist(), strict=True))

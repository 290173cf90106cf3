"""What each feature brings to a prediction, and to predictions on the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from prefect import task

from schemas.errors import UsageError
from tasks.models import load_booster, shap_contributions, shap_importances
from tasks.standalone.arguments import require_frame
from tasks.standalone.feature_columns import model_features
from tasks.standalone.task_options import STANDALONE_TASK_OPTIONS
from tasks.standalone.trained_model import TrainedModel

ROW, CLASS, BIAS = "_row", "_class", "_bias"


@dataclass(frozen=True)
class Explanation:
    """SHAP values of rows, and their mean size by feature.

    contributions   `_row` (UInt32, from 1), `_class` where there are several, a float32 column by feature, `_bias`; the
                    features and the bias of a row sum to its margin: log-odds of the positive, log-odds of the class up to
                    a constant, or the predicted value
    importances     mean absolute contribution by feature, in the margin's unit, the largest first
    """

    contributions: pl.DataFrame
    importances: Mapping[str, float]


def explain_model(model: TrainedModel | bytes, rows: pl.DataFrame) -> Explanation:
    """Explain a model's predictions by SHAP values, exact for trees, as XGBoost computes them.

    Lundberg et al., From local explanations to global understanding with explainable AI for trees (2020).

    Args:
        model: What `train_xgboost` gave, or the bytes of an XGBoost model with named features.
        rows: A frame with the model's features. A category that the model does not know counts as missing.

    Returns:
        Contributions of each row, and importances over at most 2,000 rows, evenly spread.

    Raises:
        UsageError: For a feature that is missing or of a wrong type, and a model without names of features.
        IntegrityError: For bytes that are no model.
        NotEnoughEvidence: For a frame without rows.
    """
    require_frame(rows, "rows")
    booster = load_booster(model if isinstance(model, bytes) else model.model)
    if not booster.feature_names:
        raise UsageError("model: its features have no names; fit it on a frame, so that columns can be told apart")
    features = model_features(booster, rows)
    contributions = shap_contributions(booster, features)
    sizes = shap_importances(booster, features)
    classes = () if isinstance(model, bytes) else model.classes
    ordered = dict(sorted(sizes.items(), key=lambda pair: -pair[1]))
    return Explanation(_frame(contributions, list(booster.feature_names), classes), ordered)


def _frame(contributions: np.ndarray, features: list[str], classes: tuple[str, ...]) -> pl.DataFrame:
    """Contributions of shape (n, features + 1), or (n, classes, features + 1), a line for each row and class."""
    several = contributions.shape[1] if contributions.ndim == 3 else 1
    columns = {ROW: pl.Series(np.repeat(np.arange(1, contributions.shape[0] + 1), several), dtype=pl.UInt32)}
    if contributions.ndim == 3:
        names = classes or tuple(map(str, range(several)))
        columns[CLASS] = pl.Series(list(names) * contributions.shape[0], dtype=pl.String)
    flat = contributions.reshape(-1, contributions.shape[-1])
    return pl.DataFrame(columns | {name: flat[:, at] for at, name in enumerate([*features, BIAS])})


explain_model_task = task(**STANDALONE_TASK_OPTIONS)(explain_model)

"""A trained model with all that is needed to score rows by it, and the scoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
from prefect import task

from schemas.errors import UsageError
from schemas.verdicts import Kind, ScoreEvaluation
from tasks.models import load_booster, predict_scores
from tasks.parsing import Frame, as_polars
from tasks.standalone.arguments import require_frame
from tasks.standalone.feature_columns import model_features
from tasks.standalone.labelled_rows import Scores, frame_use_case, score_columns
from tasks.standalone.task_options import STANDALONE_TASK_OPTIONS


@dataclass(frozen=True)
class TrainedModel:
    """What `train_xgboost` gives: a value, which pickles; `model` alone is XGBoost's own file.

    model        the booster as UBJSON bytes
    kind         binary, multiclass or regression; `target` is its column, `classes` its classes in the scores' order
    features     the columns that it reads; `threshold` is the probability from which a row counts as positive
    rounds       of boosting, after early stopping; `importances` are each feature's share of the gain, of sum 1
    calibration  slope and intercept of the curve that the leaves hold, or None
    split_rows   rows in `train`, `stopping` and `holdout`; `evaluation` is on the last
    holdout      the held-out rows as they came, by time, with their scores
    """

    model: bytes = field(repr=False)
    kind: Kind
    target: str
    classes: tuple[str, ...]
    features: tuple[str, ...]
    threshold: float
    rounds: int
    importances: Mapping[str, float]
    calibration: tuple[float, float] | None
    split_rows: Mapping[str, int]
    evaluation: ScoreEvaluation | None = None
    holdout: pl.DataFrame | None = field(default=None, repr=False)

    @property
    def booster(self) -> Any:
        """The model, loaded: an `xgboost.Booster`."""
        return load_booster(self.model)

    @property
    def scores(self) -> Scores:
        """The score columns that `predict_frame` adds: `probability`, `prediction`, or {class: `probability_<class>`}."""
        if self.kind == "multiclass":
            return {name: f"probability_{name}" for name in self.classes}
        return "probability" if self.kind == "binary" else "prediction"

    def with_holdout(self, holdout: pl.DataFrame, evaluation: ScoreEvaluation) -> TrainedModel:
        """The same model, measured."""
        return replace(self, holdout=holdout, evaluation=evaluation)


def predict_frame(model: TrainedModel, rows: Frame) -> Frame:
    """Score rows by a trained model.

    Args:
        model: What `train_xgboost` gave.
        rows: A pandas or polars frame with the model's features; other columns stay. A category that the model does not
            know counts as missing.

    Returns:
        The rows, as a frame of the same kind, of pandas with the same index, with float32 columns: `probability` of the
            positive (binary), `probability_<class>` of each class, or `prediction` (regression).

    Raises:
        UsageError: For a feature that is missing or of a wrong type, and where the frame has a column of the score's name.
        NotEnoughEvidence: For a frame without rows.
    """
    given, back = as_polars(rows, "rows")
    require_frame(given, "rows")
    names = score_columns(model.scores)
    if clashes := [name for name in names if name in given.columns]:
        raise UsageError(f"rows: the column {clashes[0]!r} is there already; drop or rename it")
    booster = model.booster
    features = model_features(booster, given)
    case = frame_use_case(given, model.kind, model.target, classes=model.classes, features=model.features)
    scores = predict_scores(case, booster, features).reshape(given.height, -1)
    made: Frame = back(given.with_columns(pl.Series(name, column) for name, column in zip(names, scores.T, strict=True)))
    return made


predict_frame_task = task(**STANDALONE_TASK_OPTIONS)(predict_frame)

"""From model bytes to predictions in the words of the business, each with a receipt."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from schemas import score_columns
from schemas.errors import IntegrityError, UsageError, first_line
from schemas.usecase import UseCase
from tasks.features import feature_names
from tasks.models.xgboost_runtime import load_xgboost

if TYPE_CHECKING:
    import xgboost


def load_booster(model: bytes) -> xgboost.Booster:
    """The model of those bytes. Check their hash first and try them in a child process: damaged bytes can kill this one.

    Args:
        model: Bytes of a model in XGBoost's UBJSON.

    Returns:
        The model, ready to predict.

    Raises:
        IntegrityError: XGBoost does not take the bytes.
    """
    xgb = load_xgboost()
    try:
        loaded: xgboost.Booster = xgb.Booster(model_file=bytearray(model))
    except xgb.core.XGBoostError as error:
        raise IntegrityError(f"cannot load the model: {first_line(error, 300)}; train it again") from None
    return loaded


def with_threshold(model: bytes, threshold: float) -> bytes:
    """A model's bytes with a threshold noted in them; its scores stay as they are.

    Args:
        model: Bytes of a model in XGBoost's UBJSON.
        threshold: The threshold.

    Returns:
        Other bytes of the same model.

    Raises:
        IntegrityError: XGBoost does not take the bytes.
    """
    booster = load_booster(model)
    booster.set_attr(penstock_threshold=repr(threshold))
    return bytes(booster.save_raw("ubj"))


def predict_scores(use_case: UseCase, booster: xgboost.Booster, frame: pl.DataFrame) -> np.ndarray:
    """Scores of designed rows: shape (n,), the positive's probability or the value; multiclass: (n, classes); float32.

    Columns are picked by name, in the model's order, since XGBoost does not compare names here. A category that the model
    does not know counts as missing.

    Args:
        use_case: The use case.
        booster: The model.
        frame: Designed rows.

    Returns:
        float32, shape (n,), or (n, classes).

    Raises:
        UsageError: The model's features are not those of the use case.
    """
    names = booster.feature_names or []
    if names != feature_names(use_case):
        other = sorted(set(names) ^ set(feature_names(use_case))) or ["their order"]
        raise UsageError(f"the model and use case {use_case.name!r} differ in {other[0]}: train a model for this version")
    xgb = load_xgboost()
    try:
        scores: np.ndarray = booster.inplace_predict(known_categories(booster, frame.select(names)))
    except xgb.core.XGBoostError as error:
        raise UsageError(f"cannot score {use_case.name!r}: {first_line(error, 300)}; train a model again") from None
    return scores


def known_categories(booster: xgboost.Booster, features: pl.DataFrame) -> pl.DataFrame:
    """Unknown categories as null. XGBoost 3.2 takes some for their neighbour in the alphabet and raises for others."""
    if not any(isinstance(dtype, pl.Enum | pl.Categorical) for dtype in features.dtypes):
        return features
    known = [
        (name, values) for name, values in booster.get_categories(export_to_arrow=True).to_arrow() if values is not None
    ]
    enums = {name: pl.Enum(values.to_pylist()) for name, values in known}
    other = [name for name, enum in enums.items() if features.schema[name] != enum]
    return features.with_columns(pl.col(name).cast(pl.String).cast(enums[name], strict=False) for name in other)


def golden_rows(use_case: UseCase, booster: xgboost.Booster, frame: pl.DataFrame, n: int = 32) -> bytes:
    """Rows spread over `frame` and one where all is missing, with the scores that the model gives them, as Parquet.

    `run_smoke_test` scores them again; the scores stand in columns `_expected_0`, `_expected_1`, ...

    Args:
        use_case: The use case.
        booster: The model.
        frame: Designed rows.
        n: How many rows.

    Returns:
        The bytes of a Parquet file.
    """
    rows = frame.select(feature_names(use_case)).gather_every(max(1, -(-frame.height // max(1, n - 1))))
    rows = pl.concat([rows, pl.DataFrame({name: [None] for name in rows.columns}, schema=rows.schema)])
    scores = predict_scores(use_case, booster, rows).reshape(rows.height, -1)
    expected = score_columns.to_columns(score_columns.golden_names(scores.shape[1]), scores)
    buffer = io.BytesIO()
    rows.with_columns(expected).write_parquet(buffer)
    return buffer.getvalue()

"""From model bytes to predictions in the words of the business, each with a receipt."""

from __future__ import annotations

import hashlib
import io
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from schemas.errors import IntegrityError, UsageError
from schemas.refs import DataRef, ModelRef
from schemas.usecase import UseCase
from tasks.features import feature_names, identity, key_hash, key_text
from tasks.matrices import load_xgboost

if TYPE_CHECKING:
    import xgboost

GOLDEN = "_expected_"
ROW_KEY = "row_key"


def booster(model: bytes) -> xgboost.Booster:
    """The model of those bytes. Check their hash first and try them in a child process: damaged bytes can kill this one.

    Raises IntegrityError for bytes that XGBoost does not take.
    """
    xgb = load_xgboost()
    try:
        loaded: xgboost.Booster = xgb.Booster(model_file=bytearray(model))
    except xgb.core.XGBoostError as error:
        raise IntegrityError(f"cannot load the model: {str(error).splitlines()[0]}; train it again") from None
    return loaded


def predict(use_case: UseCase, booster: xgboost.Booster, frame: pl.DataFrame) -> np.ndarray:
    """Scores of designed rows: shape (n,), the positive's probability or the value; multiclass: (n, classes); float32.

    Columns are picked by name, in the model's order, since XGBoost does not compare names here. A category that the model
    does not know counts as missing. Raises UsageError where the model's features are not the use case's.
    """
    names = booster.feature_names or []
    if names != feature_names(use_case):
        other = sorted(set(names) ^ set(feature_names(use_case))) or ["their order"]
        raise UsageError(f"the model and use case {use_case.name!r} differ in {other[0]}: train a model for this version")
    xgb = load_xgboost()
    try:
        scores: np.ndarray = booster.inplace_predict(known_categories(booster, frame.select(names)))
    except xgb.core.XGBoostError as error:
        raise UsageError(f"cannot score {use_case.name!r}: {str(error).splitlines()[0]}; train a model again") from None
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


def business(use_case: UseCase, scores: np.ndarray) -> pl.DataFrame:
    """`category` and `probability` (of the positive), or `category` and `probability_<class>`, or `prediction`."""
    target = use_case.target
    if target.kind == "regression":
        return pl.DataFrame({"prediction": scores.astype(np.float64)})
    classes = pl.Enum(target.classes)
    if target.kind == "binary":
        positive = pl.Series(scores >= target.threshold)
        category = pl.select(pl.when(positive).then(pl.lit(target.classes[1])).otherwise(pl.lit(target.classes[0])))
        return pl.DataFrame({"category": category.to_series().cast(classes), "probability": scores.astype(np.float64)})
    best = pl.Series(np.array(target.classes)[scores.argmax(axis=1)], dtype=pl.String).cast(classes)
    columns = {f"probability_{name}": scores[:, i].astype(np.float64) for i, name in enumerate(target.classes)}
    return pl.DataFrame({"category": best, **columns})


def receipts(
    use_case: UseCase,
    designed: pl.DataFrame,
    scores: np.ndarray,
    *,
    model: ModelRef,
    data: DataRef,
    contract_version: str,
    flow_run: str,
    scored_at: datetime,
    origin: str = "",
) -> pl.DataFrame:
    """One row a prediction: its id, key and time, what is predicted, and what it was made from and when.

    The id follows from (model bytes, data commit, key), and from `origin` where the rows lie in no store: again gives
    the same ids. Private columns are left out; where one is of the key, `row_key`, a 64-bit hash of the key, stands for it.
    """
    made_from: dict[str, Any] = {
        "model_name": model.name,
        "model_version": model.version,
        "model_sha256": model.sha256,
        "data_commit": data.commit,
        "contract_version": contract_version,
        "flow_run": flow_run,
        "scored_at": scored_at,
    }
    private = use_case.input(use_case.rows).contract.private()
    shown = [name for name in identity(use_case) if name not in private]
    joined_by = [key_hash(use_case).alias(ROW_KEY)] if private & set(use_case.key) else []
    named = designed.select(prediction_ids(use_case, designed, model.sha256, data.commit + origin), *shown, *joined_by)
    predicted = pl.concat([named, business(use_case, scores)], how="horizontal")
    return predicted.with_columns(pl.lit(value).alias(name) for name, value in made_from.items())


def prediction_ids(use_case: UseCase, designed: pl.DataFrame, model_sha256: str, commit: str) -> pl.Series:
    """128 bits for each row, in hexadecimal: two SipHashes of its key under keys that (model, commit) give.

    A SHA-256 a row would cost twice the time.
    """
    from pandas.util import hash_array  # type: ignore[import-untyped]

    secret = hashlib.sha256(f"{model_sha256}\x1f{commit}".encode()).hexdigest()
    keys = designed.select(key_text(use_case).cast(pl.Binary)).to_series().to_numpy()  # as texts each would be encoded twice
    halves = [hash_array(keys, hash_key=half, categorize=False) for half in (secret[:16], secret[16:32])]
    return _hexadecimal(np.column_stack(halves).astype("<u8")).alias("prediction_id")


def _hexadecimal(numbers: np.ndarray) -> pl.Series:
    """Each row of 64-bit numbers as text."""
    import pyarrow as pa  # type: ignore[import-untyped]

    width = numbers.shape[1] * 8
    held = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(numbers), [None, pa.py_buffer(numbers.tobytes())])
    made = pl.from_arrow(held)
    assert isinstance(made, pl.Series)
    return made.bin.encode("hex")


def golden_rows(use_case: UseCase, booster: xgboost.Booster, frame: pl.DataFrame, n: int = 32) -> bytes:
    """Rows spread over `frame` and one where all is missing, with the scores that the model gives them, as Parquet.

    `trial` scores them again; the scores stand in columns `_expected_0`, `_expected_1`, ...
    """
    rows = frame.select(feature_names(use_case)).gather_every(max(1, -(-frame.height // max(1, n - 1))))
    rows = pl.concat([rows, pl.DataFrame({name: [None] for name in rows.columns}, schema=rows.schema)])
    scores = predict(use_case, booster, rows).reshape(rows.height, -1).T
    expected = [pl.Series(f"{GOLDEN}{i}", column) for i, column in enumerate(scores)]
    buffer = io.BytesIO()
    rows.with_columns(expected).write_parquet(buffer)
    return buffer.getvalue()

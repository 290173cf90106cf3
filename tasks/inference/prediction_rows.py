"""Scores as rows in the words of the business, each with its receipt."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from schemas.refs import DataRef, ModelRef
from schemas.score_columns import CATEGORY, prediction_names, to_columns
from schemas.usecase import Target, UseCase
from tasks.features import identity_columns, key_hash, key_text

ROW_KEY = "row_key"


def business_predictions(use_case: UseCase, scores: np.ndarray) -> pl.DataFrame:
    """`category` and `probability` (of the positive), or `category` and `probability_<class>`, or `prediction`."""
    columns = to_columns(prediction_names(use_case.target), scores, np.float64)
    return pl.DataFrame(columns if use_case.target.kind == "regression" else [_category(use_case.target, scores), *columns])


def _category(target: Target, scores: np.ndarray) -> pl.Series:
    if target.kind == "binary":
        negative, positive = pl.lit(target.classes[0]), pl.lit(target.classes[1])
        chosen = pl.select(pl.when(pl.Series(scores >= target.threshold)).then(positive).otherwise(negative)).to_series()
    else:
        chosen = pl.Series(np.array(target.classes)[scores.argmax(axis=1)], dtype=pl.String)
    return chosen.cast(pl.Enum(target.classes)).alias(CATEGORY)


def prediction_rows(
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
    shown = [name for name in identity_columns(use_case) if name not in private]
    joined_by = [key_hash(use_case).alias(ROW_KEY)] if private & set(use_case.key) else []
    named = designed.select(prediction_ids(use_case, designed, model.sha256, data.commit + origin), *shown, *joined_by)
    predicted = pl.concat([named, business_predictions(use_case, scores)], how="horizontal")
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
    series = pl.from_arrow(held)
    assert isinstance(series, pl.Series)
    return series.bin.encode("hex")

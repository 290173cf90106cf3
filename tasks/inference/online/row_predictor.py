"""One model behind XGBoost's C interface: a row of features in, its scores out, on buffers that are used again.

`XGBoosterPredictFromDense` is what `inplace_predict` calls; calling it directly saves building an array and parsing its
description for every row. Loaded from bytes whose hash was checked.
"""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from schemas.errors import IntegrityError
from tasks.inference.online.expression_operators import EXACT, Declined, NotInVocabulary, is_int

NAN = math.nan
Encode = Callable[[Any], float]


class Predictor:
    """Scores single rows. Belongs to one thread: its buffers are its own.

    `dtypes` are the features' types, in the model's order. Raises IntegrityError where the model has other features,
    NotInVocabulary for a feature type that only frames hold.
    """

    def __init__(self, booster: Any, dtypes: Mapping[str, pl.DataType]) -> None:
        from xgboost.core import _LIB

        names = list(booster.feature_names or ())
        if names != list(dtypes):
            raise IntegrityError(f"the model's features are {', '.join(names)}; the use case makes {', '.join(dtypes)}")
        self._booster = booster  # keeps the handle alive
        self._encode = encoders(booster, dtypes)
        self._call = _LIB.XGBoosterPredictFromDense
        self._last_error = _LIB.XGBGetLastError
        self._row = (ctypes.c_float * len(dtypes))()
        self._shape = ctypes.POINTER(ctypes.c_uint64)()
        self._dims = ctypes.c_uint64()
        self._out = ctypes.POINTER(ctypes.c_float)()
        self._arguments = self._describe(len(dtypes))
        self._outputs = self._count_outputs()

    def _describe(self, width: int) -> tuple[Any, ...]:
        address = ctypes.addressof(self._row)
        array = {"data": [address, True], "shape": [1, width], "strides": None, "typestr": "<f4", "version": 3}
        config = {"type": 0, "training": False, "iteration_begin": 0, "iteration_end": 0, "missing": NAN}
        options = json.dumps({**config, "strict_shape": True, "cache_id": 0})
        return (
            self._booster.handle,
            json.dumps(array).encode(),
            options.encode(),
            None,
            ctypes.byref(self._shape),
            ctypes.byref(self._dims),
            ctypes.byref(self._out),
        )

    def _count_outputs(self) -> int:
        self._row[:] = [NAN] * len(self._row)
        self._predict()
        return math.prod(self._shape[at] for at in range(self._dims.value))

    def _predict(self) -> None:
        if self._call(*self._arguments):
            raise IntegrityError(
                f"the model cannot score a row: {self._last_error().decode(errors='replace').splitlines()[0]}"
            )

    def scores(self, features: Sequence[Any]) -> list[float]:
        """Scores of one row of physical feature values: one number, or one for each class. Raises Declined."""
        self._row[:] = [
            NAN if value is None else encode(value) for encode, value in zip(self._encode, features, strict=True)
        ]
        self._predict()
        return self._out[: self._outputs]


def encoders(booster: Any, dtypes: Mapping[str, pl.DataType]) -> list[Encode]:
    """For each feature, from its physical value to the number that the model's trees compare."""
    known = dict(booster.get_categories(export_to_arrow=True).to_arrow())
    return [_encoder(name, dtype, known.get(name)) for name, dtype in dtypes.items()]


def _encoder(name: str, dtype: pl.DataType, categories: Any) -> Encode:
    if isinstance(dtype, pl.Enum):
        codes = {text: float(code) for code, text in enumerate(categories.to_pylist() if categories is not None else ())}
        return _code(codes)
    if dtype == pl.Boolean:
        return float
    if is_int(dtype):
        return _whole
    if dtype in (pl.Float32, pl.Float64):
        return _finite
    raise NotInVocabulary(f"the feature {name} is {dtype}")


def _code(codes: Mapping[str, float]) -> Encode:
    def encode(text: str) -> float:
        if text not in codes:  # the model was trained with other categories: the frame path says what that means
            raise Declined
        return codes[text]

    return encode


def _whole(value: int) -> float:
    if -EXACT <= value <= EXACT:
        return float(value)
    raise Declined


def _finite(value: float) -> float:
    if math.isinf(value):
        raise Declined
    return value

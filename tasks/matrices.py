"""Rows as the matrices that XGBoost boosts on: handed over in batches, so that no second copy of the features is made.

    frame      QuantileDMatrix: the binned features in memory
    Spilled    ExtMemQuantileDMatrix: the binned features in a cache beside the rows' files, read as they are needed

The batches are of one size, wherever the rows lie: the same rows give the same bins, and so the same model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from schemas.usecase import UseCase
from schemas.verdicts import Kind
from tasks.features import TARGET, canonical, even, feature_names
from tasks.spilling import Rows, Spilled

if TYPE_CHECKING:
    import xgboost

BATCH = 1 << 19  # rows at most
VALUES = 1 << 23  # feature values at most: wide rows come in shorter batches


def load_xgboost() -> ModuleType:
    """XGBoost, imported when first used, with threads that sleep while they wait.

    By default they spin, and on a machine with other work a fit then takes five times as long. The variable is read when
    the library loads; who has set it keeps his value.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xgboost

    return xgboost


def matrix(use_case: UseCase, rows: Rows, *, ref: Any = None) -> xgboost.QuantileDMatrix:
    """The features and outcomes of rows that have one, in canonical order; `ref` lends its bins."""
    names, kind, bins = feature_names(use_case), use_case.target.kind, use_case.training.params.get("max_bin")
    if isinstance(rows, Spilled):
        return quantile(names, kind, rows.frames, bins, ref=ref, cache=str(rows.folder / f"cache-{rows.name}"))
    ordered = canonical(use_case, rows)
    return quantile(names, kind, lambda: iter([ordered]), bins, ref=ref)


def quantile(
    names: Sequence[str],
    kind: Kind,
    frames: Callable[[], Iterator[pl.DataFrame]],
    bins: int | None,
    *,
    ref: Any = None,
    cache: str | None = None,
) -> xgboost.QuantileDMatrix:
    """The binned features of frames that are read several times; with `cache`, a path, they lie on disk."""
    xgb = load_xgboost()
    make = xgb.ExtMemQuantileDMatrix if cache else xgb.QuantileDMatrix
    made: xgboost.QuantileDMatrix = make(
        _iterator(names, kind, frames, cache), enable_categorical=True, max_bin=bins, ref=ref
    )
    return made


def numeric_target(kind: Kind, target: pl.Series) -> np.ndarray:
    """The outcomes as float64, shape (n,): 0 or 1, the class's position, or the value. Null becomes NaN."""
    physical = target.to_physical() if kind == "multiclass" else target
    return physical.cast(pl.Float64).to_numpy()


def _iterator(names: Sequence[str], kind: Kind, frames: Callable[[], Iterator[pl.DataFrame]], cache: str | None) -> Any:
    xgb = load_xgboost()

    class Batches(xgb.DataIter):  # type: ignore[misc, name-defined]
        """XGBoost reads all batches several times."""

        def next(self, input_data: Callable[..., None]) -> bool:
            batch = next(self.batches, None)
            if batch is None:
                return False
            input_data(data=batch.select(names), label=numeric_target(kind, batch[TARGET]))
            return True

        def reset(self) -> None:
            self.batches = even(frames(), max(1, min(BATCH, VALUES // len(names))))

    batches = Batches(cache_prefix=cache)
    batches.reset()
    return batches

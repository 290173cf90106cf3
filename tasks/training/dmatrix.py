"""Rows as the matrices that XGBoost boosts on: handed over in batches, so that no second copy of the features is made.

    frame      QuantileDMatrix: the binned features in memory
    Spilled    ExtMemQuantileDMatrix: the binned features in a cache beside the rows' files, read as they are needed

The batches are of one size, wherever the rows lie: the same rows give the same bins, and so the same model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from schemas.usecase import UseCase
from schemas.verdicts import Kind
from tasks.features import TARGET, Rows, Spilled, even_batches, feature_names, in_canonical_order, numeric_target
from tasks.models import load_xgboost

if TYPE_CHECKING:
    import xgboost

BATCH = 1 << 19  # rows at most
VALUES = 1 << 23  # feature values at most: wide rows come in shorter batches


def matrix(use_case: UseCase, rows: Rows, *, ref: Any = None) -> xgboost.QuantileDMatrix:
    """The features and outcomes of rows that have one, in canonical order; `ref` lends its bins."""
    names, kind, bins = feature_names(use_case), use_case.target.kind, use_case.training.params.get("max_bin")
    if isinstance(rows, Spilled):
        return quantile(names, kind, rows.frames, bins, ref=ref, cache=str(rows.folder / f"cache-{rows.name}"))
    ordered = in_canonical_order(use_case, rows)
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
    batches = _iterator(names, kind, frames, cache)
    binned: xgboost.QuantileDMatrix = make(batches, enable_categorical=True, max_bin=bins, ref=ref)
    return binned


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
            self.batches = even_batches(frames(), max(1, min(BATCH, VALUES // len(names))))

    batches = Batches(cache_prefix=cache)
    batches.reset()
    return batches

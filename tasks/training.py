"""Splitting labelled rows by time and fitting a booster: same rows, parameters and seed give the same bytes.

Rows are brought into canonical order first, and a model's bytes hold no commit, run, time or thread count.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import polars as pl

from schemas.errors import NotEnoughEvidence, UsageError
from schemas.usecase import UseCase
from tasks.features import BLOCK, TARGET, canonical, feature_names, key_hash
from tasks.moments import of_kind

if TYPE_CHECKING:
    import xgboost

Device = Literal["cpu", "cuda"]
SMALL = 1_000_000  # values: below, threads cost more than they bring
OBJECTIVES = {
    "binary": {"objective": "binary:logistic", "eval_metric": "logloss"},
    "multiclass": {"objective": "multi:softprob", "eval_metric": "mlogloss"},
    "regression": {"objective": "reg:squarederror", "eval_metric": "rmse"},
}


class Parts3(NamedTuple):
    """Labelled rows, oldest first: to fit on, to stop early by, and to hold out for the gate."""

    train: pl.DataFrame
    stopping: pl.DataFrame
    holdout: pl.DataFrame


@dataclass(frozen=True)
class Fitted:
    """A model as UBJSON bytes, how many rounds it has, and each feature's share of the gain (they sum to 1)."""

    model: bytes
    best_rounds: int
    importances: Mapping[str, float]


def split_by_time(use_case: UseCase, frame: pl.DataFrame, *, after: datetime | None = None) -> Parts3:
    """Cut the rows that have an outcome into [ train | stopping | holdout ], each in canonical order.

    Every row of the holdout is newer than every other row, and, where `after` is given (the newest event time a champion
    was fitted on), newer than that. Where blocks follow each other in time, a part begins with a whole block. Without
    event times a hash of the key decides and `after` has no meaning. Parts may be empty.
    """
    known = canonical(use_case, frame.lazy().filter(pl.col(TARGET).is_not_null()))
    if use_case.time is None:
        return _split_by_key(use_case, known)
    holdout = _newest(use_case.time, known, use_case.split.holdout_days)
    if after is not None:
        holdout &= known[use_case.time] > of_kind(known.schema[use_case.time], after)
    rest = known.filter(~holdout)
    stopping = _newest(use_case.time, rest, use_case.split.stopping_days)
    return Parts3(rest.filter(~stopping), rest.filter(stopping), known.filter(holdout))


def fit(
    use_case: UseCase,
    train: pl.DataFrame,
    stopping: pl.DataFrame,
    *,
    device: Device = "cpu",
    threads: int | None = None,
    rounds: int | None = None,
) -> Fitted:
    """Boost on `train` until the loss on `stopping` has not fallen for a while, at most `rounds` rounds.

    Pure: the same rows in any order give the same bytes, whatever the thread count. The bytes are those that `refit` gives
    on `train` with the rounds found. Raises NotEnoughEvidence without rows or with one class only, UsageError for
    parameters that XGBoost refuses.
    """
    xgb = load_xgboost()
    _check_rows(use_case, train=train, stopping=stopping)
    with _params_refused(use_case):
        matrix = _matrix(use_case, train)
        booster = xgb.train(
            _params(use_case, device, threads, train.height),
            matrix,
            rounds or use_case.training.rounds,
            evals=[(_matrix(use_case, stopping, ref=matrix), "stopping")],
            early_stopping_rounds=use_case.training.stopping_rounds,
            verbose_eval=False,
        )
    best = booster.best_iteration + 1
    return _fitted(use_case, _cut(booster, best), best)


def refit(
    use_case: UseCase, frame: pl.DataFrame, rounds: int, *, device: Device = "cpu", threads: int | None = None
) -> Fitted:
    """Boost on all rows that have an outcome for exactly `rounds` rounds. Raises as `fit` does."""
    xgb = load_xgboost()
    known = frame.filter(pl.col(TARGET).is_not_null())
    _check_rows(use_case, train=known)
    with _params_refused(use_case):
        booster = xgb.train(_params(use_case, device, threads, known.height), _matrix(use_case, known), rounds)
    return _fitted(use_case, booster, rounds)


def load_xgboost() -> ModuleType:
    """XGBoost, imported when first used, with threads that sleep while they wait.

    By default they spin, and on a machine with other work a fit then takes five times as long. The variable is read when
    the library loads; who has set it keeps his value.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xgboost

    return xgboost


def numeric_target(use_case: UseCase, target: pl.Series) -> np.ndarray:
    """The outcomes as float64, shape (n,): 0 or 1, the class's position, or the value. Null becomes NaN."""
    physical = target.to_physical() if use_case.target.kind == "multiclass" else target
    return physical.cast(pl.Float64).to_numpy()


def _newest(time: str, rows: pl.DataFrame, days: int) -> pl.Series:
    """Which rows lie in the newest days: from the first block that begins in them, where blocks follow each other."""
    if rows.is_empty():
        return pl.Series([], dtype=pl.Boolean)
    cutoff = rows[time].max() - timedelta(days=days)  # type: ignore[operator]
    spans = rows.group_by(BLOCK).agg(first=pl.col(time).min(), last=pl.col(time).max()).sort("first")
    starts = spans.filter(pl.col("first") > cutoff)["first"]
    whole = not starts.is_empty() and not (spans["first"] <= spans["last"].shift(1)).any()
    newest: pl.Series = rows[time] >= starts[0] if whole else rows[time] > cutoff
    return newest


def _split_by_key(use_case: UseCase, rows: pl.DataFrame) -> Parts3:
    share = rows.select(key_hash(use_case) / 2.0**64).to_series()
    held = share < use_case.split.holdout_share
    stopping = ~held & (share < use_case.split.holdout_share + use_case.split.stopping_share)
    return Parts3(rows.filter(~held & ~stopping), rows.filter(stopping), rows.filter(held))


def _check_rows(use_case: UseCase, **parts: pl.DataFrame) -> None:
    for name, rows in parts.items():
        if rows.is_empty() or rows[TARGET].null_count():
            raise NotEnoughEvidence(f"cannot fit {use_case.name!r}: no outcomes in the {name} rows; publish labels first")
    if use_case.target.kind != "regression" and parts["train"][TARGET].n_unique() < 2:
        raise NotEnoughEvidence(f"cannot fit {use_case.name!r}: the training rows hold one class only")


def _matrix(use_case: UseCase, rows: pl.DataFrame, ref: Any = None) -> xgboost.QuantileDMatrix:
    xgb = load_xgboost()
    ordered = canonical(use_case, rows)
    label = numeric_target(use_case, ordered[TARGET])
    features = ordered.select(feature_names(use_case))
    bins = use_case.training.params.get("max_bin")
    matrix: xgboost.QuantileDMatrix = xgb.QuantileDMatrix(
        features, label=label, enable_categorical=True, max_bin=bins, ref=ref
    )
    return matrix


def _params(use_case: UseCase, device: Device, threads: int | None, rows: int) -> dict[str, Any]:
    ours: dict[str, Any] = {"seed": use_case.training.seed, "device": device, "tree_method": "hist", "booster": "gbtree"}
    if taken := sorted({*ours, "num_class", "nthread"} & set(use_case.training.params)):
        raise UsageError(f"cannot fit {use_case.name!r}: the parameter {taken[0]!r} is set elsewhere; take it out of params")
    if use_case.target.kind == "multiclass":
        ours["num_class"] = len(use_case.target.classes)
    if threads or rows * len(use_case.features) < SMALL:
        ours["nthread"] = threads or 1
    return {**OBJECTIVES[use_case.target.kind], **use_case.training.params, **ours}


@contextmanager
def _params_refused(use_case: UseCase) -> Iterator[None]:
    """Turn what XGBoost says of a parameter into one line: its errors, and its warnings about unknown names."""
    xgb = load_xgboost()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            yield
        except xgb.core.XGBoostError as error:
            raise UsageError(f"cannot fit {use_case.name!r}: {_first_line(str(error))}") from None
    for warning in said:
        raise UsageError(f"cannot fit {use_case.name!r}: {_first_line(str(warning.message))}")


def _first_line(text: str) -> str:
    """The first lines of an XGBoost message, without its time stamp and source file."""
    lines = [line.strip() for line in text.partition("Stack trace")[0].splitlines() if line.strip()]
    return " ".join(lines[:2]).rpartition(".cc:")[2].lstrip("0123456789: ")


def _cut(booster: xgboost.Booster, rounds: int) -> xgboost.Booster:
    """The booster's first rounds, as JSON with fewer trees. XGBoost's own slice (3.2) forgets the category names."""
    xgb = load_xgboost()
    document = json.loads(booster.save_raw("json"))
    trees = document["learner"]["gradient_booster"]["model"]
    trees["iteration_indptr"] = trees["iteration_indptr"][: rounds + 1]
    count = trees["iteration_indptr"][-1]
    trees["trees"], trees["tree_info"] = trees["trees"][:count], trees["tree_info"][:count]
    trees["gbtree_model_param"]["num_trees"] = str(count)
    document["learner"]["attributes"] = {}
    cut: xgboost.Booster = xgb.Booster(model_file=bytearray(json.dumps(document, ensure_ascii=False).encode()))
    return cut


def _fitted(use_case: UseCase, booster: xgboost.Booster, rounds: int) -> Fitted:
    gains: Any = booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    shares = {name: float(gains.get(name, 0.0)) / total for name in feature_names(use_case)}
    return Fitted(bytes(booster.save_raw("ubj")), rounds, shares)

"""Fitting a booster: the same rows, parameters and seed give the same bytes.

Rows are brought into canonical order first, and a model's bytes hold no commit, run, time or thread count.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from schemas.errors import NotEnoughEvidence, UsageError
from schemas.fitting import Device
from schemas.usecase import UseCase
from tasks.features import TARGET, Rows, feature_names, numeric_target, with_outcome
from tasks.models import Sigmoid, calibrated, load_xgboost, sigmoid
from tasks.training.dmatrix import matrix

if TYPE_CHECKING:
    import xgboost

STOPPING = "stopping"  # what XGBoost's callbacks know the watched rows by
SMALL = 1_000_000  # values: below, threads cost more than they bring
OBJECTIVES = {
    "binary": {"objective": "binary:logistic", "eval_metric": "logloss"},
    "multiclass": {"objective": "multi:softprob", "eval_metric": "mlogloss"},
    "regression": {"objective": "reg:squarederror", "eval_metric": "rmse"},
}


@dataclass(frozen=True)
class Fitted:
    """A model as UBJSON bytes, how many rounds it has, and each feature's share of the gain (they sum to 1).

    `calibration`: slope and intercept of the logistic curve that its leaves hold, if any.
    """

    model: bytes
    best_rounds: int
    importances: Mapping[str, float]
    calibration: Sigmoid | None = None


@dataclass(frozen=True)
class Watched:
    """Rows that stop boosting: their matrix, binned as the training rows, and for how many rounds the loss may not fall."""

    matrix: xgboost.QuantileDMatrix
    rounds: int


def boost(
    params: Mapping[str, Any],
    bins: xgboost.QuantileDMatrix,
    rounds: int,
    watched: Watched | None = None,
    callbacks: Sequence[Any] = (),
) -> xgboost.Booster:
    """Boost on binned rows; whatever trains a model ends here.

    Args:
        params: XGBoost's parameters, from `parameters`.
        bins: The training rows, from `matrix` or `quantile`.
        rounds: How many rounds, or with `watched` how many at most.
        watched: Rows that end it early; None for none.
        callbacks: XGBoost's, called after each round.

    Returns:
        The booster of all rounds that were made; with `watched`, `best_iteration` says after which the loss was least.
    """
    early: dict[str, Any] = {}
    if watched is not None:
        early = {"evals": [(watched.matrix, STOPPING)], "early_stopping_rounds": watched.rounds}
    booster: xgboost.Booster = load_xgboost().train(
        dict(params), bins, rounds, verbose_eval=False, callbacks=list(callbacks), **early
    )
    return booster


def fit_booster(
    use_case: UseCase,
    train: Rows,
    stopping: pl.DataFrame,
    *,
    device: Device = "cpu",
    threads: int | None = None,
    callbacks: Sequence[Any] = (),
) -> Fitted:
    """Fit a challenger: boost on `train` until `stopping` no longer gains, then calibrate on `stopping`.

    Args:
        use_case: The use case.
        train: Designed rows with `_target` to fit on, in memory or in files.
        stopping: Newer rows that stop the boosting.
        device: Where XGBoost computes, `cpu` or `cuda`.
        threads: Threads of XGBoost; None for all.
        callbacks: Callbacks of XGBoost, called each round.

    Returns:
        The model's bytes, its rounds, its calibration and its importances.

    Raises:
        NotEnoughEvidence: There are too few rows, or rows of one class only.
    """
    check_rows(use_case, train=train, stopping=stopping)
    with params_refused(use_case):
        bins = matrix(use_case, train)
        watched = Watched(matrix(use_case, stopping, ref=bins), use_case.training.stopping_rounds)
        params = parameters(use_case, device, threads, train.height)
        booster = boost(params, bins, use_case.training.rounds, watched, callbacks)
    return concluded(use_case, booster, booster.best_iteration + 1, stopping)


def concluded(use_case: UseCase, booster: xgboost.Booster, best: int, stopping: pl.DataFrame) -> Fitted:
    """What early stopping found: the best rounds alone, calibrated on the rows that stopped it, where the use case asks."""
    plain = _cut(booster, best)
    return finished(use_case, plain, best, _coefficients(use_case, plain, stopping))


def refit_booster(
    use_case: UseCase,
    frame: Rows,
    rounds: int,
    *,
    calibration: Sigmoid | None = None,
    device: Device = "cpu",
    threads: int | None = None,
) -> Fitted:
    """Boost on all rows that have an outcome for exactly `rounds` rounds, and calibrate as told.

    Args:
        use_case: The use case.
        frame: Designed rows with `_target`, in memory or in files.
        rounds: Boosting rounds.
        calibration: Slope and intercept; None for none.
        device: Where XGBoost computes, `cpu` or `cuda`.
        threads: Threads of XGBoost; None for all.

    Returns:
        The model's bytes, its rounds, its calibration and its importances.

    Raises:
        NotEnoughEvidence: There are no rows, or rows of one class only.
    """
    known = with_outcome(frame) if isinstance(frame, pl.DataFrame) else frame
    check_rows(use_case, train=known)
    with params_refused(use_case):
        booster = boost(parameters(use_case, device, threads, known.height), matrix(use_case, known), rounds)
    return finished(use_case, booster, rounds, calibration)


def _coefficients(use_case: UseCase, booster: xgboost.Booster, stopping: pl.DataFrame) -> Sigmoid | None:
    if use_case.training.calibration == "none":
        return None
    if use_case.target.kind == "regression":
        raise UsageError(f"cannot fit {use_case.name!r}: calibration is for classes; set it to 'none' for a regression")
    booster.set_param({"nthread": 1})
    margins = booster.inplace_predict(stopping.select(feature_names(use_case)), predict_type="margin")
    return sigmoid(use_case, margins.astype(np.float64), numeric_target(use_case.target.kind, stopping[TARGET]))


def check_rows(use_case: UseCase, **parts: Rows) -> None:
    """Raise NotEnoughEvidence where a part has no rows or the training rows hold one class only."""
    for name, rows in parts.items():
        if not rows.height or (isinstance(rows, pl.DataFrame) and rows[TARGET].null_count()):
            raise NotEnoughEvidence(f"cannot fit {use_case.name!r}: no outcomes in the {name} rows; publish labels first")
    train = parts["train"]
    outcomes = train[TARGET].n_unique() if isinstance(train, pl.DataFrame) else train.outcomes
    if use_case.target.kind != "regression" and outcomes < 2:
        raise NotEnoughEvidence(f"cannot fit {use_case.name!r}: the training rows hold one class only")


def parameters(use_case: UseCase, device: Device, threads: int | None, rows: int) -> dict[str, Any]:
    """XGBoost's parameters for that many rows. Raises UsageError for one that is not the use case's to set."""
    ours: dict[str, Any] = {"seed": use_case.training.seed, "device": device, "tree_method": "hist", "booster": "gbtree"}
    if reserved := sorted({*ours, "num_class", "nthread"} & set(use_case.training.params)):
        raise UsageError(
            f"cannot fit {use_case.name!r}: the parameter {reserved[0]!r} is set elsewhere; take it out of params"
        )
    if use_case.target.kind == "multiclass":
        ours["num_class"] = len(use_case.target.classes)
    if threads or rows * len(use_case.features) < SMALL:
        ours["nthread"] = threads or 1
    return {**OBJECTIVES[use_case.target.kind], **use_case.training.params, **ours}


@contextmanager
def params_refused(use_case: UseCase) -> Iterator[None]:
    """Turn what XGBoost says of a parameter into one line: its errors, and its warnings about unknown names."""
    xgb = load_xgboost()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            yield
        except xgb.core.XGBoostError as error:
            raise UsageError(f"cannot fit {use_case.name!r}: {_complaint(str(error))}") from None
    for warning in said:
        if ".cc:" not in str(warning.message):  # not XGBoost's: others warn of their own troubles
            continue
        raise UsageError(f"cannot fit {use_case.name!r}: {_complaint(str(warning.message))}")


def _complaint(text: str) -> str:
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


def finished(use_case: UseCase, booster: xgboost.Booster, rounds: int, coefficients: Sigmoid | None) -> Fitted:
    """The booster's bytes, calibrated where there are coefficients, and what its features gained."""
    gains: Any = booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    shares = {name: float(gains.get(name, 0.0)) / total for name in feature_names(use_case)}
    model = bytes(booster.save_raw("ubj"))
    return Fitted(calibrated(model, coefficients) if coefficients else model, rounds, shares, coefficients)

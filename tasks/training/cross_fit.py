"""Cross-fitted scores: of a small file without event times every row judges, each by a model that was not fitted on it.

A fifth of a few hundred rows says too little of a first model: which rows a hash holds out decides more than what was
learned. So the recipe is fitted once for each fold, and the folds' holdouts are judged together (K-fold cross-validation:
Stone, 1974, "Cross-validatory choice and assessment of statistical predictions"). The first fold's version ships.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from schemas.errors import NotEnoughEvidence
from schemas.fitting import Device
from schemas.usecase import UseCase
from tasks import evaluation, features, models
from tasks.training.engines import Split
from tasks.training.fit import fit_booster

SMALL_HOLDOUT = 1_000  # rows; a larger one says enough by itself


@dataclass(frozen=True)
class Judgment:
    """What a gate reads: rows, and for each the scores of models that were not fitted on it, shape (n,) or (n, classes)."""

    rows: pl.DataFrame
    scores: np.ndarray
    baseline: np.ndarray
    constant: np.ndarray | None  # None where the baseline is the constant, or a person's own
    folds: int = 1


def judge_holdout(case: UseCase, older: pl.DataFrame, holdout: pl.DataFrame, scores: np.ndarray) -> Judgment:
    """What the gate reads of one holdout.

    Args:
        case: The use case.
        older: Rows that are fitted on, with `_target`.
        holdout: Rows that are held out.
        scores: The challenger's scores of them, shape (n,), or (n, classes).

    Returns:
        The holdout with the scores of challenger, baseline and constant.
    """
    constant = None if case.gate.baseline == "constant" else evaluation.constant_scores(case, older, holdout)
    return Judgment(holdout, scores, evaluation.baseline_scores(case, older, holdout), constant)


def judge_in_folds(case: UseCase, parts: Split, first: Judgment, device: Device) -> Judgment:
    """What the gate reads of all rows of a small file without event times.

    Args:
        case: The use case, with the parameters that the challenger was fitted by.
        parts: The split rows.
        first: The judgment on the holdout of `parts`, which is the first fold.
        device: Where XGBoost computes, `cpu` or `cuda`.

    Returns:
        The judgments of all folds together; `first` where that holdout is large, lies in files, or a fold cannot be fitted.
    """
    known = parts.known
    if not isinstance(known, pl.DataFrame) or parts.holdout.height >= SMALL_HOLDOUT:
        return first
    try:
        others = [_fold(case, known, fold, device) for fold in range(1, int(1 / case.split.holdout_share + 1e-9))]
    except NotEnoughEvidence:
        return first
    return _joined([first, *(each for each in others if each.rows.height)])


def _fold(case: UseCase, known: pl.DataFrame, fold: int, device: Device) -> Judgment:
    stopping, held = known.select(**features.fold_conditions(case, fold)._asdict())
    train, stop, holdout = known.filter(~held & ~stopping), known.filter(stopping), known.filter(held)
    fitted = fit_booster(case, train, stop, device=device)
    scores = models.predict_scores(case, models.load_booster(fitted.model), holdout)
    return judge_holdout(case, pl.concat([train, stop]), holdout, scores)


def _joined(folds: list[Judgment]) -> Judgment:
    constants = [each.constant for each in folds if each.constant is not None]
    return Judgment(
        pl.concat([each.rows for each in folds]),
        np.concatenate([each.scores for each in folds]),
        np.concatenate([each.baseline for each in folds]),
        np.concatenate(constants) if constants else None,
        len(folds),
    )

"""Realized performance: labels that come late, doubled or corrected, joined to the predictions they belong to.

    several predictions of a key by one model    the first made counts: it is the one that was acted on
    several labels of a key                      the newest known counts

So repeats of either change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from schemas.refs import CommitId, Sha256
from schemas.score_columns import internal_names, to_scores
from schemas.usecase import UseCase
from schemas.verdicts import Evaluation
from tasks import evaluation, features
from tasks.features import TARGET

ORDER_MADE = ("scored_at", "prediction_id")  # the id decides where two were made at one moment


def first_predictions(predictions: pl.LazyFrame, keys: Sequence[str]) -> pl.LazyFrame:
    """One model's predictions with one row a key: the one that was made first.

    Args:
        predictions: Rows of the prediction store, in any order, with `scored_at` and `prediction_id`.
        keys: Columns that name a row: the use case's key, or `row_key` where a part of it is private.

    Returns:
        As many rows as there are keys, in no particular order.
    """
    return predictions.sort(ORDER_MADE).unique(list(keys), keep="first")


def realized(
    use_case: UseCase, rows: pl.LazyFrame, labels: pl.LazyFrame, *, model_sha256: Sha256, data_commit: CommitId
) -> Evaluation | None:
    """Metrics of one model on the rows whose outcome is known.

    Args:
        use_case: Says what the outcome is and which metrics there are.
        rows: Designed rows with the model's scores, one a key (`first_predictions`).
        labels: Rows of the label input, in any order; those of other keys are ignored.
        model_sha256: The model's hash, stated in the evaluation.
        data_commit: The commit that the labels are read at, stated in the evaluation.

    Returns:
        The evaluation, None where no outcome is known.
    """
    keys = list(use_case.key)
    time = [use_case.time] if use_case.time else []
    names = internal_names(use_case.target)
    needed = dict.fromkeys((*keys, *time, *use_case.slices, features.BLOCK, *names))
    scored = rows.select(*needed).collect()
    known = features.newest_labels(use_case, labels.join(rows.select(keys), on=keys, how="semi"))
    joined = scored.join(known, on=keys, how="left", maintain_order="left")
    judged = joined.filter(pl.col(TARGET).is_not_null())
    if judged.is_empty():
        return None
    scores = to_scores(use_case.target, names, judged)
    return evaluation.evaluate(use_case, model_sha256, data_commit, judged, scores)


def label_coverage(use_case: UseCase, rows: pl.LazyFrame, labels: pl.LazyFrame) -> float:
    """Share of rows whose label has come, 0 to 1.

    A label may come without an outcome (a flight that was cancelled): it counts.

    Args:
        use_case: Says what the outcome is.
        rows: Rows with the use case's key, one a key.
        labels: Rows of the label input, in any order; those of other keys are ignored.

    Returns:
        The share; 0 where there are no rows.
    """
    keys = list(use_case.key)
    asked = rows.select(keys).collect()
    known = features.newest_labels(use_case, labels.join(asked.lazy(), on=keys, how="semi"))
    return asked.join(known, on=keys, how="semi").height / asked.height if asked.height else 0.0

"""Realized performance: labels that come late, doubled or corrected, joined to the predictions they belong to."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from schemas.errors import NotEnoughEvidence, UsageError
from schemas.usecase import UseCase
from schemas.verdicts import Evaluation, Performance, Realized
from tasks.evaluation import evaluate
from tasks.features import KNOWN, SCORE_PREFIX, TARGET, newest_labels

WINDOW = "_window"
MODEL = ("model_sha256", "data_commit")


def realized(
    use_case: UseCase,
    predictions: pl.DataFrame,
    labels: pl.DataFrame | pl.LazyFrame,
    as_of: datetime | None = None,
    *,
    every: str = "1w",
) -> Performance:
    """Metrics of every window of event time (`every`: a polars duration) and model, with the labels known at `as_of`.

    `predictions`: key columns, event time, `model_sha256`, `data_commit`, the scores (as references.with_scores names them)
    and, for what needs them, `_block` and the slices. `labels`: all rows of the label input, in any order. Of several labels
    of a key the newest known counts, of several predictions of a key by one model the first made. The result depends on
    neither order nor repeats. Raises UsageError where the use case has no event time or the predictions lack a column.
    """
    if use_case.time is None:
        raise UsageError(f"{use_case.name} has no event time: realized metrics need one to tell windows apart")
    known = newest_labels(use_case, labels, as_of)
    made = _first_made(use_case, predictions)
    keys = list(use_case.key)
    joined = made.join(known, on=keys, how="left", maintain_order="left")
    windowed = joined.with_columns(pl.col(use_case.time).dt.truncate(every).alias(WINDOW))
    groups = windowed.partition_by([WINDOW, MODEL[0]], maintain_order=True, as_dict=True)
    found = [_window(use_case, group, every) for _, group in sorted(groups.items())]
    strangers = known.join(made, on=keys, how="anti").height
    return Performance(as_of=as_of, windows=tuple(found), unknown_labels=strangers)


def _first_made(use_case: UseCase, predictions: pl.DataFrame) -> pl.DataFrame:
    """One prediction a key and model, in the order of time and key."""
    time = str(use_case.time)
    needed = [*use_case.key, time, *MODEL]
    missing = [name for name in needed if name not in predictions.columns]
    if missing or not any(name.startswith(SCORE_PREFIX) for name in predictions.columns):
        raise UsageError(
            f"predictions of {use_case.name} lack {', '.join(missing) or SCORE_PREFIX}; give designed rows with scores"
        )
    tie = [name for name in ("scored_at", "prediction_id") if name in predictions.columns]
    scores = [name for name in predictions.columns if name.startswith(SCORE_PREFIX)]
    ordered = predictions.drop(TARGET, KNOWN, strict=False).sort([time, *use_case.key, *MODEL, *tie, *scores])
    return ordered.unique([*use_case.key, MODEL[0]], keep="first", maintain_order=True)


def _window(use_case: UseCase, rows: pl.DataFrame, every: str) -> Realized:
    start = rows[WINDOW][0]
    return Realized(
        window=(start, pl.select(pl.lit(rows[WINDOW][:1]).dt.offset_by(every)).item()),
        predictions=rows.height,
        labelled=rows[KNOWN].count(),
        evaluation=_evaluation(use_case, rows.filter(pl.col(TARGET).is_not_null()).drop(WINDOW, KNOWN)),
    )


def _evaluation(use_case: UseCase, rows: pl.DataFrame) -> Evaluation | None:
    if rows.is_empty():
        return None
    names = [name for name in rows.columns if name.startswith(SCORE_PREFIX)]
    scores = rows[names[0]].to_numpy() if names == [SCORE_PREFIX] else rows.select(names).to_numpy()
    try:
        newest: Evaluation = evaluate(use_case, rows[MODEL[0]][0], rows[MODEL[1]][-1], rows.drop(names), scores)
    except NotEnoughEvidence:
        return None
    return newest

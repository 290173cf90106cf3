"""One scored window, on disk: designed rows of any number with the scores as they were recorded, never whole in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import dropwhile, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from schemas.refs import Commit, DataRef
from schemas.score_columns import internal_names, prediction_names
from schemas.usecase import UseCase
from tasks import datasets, evaluation, features, inference
from tasks.monitoring.realized_performance import ORDER_MADE, first_predictions
from tasks.versions import VersionStore, open_store


@dataclass(frozen=True)
class Window:
    """Rows with the columns of the design and `score_columns.internal_names`, for as long as their file is there.

    Each with the score that its model gave it first: that is the one which was acted on, and which labels judge.
    """

    case: UseCase
    rows: pl.LazyFrame
    height: int
    times: tuple[datetime, datetime] | None


@contextmanager
def window(case: UseCase, data: DataRef, log: VersionStore, entry: Commit) -> Iterator[Window]:
    """The rows of one scoring, seen as of `data`; the file is gone after the block."""
    with TemporaryDirectory(prefix="penstock-window-") as folder:
        file = Path(folder) / "window.parquet"
        _rows(case, data, log, entry).sink_parquet(file, compression="lz4")
        rows = pl.scan_parquet(file)
        yield Window(case, rows, rows.select(pl.len()).collect().item(), _times(case, rows))


def _rows(case: UseCase, data: DataRef, log: VersionStore, entry: Commit) -> pl.LazyFrame:
    paths = datasets.paths_added_by(open_store(data.store), entry.metadata["arrival"], case.rows)
    rows, keys = datasets.load_designed_rows(case, data, paths), list(case.key)
    scored = inference.published_predictions(log, entry)
    if _has(scored, [inference.ROW_KEY]):  # a part of the key is private
        rows, keys = rows.with_columns(features.key_hash(case).alias(inference.ROW_KEY)), [inference.ROW_KEY]
    before = [inference.published_predictions(log, each) for each in _earlier(log, entry)]
    recorded = recorded_scores(case, _first(scored, before, keys, prediction_names(case.target)), keys)
    return rows.join(recorded, on=keys, how="inner", maintain_order="left").drop(inference.ROW_KEY, strict=False)


def recorded_scores(case: UseCase, predictions: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
    """Keys and scores of stored predictions, the scores under the names that they have beside designed rows."""
    return predictions.select(*keys, **dict(zip(internal_names(case.target), prediction_names(case.target), strict=True)))


def _first(scored: pl.LazyFrame, before: list[pl.LazyFrame], keys: list[str], scores: list[str]) -> pl.LazyFrame:
    """What a scoring said of its rows; of those that its model had scored before, what it said first."""
    needed = [*keys, *scores, *ORDER_MADE]
    again = [each.select(needed).join(scored, on=keys, how="semi") for each in before if _has(each, keys)]
    return first_predictions(pl.concat([scored.select(needed), *again]), keys) if again else scored


def _has(predictions: pl.LazyFrame, columns: list[str]) -> bool:
    """Whether the columns are there: what is private may have changed between two scorings."""
    return set(columns) <= set(predictions.collect_schema().names())


def _earlier(log: VersionStore, entry: Commit) -> Iterator[Commit]:
    """The scorings by the same model before this one that may hold some of its rows."""
    older = dropwhile(lambda each: each.id != entry.id, inference.scorings(log))
    for each in islice(older, 1, None):
        if each.metadata["model_sha256"] == entry.metadata["model_sha256"] and _may_share_rows(each, entry):
            yield each


def _may_share_rows(one: Commit, other: Commit) -> bool:
    """Whether their event times overlap; rows without event times may always be the same."""
    mine, theirs = ([each.metadata["first"], each.metadata["last"]] for each in (one, other))
    if not all((*mine, *theirs)):
        return True
    (low, high), (first, last) = (map(datetime.fromisoformat, ends) for ends in (mine, theirs))
    return first <= high and low <= last


def _times(case: UseCase, rows: pl.LazyFrame) -> tuple[datetime, datetime] | None:
    if case.time is None:
        return None
    ends = (pl.col(case.time).min(), pl.col(case.time).max())
    return evaluation.event_window(case, pl.concat([rows.select(end) for end in ends]).drop_nulls().collect())

"""One scored window, on disk: designed rows of any number with the scores as they were recorded, never whole in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from schemas.refs import Commit, DataRef
from schemas.usecase import UseCase
from tasks import datasets, evaluation, features, inference
from tasks.versions import VersionStore, open_store


@dataclass(frozen=True)
class Window:
    """Rows with the columns of the design and `_score` (`_score_<class>`), for as long as their file is there."""

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


def scores_of(case: UseCase, rows: pl.DataFrame) -> np.ndarray:
    """Scores of shape (n,) or (n, classes)."""
    names = features.score_names(case)
    return rows.select(names).to_numpy() if _multiclass(case) else rows[names[0]].to_numpy()


def _multiclass(case: UseCase) -> bool:
    return case.target.kind == "multiclass"


def _rows(case: UseCase, data: DataRef, log: VersionStore, entry: Commit) -> pl.LazyFrame:
    made = inference.published_predictions(log, entry)
    paths = datasets.paths_added_by(open_store(data.store), entry.metadata["arrival"], case.rows)
    rows, keys = datasets.load_designed_rows(case, data, paths), list(case.key)
    if inference.ROW_KEY in made.collect_schema().names():  # a part of the key is private
        rows, keys = rows.with_columns(features.key_hash(case).alias(inference.ROW_KEY)), [inference.ROW_KEY]
    recorded = made.select(
        *keys, *(pl.col(name).alias(as_) for as_, name in zip(features.score_names(case), _told(case), strict=True))
    )
    return rows.join(recorded, on=keys, how="inner", maintain_order="left").drop(inference.ROW_KEY, strict=False)


def _told(case: UseCase) -> list[str]:
    """The columns of a receipt that hold the scores."""
    if _multiclass(case):
        return [f"probability_{name}" for name in case.target.classes]
    return ["probability" if case.target.kind == "binary" else "prediction"]


def _times(case: UseCase, rows: pl.LazyFrame) -> tuple[datetime, datetime] | None:
    if case.time is None:
        return None
    ends = (pl.col(case.time).min(), pl.col(case.time).max())
    return evaluation.event_window(case, pl.concat([rows.select(end) for end in ends]).drop_nulls().collect())

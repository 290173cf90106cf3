"""Where labelled rows lie while a model is fitted on them: in memory, in files, or in files that Dask's workers read.

    memory      frames, binned in batches
    external    files of bounded size, binned into a cache on disk; only the newest days are frames
    dask        the same files, dealt out to the workers of a dask.distributed cluster

`memory` and `external` give the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

import polars as pl

from schemas.fitting import Device, Engine
from schemas.refs import DataRef
from schemas.settings import in_force
from schemas.usecase import UseCase
from tasks import datasets, features
from tasks.datasets import spill_to_files
from tasks.features import SAMPLED, Rows, Spilled, split_by_time
from tasks.models import Sigmoid
from tasks.training.fit import Fitted, fit_booster, refit_booster
from tasks.training.holdout import HeldOut


@dataclass(frozen=True)
class Split:
    """Labelled rows of a commit, cut by time; `known` are those of a refit: all, or all but the deliveries held out."""

    train: Rows
    stopping: pl.DataFrame
    holdout: pl.DataFrame
    known: Rows


@contextmanager
def split_rows(
    case: UseCase, data: DataRef, engine: Engine, after: datetime | None = None, held: HeldOut | None = None
) -> Iterator[Split]:
    """The labelled rows of a commit, split as `split_by_time` does; files live as long as the context.

    Args:
        case: The use case.
        data: Commit of the data, and the repository that it lies in.
        engine: Where the rows lie meanwhile: `memory`, `external` or `dask`.
        after: Newest event time that a champion was fitted on; the holdout is newer.
        held: Deliveries that are held out where rows have no event time; None for a share of the keys.

    Yields:
        What is fitted on, what stops the boosting, what the gate judges, and what a refit is fitted on.
    """
    hashes = held.hashes if held else None
    if engine == "memory":
        known = datasets.load_training_rows(case, data)
        parts3 = split_by_time(case, known, after=after, held=hashes)
        seen = known if held is None else features.in_canonical_order(case, pl.concat([parts3.train, parts3.stopping]))
        yield Split(*parts3, seen)
        return
    with tempfile.TemporaryDirectory(prefix="penstock-rows-", dir=in_force().spill) as folder:
        parts = spill_to_files(case, data, Path(folder), after=after, held=hashes)
        if parts is None:
            none = datasets.load_training_rows(case, data)
            yield Split(none, none, none, none)
        else:
            yield Split(parts.train, parts.stopping, parts.holdout, parts.all)


def fit_split(case: UseCase, parts: Split, engine: Engine, device: Device, threads: int | None = None) -> Fitted:
    """Fit a challenger: boost until early stopping, then calibrate.

    Args:
        case: The use case.
        parts: The split rows.
        engine: Where the rows lie meanwhile: `memory`, `external` or `dask`.
        device: Where XGBoost computes, `cpu` or `cuda`.
        threads: Threads of XGBoost; None for all.

    Returns:
        The model's bytes, its rounds, its calibration and its importances.

    Raises:
        NotEnoughEvidence: There are too few rows, or rows of one class only.
    """
    if engine == "dask" and isinstance(parts.train, Spilled):
        from tasks.training import dask_engine

        return dask_engine.fit(case, parts.train, parts.stopping, device=device)
    return fit_booster(case, parts.train, parts.stopping, device=device, threads=threads)


def refit_split(
    case: UseCase,
    parts: Split,
    rounds: int,
    calibration: Sigmoid | None,
    engine: Engine,
    device: Device,
    threads: int | None = None,
) -> Fitted:
    """Fit a recipe on all labelled rows for exactly `rounds` rounds.

    Args:
        case: The use case.
        parts: The split rows.
        rounds: Boosting rounds.
        calibration: Slope and intercept of the challenger; None for none.
        engine: Where the rows lie meanwhile: `memory`, `external` or `dask`.
        device: Where XGBoost computes, `cpu` or `cuda`.
        threads: Threads of XGBoost; None for all.

    Returns:
        The model's bytes, its rounds, its calibration and its importances.

    Raises:
        NotEnoughEvidence: There are no rows, or rows of one class only.
    """
    if engine == "dask" and isinstance(parts.known, Spilled):
        from tasks.training import dask_engine

        return dask_engine.refit(case, parts.known, rounds, calibration=calibration, device=device)
    return refit_booster(case, parts.known, rounds, calibration=calibration, device=device, threads=threads)


def digest_rows(*parts: Rows) -> str:
    """SHA-256 of rows in canonical order, the parts one after the other: the same wherever they lie.

    Args:
        parts: Rows in memory or in files.

    Returns:
        64 hexadecimal digits.
    """
    schema = parts[0].schema
    return features.digest_of_sorted(chain.from_iterable(_frames(rows) for rows in parts), schema)


def count_rows(*parts: Rows) -> int:
    """How many rows there are.

    Args:
        parts: Rows in memory or in files.

    Returns:
        The number.
    """
    return sum(rows.height for rows in parts)


def sample_rows(*parts: Rows) -> pl.DataFrame:
    """The rows themselves where they are in memory; of rows in files about 130,000, evenly spread, the last among them.

    Args:
        parts: Rows in memory or in files.

    Returns:
        The rows as one frame.
    """
    return pl.concat([rows if isinstance(rows, pl.DataFrame) else rows.sample(SAMPLED) for rows in parts if rows.height])


def _frames(rows: Rows) -> Iterator[pl.DataFrame]:
    return iter([rows]) if isinstance(rows, pl.DataFrame) else rows.frames()

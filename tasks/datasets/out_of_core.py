"""Labelled rows of a commit in canonical order, in files: what is trained on where not all of it fits into memory.

The rows are cut into ranges of the first column of their order (the event time), and each range is read, designed,
labelled, sorted and written by itself. Only the newest parts, those of early stopping and the gate, are ever frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from schemas.errors import UsageError
from schemas.refs import DataRef
from schemas.usecase import UseCase
from tasks import features
from tasks.datasets import published
from tasks.features import TARGET, Spilled, split_conditions
from tasks.versions import VersionStore, open_store

PART = 1 << 18  # rows of one file, at most about
VALUES = 1 << 22  # feature values of one file, at most about
LOOKS_AROUND = re.compile(r'"(Agg|Over|Rolling|Window|AnonymousAgg|Shift|CumSum|CumCount|CumMin|CumMax|Rank|Diff)"')


@dataclass(frozen=True)
class SpilledParts:
    """A split: what is fitted on in files, the rest, which is days, as frames."""

    train: Spilled
    stopping: pl.DataFrame
    holdout: pl.DataFrame
    all: Spilled


def spill_to_files(
    case: UseCase, data: DataRef, folder: Path, *, after: datetime | None = None, held: pl.Series | None = None
) -> SpilledParts | None:
    """Write the labelled rows of a commit to `folder` and split them as `split_by_time` does; None where there are none.

    Args:
        case: The use case.
        data: Commit of the data, and the repository that it lies in.
        folder: Where the files are written.
        after: Newest event time that a champion was fitted on; the holdout is newer.
        held: Hashes of the rows that are held out where there are no event times, as in `split_by_time`.

    Returns:
        What is fitted on in files, the rest as frames; None where there are no labelled rows.

    Raises:
        UsageError: A feature looks at other rows than its own: a range of rows does not hold those.
    """
    for name, expression in case.features.items():
        if LOOKS_AROUND.search(str(expression.meta.serialize(format="json"))):
            raise UsageError(f"{case.name}: the feature {name!r} looks at other rows; train with --engine memory")
    files = tuple(_write(case, data, folder))
    if not files:
        return None
    known = pl.scan_parquet(list(files))
    stopping, holdout = split_conditions(case, known, after, held)
    frames = [features.in_canonical_order(case, known.filter(condition)) for condition in (stopping, holdout)]
    every = pl.lit(True) if held is None else ~holdout
    return SpilledParts(_spilled("train", files, ~holdout & ~stopping), frames[0], frames[1], _spilled("all", files, every))


def _spilled(name: str, files: tuple[Path, ...], keep: pl.Expr) -> Spilled:
    counts = [pl.scan_parquet(file).filter(keep).select(pl.len()).collect().item() for file in files]
    nonempty = tuple(file for file, count in zip(files, counts, strict=True) if count)
    outcomes = pl.scan_parquet(list(files)).filter(keep).select(pl.col(TARGET).unique().len()).collect().item()
    return Spilled(name, nonempty, keep, sum(counts), outcomes, pl.read_parquet_schema(files[0]))


def _write(case: UseCase, data: DataRef, folder: Path) -> Iterator[Path]:
    store = open_store(data.store)
    inputs = published.inputs_at(store, data.commit, case)
    column = features.sort_order(case)[0]
    for at, within in enumerate(_ranges(column, _bounds(case, store, data, column))):
        rows = _range(case, inputs, column, within)
        if rows.height:
            file = folder / f"part-{at:05d}.parquet"
            rows.write_parquet(file, compression="lz4")
            yield file


def _range(case: UseCase, inputs: Mapping[str, pl.LazyFrame], column: str, within: pl.Expr) -> pl.DataFrame:
    rows = inputs[case.rows].filter(within).collect().lazy()
    designed = features.design(case, rows, inputs)
    if case.labels:
        labels = inputs[case.labels]
        if column in case.label_input.key:
            labels = labels.filter(within)
        labelled = features.with_labels(case, designed, labels.join(rows.select(case.key), on=list(case.key), how="semi"))
    else:
        labelled = features.with_own_outcome(case, designed, rows)
    return features.in_canonical_order(case, labelled.filter(pl.col(TARGET).is_not_null()))


def _bounds(case: UseCase, store: VersionStore, data: DataRef, column: str) -> list[Any]:
    """Values of the column that cut the rows into ranges of about PART rows, wide ones fewer, by a sample of each file."""
    every = 64
    part = max(every, min(PART, VALUES // len(case.features)))
    sampled = []
    for path in published.data_paths(store, data.commit, case.rows):
        scanned = store.scan(data.commit, [path], case.input(case.rows).contract.dtypes())
        sampled.append(scanned.select(column).collect().to_series().gather_every(every))
    if not sampled:
        return []
    values = pl.concat(sampled).sort()
    return values.gather_every(part // every)[1:].unique(maintain_order=True).to_list()


def _ranges(column: str, bounds: Iterable[Any]) -> Iterator[pl.Expr]:
    """Conditions on the column, each range from its bound on up to the next."""
    edges = [None, *bounds, None]
    for low, high in pairwise(edges):
        above = pl.lit(True) if low is None else pl.col(column) >= low
        yield above if high is None else above & (pl.col(column) < high)

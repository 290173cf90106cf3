"""From a commit to designed rows: what training, scoring and monitoring read from a store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from schemas import model_design
from schemas.model_design import Design
from schemas.refs import CommitId, DataRef
from schemas.usecase import UseCase
from tasks import features
from tasks.datasets import published
from tasks.versions import VersionStore, open_store


def load_designed_rows(case: UseCase, data: DataRef, paths: Sequence[str] | None = None) -> pl.LazyFrame:
    """Designed rows at a commit, all of them or those of some objects, in the order of their paths.

    Args:
        case: The use case.
        data: Commit of the data, and the repository that it lies in.
        paths: Paths of some objects of the rows input; None for all rows.

    Returns:
        Designed rows, as `features.design` gives them; nothing is read until it is collected.
    """
    store = open_store(data.store)
    inputs = published.inputs_at(store, data.commit, case)
    spec = case.input(case.rows)
    rows = inputs[case.rows] if paths is None else store.scan(data.commit, paths, spec.contract.dtypes())
    return features.design(case, rows, inputs)


def absent_columns(design: Design, data: DataRef, paths: Sequence[str]) -> list[str]:
    """Columns that features are made of and that some files lack: rows without them must not be scored with nulls.

    Looked-up inputs count by what their newest publish brought.

    Args:
        design: The model's design.
        data: Commit of the data, and the repository that it lies in.
        paths: Paths of the rows to score.

    Returns:
        The columns' names, those of looked-up inputs as "input.column"; sorted, empty where nothing is missing.
    """
    store, rows = open_store(data.store), design["rows"]
    absent = {column for path in paths for column in _absent(design, rows, store, data.commit, path)}
    for name in {lookup["input"] for lookup in design["lookups"]} - {rows}:
        if newest := published.newest_publish(store, name, data.commit):
            commit = newest.commit.id
            brought = published.paths_added_by(store, commit, name)
            absent |= {f"{name}.{column}" for path in brought for column in _absent(design, name, store, commit, path)}
    return sorted(absent)


def _absent(design: Design, input: str, store: VersionStore, commit: CommitId, path: str) -> set[str]:
    return model_design.absent_columns(design, input, store.scan(commit, [path]).collect_schema().names())


def load_labels(case: UseCase, data: DataRef) -> pl.LazyFrame:
    """Every label row at a commit.

    Args:
        case: The use case.
        data: Commit of the data, and the repository that it lies in.

    Returns:
        The rows of the label input, or of the rows input where that holds the outcome.
    """
    return published.inputs_at(open_store(data.store), data.commit, case)[case.labels or case.rows]


def load_training_rows(case: UseCase, data: DataRef, as_of: datetime | None = None) -> pl.DataFrame:
    """Designed rows that have an outcome at the as-of moment, in canonical order, with `_target`.

    They are in that order before features are made of them, so that no feature depends on the order of delivery.

    Args:
        case: The use case.
        data: Commit of the data, and the repository that it lies in.
        as_of: Labels that became known later do not count; None for all.

    Returns:
        Designed rows with `_target`, none of it null.
    """
    inputs = published.inputs_at(open_store(data.store), data.commit, case)
    if not features.is_sorted(inputs[case.rows].select(features.sort_order(case)).collect(), features.sort_order(case)):
        inputs[case.rows] = inputs[case.rows].sort(features.sort_order(case))
    designed = features.design(case, inputs[case.rows], inputs)
    if case.labels:
        labelled = features.with_labels(case, designed, inputs[case.labels], as_of)
    else:
        labelled = features.with_own_outcome(case, designed, inputs[case.rows])
    return features.with_outcome(features.in_canonical_order(case, labelled))

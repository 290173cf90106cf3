"""From a commit to designed rows: what training, scoring and monitoring read from a store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from schemas.refs import CommitId, DataRef
from schemas.usecase import UseCase
from tasks import features, publishing
from tasks.versions import VersionStore, open_store


def designed(case: UseCase, data: DataRef, paths: Sequence[str] | None = None) -> pl.LazyFrame:
    """Designed rows at a commit, all of them or those of some objects, in the order of their paths."""
    store = open_store(data.store)
    inputs = publishing.inputs_at(store, data.commit, case)
    spec = case.input(case.rows)
    rows = inputs[case.rows] if paths is None else store.scan(data.commit, paths, spec.contract.dtypes())
    return features.design(case, rows, inputs)


def labels(case: UseCase, data: DataRef) -> pl.LazyFrame:
    """Every label row at a commit."""
    return publishing.inputs_at(open_store(data.store), data.commit, case)[case.labels or case.rows]


def training_rows(case: UseCase, data: DataRef, as_of: datetime | None = None) -> pl.DataFrame:
    """Designed rows that have an outcome at the as-of moment, in canonical order, with `_target`.

    They are in that order before features are made of them, so that no feature depends on the order of delivery.
    """
    inputs = publishing.inputs_at(open_store(data.store), data.commit, case)
    if not features.in_order(inputs[case.rows].select(features.order(case)).collect(), features.order(case)):
        inputs[case.rows] = inputs[case.rows].sort(features.order(case))
    designed = features.design(case, inputs[case.rows], inputs)
    if case.labels:
        told = features.labelled(case, designed, inputs[case.labels], as_of)
    else:
        told = features.with_own_outcome(case, designed, inputs[case.rows])
    return features.with_outcome(features.canonical(case, told))


def brought(store: VersionStore, commit: CommitId, input: str) -> list[str]:
    """Paths of the input's accepted rows that a commit of main brought to its first parent."""
    parents = store.get(commit).parents
    if not parents:
        return []
    added = (change.path for change in store.diff(parents[0], commit) if change.kind == "added")
    return sorted(path for path in added if path.startswith(f"data/{input}/"))


def newest_publish(store: VersionStore, input: str, commit: CommitId = "main") -> CommitId | None:
    """The newest commit of main, at or before `commit`, that published rows of an input."""
    for entry in store.log(commit, first_parent=True):
        if entry.metadata.get("kind") == "ingest" and entry.metadata.get("input") == input:
            return entry.id
    return None

"""Which delivery brought which labelled rows: what stands for time where rows have no event time."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from schemas.refs import CommitId, DataRef, Sha256
from schemas.usecase import UseCase
from tasks import features
from tasks.datasets import published
from tasks.versions import VersionStore, open_store

OTHER = ""  # rows that no publish of ours brought


def labelled_deliveries(case: UseCase, data: DataRef) -> Mapping[Sha256, pl.Series]:
    """Hashes (`features.group_hash`) of the labelled rows at a commit by the source that brought them, the newest first.

    Args:
        case: The use case.
        data: Commit of the data, and the repository that it lies in.

    Returns:
        UInt64 series by the source's SHA-256; rows that no publish brought come last, under "".
    """
    store = open_store(data.store)
    left = set(published.data_paths(store, data.commit, case.rows))
    deliveries: dict[Sha256, pl.Series] = {}
    for record in published.live_publishes(store, case.rows, data.commit):
        paths = sorted(left & set(published.paths_added_by(store, record.commit.id, case.rows)))
        left -= set(paths)
        deliveries[record.sha256] = _labelled(case, store, data.commit, paths)
    return deliveries | ({OTHER: _labelled(case, store, data.commit, sorted(left))} if left else {})


def delivered_sources(store: VersionStore, commit: CommitId, case: UseCase) -> set[Sha256]:
    """The sources of rows that were live at a commit.

    Args:
        store: Data repository of the use case.
        commit: Id of a commit of `main`.
        case: The use case.

    Returns:
        SHA-256 of each.
    """
    return {record.sha256 for record in published.live_publishes(store, case.rows, commit)}


def _labelled(case: UseCase, store: VersionStore, commit: CommitId, paths: list[str]) -> pl.Series:
    rows = store.scan(commit, paths, case.input(case.rows).contract.dtypes())
    if case.labels is None:
        rows = rows.filter(case.target.value.is_not_null())
    else:
        spec = case.label_input
        labels = store.scan(commit, published.data_paths(store, commit, spec.name), spec.contract.dtypes())
        known = features.newest_labels(case, labels).drop_nulls(features.TARGET)
        rows = rows.join(known.lazy(), on=list(case.key), how="semi")
    return rows.select(features.group_hash(case).alias("hash")).collect().to_series()

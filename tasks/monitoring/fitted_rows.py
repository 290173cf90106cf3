"""Rows of a window that the model was fitted on: what it scores there is no news, and no metric counts them.

A refit is fitted on all rows, those of the gate's window included. Where a window holds no others, the version that was
gated judges it in the refit's place: it is the same recipe, and has not seen them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from schemas.errors import NotFound
from schemas.refs import DataRef, ModelRef
from schemas.score_columns import internal_names, to_columns
from schemas.usecase import UseCase
from tasks import datasets, features, models, training
from tasks.features import TARGET
from tasks.registry import ModelRegistry, optional_document
from tasks.timestamps import cast_like


@dataclass(frozen=True)
class Judged:
    """Rows of a window that labels can judge, and by whose scores."""

    rows: pl.LazyFrame
    in_sample: int  # rows that the version was fitted on
    by: ModelRef | None = None  # the gated version whose scores stand in the rows, where it judges for its refit


def judged_rows(case: UseCase, registry: ModelRegistry, model: ModelRef, data: DataRef, rows: pl.LazyFrame) -> Judged:
    """The rows of a window that say how good a version is on what it has not seen.

    Args:
        case: The use case, with the version's design.
        registry: The model registry.
        model: The version.
        data: Repository of the data.
        rows: Designed rows with the version's scores (`score_columns.internal_names`), one a key.

    Returns:
        The rows that it was not fitted on; where there are none and it is a refit, those that the gated version was not
        fitted on, with that one's scores.
    """
    left, fitted = without_fitted(case, registry, model, data, rows)
    gated = training.gated_version(registry, model) if fitted and not _any(left) else None
    if gated is None:
        return Judged(left, fitted)
    unseen = without_fitted(case, registry, gated, data, rows)[0].collect()
    if unseen.is_empty():
        return Judged(left, fitted)
    scores = models.predict_scores(case, models.load_booster(registry.model_bytes(gated)), unseen)
    return Judged(unseen.with_columns(to_columns(internal_names(case.target), scores)).lazy(), fitted, gated)


def without_fitted(
    case: UseCase, registry: ModelRegistry, model: ModelRef, data: DataRef, rows: pl.LazyFrame
) -> tuple[pl.LazyFrame, int]:
    """The rows of a window that a version was not fitted on, and how many it was.

    It was fitted on the rows that were old enough, or lay outside the holdout where a hash of the key splits, and whose
    outcome was known at its commit.

    Args:
        case: The use case, with the version's design.
        registry: The model registry.
        model: The version.
        data: Repository of the data.
        rows: Designed rows, one a key.

    Returns:
        The rows left, and the number of those taken out.
    """
    manifest = optional_document(registry, model, "manifest") or {}
    keys = list(case.key)
    candidates = rows.filter(_may_be_fitted(case, data, manifest, rows)).select(keys).collect()
    if candidates.is_empty():
        return rows, 0
    fitted = candidates.join(_known_then(case, data, manifest, candidates), on=keys, how="semi")
    return rows.join(fitted.lazy(), on=keys, how="anti", maintain_order="left"), fitted.height


def _any(rows: pl.LazyFrame) -> bool:
    return not rows.select(pl.first()).head(1).collect().is_empty()


def _may_be_fitted(case: UseCase, data: DataRef, manifest: Mapping[str, Any], rows: pl.LazyFrame) -> pl.Expr:
    if case.time is not None:
        until = manifest.get("fitted_until")
        if until is None:
            return pl.lit(False)
        return pl.col(case.time) <= cast_like(rows.collect_schema()[case.time], datetime.fromisoformat(until))
    return pl.lit(False) if "data_commit" not in manifest else ~_held_out(case, data, manifest, rows)


def _held_out(case: UseCase, data: DataRef, manifest: Mapping[str, Any], rows: pl.LazyFrame) -> pl.Expr:
    """Rows that a version held out where there are no event times: deliveries, or a share of the keys."""
    share = (manifest.get(training.HELD_OUT) or {}).get("hash_share")
    if share is not None:
        case = replace(case, split=replace(case.split, holdout_share=share))
    try:
        commit = DataRef(store=data.store, commit=manifest["data_commit"])
        held = training.recorded_held_out(case, commit, manifest)
    except NotFound:
        return pl.lit(False)
    if held is None and share is None and manifest.get("split") is None:
        return pl.lit(False)  # of an earlier release, fitted on every row
    return features.split_conditions(case, rows, held=held.hashes if held else None).holdout


def _known_then(case: UseCase, data: DataRef, manifest: Mapping[str, Any], rows: pl.DataFrame) -> pl.DataFrame:
    """Keys whose outcome was known at the commit that the version was fitted at; all, where that commit is gone."""
    keys = list(case.key)
    try:
        labels = datasets.load_labels(case, DataRef(store=data.store, commit=manifest["data_commit"]))
        known = features.newest_labels(case, labels.join(rows.lazy(), on=keys, how="semi"))
    except NotFound:
        return rows
    return known.filter(pl.col(TARGET).is_not_null()).select(keys)

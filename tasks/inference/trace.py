"""The way back from a prediction: receipt, model, evaluation, verdict, training commit, source files and their rejects."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from schemas.errors import IntegrityError
from schemas.refs import CommitId, ModelRef
from schemas.trace import Trace, TracedSource
from schemas.usecase import UseCase
from tasks.datasets import REJECTED, PublishRecord, live_publishes
from tasks.inference import prediction_log
from tasks.registry import OVERRIDE, STATE, WHY, ModelRegistry, optional_document
from tasks.versions import VersionStore

SHOWN = 5


def trace_prediction(
    use_case: UseCase, prediction_id: str, registry: ModelRegistry, store: VersionStore, log: VersionStore, journals: Path
) -> Trace | None:
    """Trace a prediction of a use case, online or batch; None where the use case made no such prediction.

    `journals`: where servers of this machine keep what they have not published yet.

    Args:
        use_case: The use case.
        prediction_id: The id that the prediction's receipt names.
        registry: The model registry.
        store: The repository with the use case's data.
        log: The use case's log repository.
        journals: Folder where servers of this machine keep what they have not published yet.

    Returns:
        Receipt, model, verdict, data commit and source files; None where there is no such prediction.

    Raises:
        NotFound: The model is gone.
        IntegrityError: It is not the model that predicted.
    """
    located = prediction_log.find_receipt(log, prediction_id) if log.exists() else None
    if located is None and (waiting := prediction_log.pending(journals, prediction_id)):
        located = waiting, f"{journals}, not published yet"
    if located is None:
        return None
    receipt, lies_in = located
    model = registry.version(use_case.name, int(receipt["model_version"]))
    if model.sha256 != receipt["model_sha256"]:
        raise IntegrityError(f"{use_case.name} v{model.version} is not the model that made prediction {prediction_id}")
    return Trace(
        use_case=use_case.name,
        prediction_id=prediction_id,
        receipt={name: value for name, value in receipt.items() if value is not None},
        lies_in=lies_in,
        model=model,
        **_papers(registry, model, store),
    )


def _papers(registry: ModelRegistry, model: ModelRef, store: VersionStore) -> dict[str, Any]:
    """What is recorded of a version, from its approval back to the files."""
    manifest, tags = registry.document(model, "manifest"), registry.tags(model)
    return {
        "state": tags.get(STATE, ""),
        "approved": tags.get(OVERRIDE) or tags.get(WHY, ""),
        "manifest": manifest,
        "evaluation": registry.document(model, "evaluation"),
        "verdict": _verdict(registry, model),
        "training_commit": manifest["data_commit"],
        "sources": tuple(sources(store, manifest["data_commit"])),
    }


def _verdict(registry: ModelRegistry, model: ModelRef) -> dict[str, Any] | None:
    verdict: dict[str, Any] | None = optional_document(registry, model, "verdict")
    return verdict


def sources(store: VersionStore, commit: CommitId) -> list[TracedSource]:
    """Sources published and not retracted at a commit, oldest first."""
    return [_source(store, record) for record in live_publishes(store, ref=commit)][::-1]


def _source(store: VersionStore, record: PublishRecord) -> TracedSource:
    return TracedSource(
        input=record.input,
        name=record.source,
        sha256=record.sha256,
        commit=record.commit.id,
        rows=record.rows,
        accepted=record.accepted,
        rejected=record.rejected,
        reasons=_reasons(store, record) if record.rejected else {},
        flow_run=record.flow_run,
    )


def _reasons(store: VersionStore, record: PublishRecord) -> dict[str, int]:
    """How many rejected rows failed each check."""
    commit = record.commit
    added = [change.path for change in store.diff(commit.parents[0], commit.id) if change.kind == "added"]
    paths = [path for path in added if path.startswith(f"{REJECTED}/")]
    counts: Counter[str] = Counter()
    for path in paths:  # one by one: the rejects of two sources need not have the same columns
        checks = store.scan(commit.id, [path]).select(pl.col("_checks").explode()).collect().to_series()
        counts.update(checks.drop_nulls().to_list())
    return dict(counts.most_common(SHOWN))

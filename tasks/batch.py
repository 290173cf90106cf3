"""Batch scoring: the rows that a commit brought, scored by the champion, published with receipts to the log repository."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from schemas.errors import NotEnoughEvidence, NotFound
from schemas.refs import Commit, DataRef, Guard, ModelRef
from schemas.results import RowsToScore, Scores
from schemas.usecase import UseCase, resolve
from tasks import evaluation, features, frames, publishing, scoring
from tasks.moments import of_kind
from tasks.registry import open_registry
from tasks.versions import MAIN, VersionStore, open_store

KIND = "score"


def head(store_url: str, commit: str | None) -> DataRef:
    """Data at a commit (any ref), or at the head of main. Raises NotFound."""
    return DataRef(store=store_url, commit=open_store(store_url).head(commit or MAIN))


def score(use_case: str, data: DataRef, rows: RowsToScore, registry_url: str, log_url: str, flow_run: str) -> Scores:
    """Score the rows that one publish brought, seen as of `data`, and publish the predictions.

    One cause (model, rows) is published once; a second call answers "already done". Raises NotEnoughEvidence where there
    is no champion, NotFound where no rows were published.
    """
    case = resolve(use_case)
    model = open_registry(registry_url).champion(case.name)
    if model is None:
        raise NotEnoughEvidence(f"{case.name} has no champion to score with; train one first: penstock train {use_case}")
    store, log = open_store(data.store), open_store(log_url)
    log.create()
    arrival = rows.arrival or frames.newest_publish(store, case.rows, data.commit)
    if arrival is None:
        raise NotFound(f"no {case.rows} were published in {data.store}; ingest some first")
    rows = rows.model_copy(update={"arrival": arrival})
    cause = hashlib.sha256(f"{model.sha256} {arrival} {rows.since or ''}".encode()).hexdigest()
    told: dict[str, Any] = {"use_case": case.name, "cause": cause, "model": model, "data": data}
    if done := already_scored(log, rows, cause):
        return Scores(**told, status="already done", why="these rows were scored before", **_where(log, done))
    predictions = predict_rows(case, model, data, rows, flow_run)
    if predictions is None:
        return Scores(**told, status="skipped", why=f"commit {arrival[:12]} brought no {case.rows} to score")
    commit = _publish(log, cause, predictions, case, model, arrival, flow_run)
    return Scores(**told, status="published", why=f"{predictions.height:,} rows scored", **_where(log, commit))


def predict_rows(case: UseCase, model: ModelRef, data: DataRef, rows: RowsToScore, flow_run: str) -> pl.DataFrame | None:
    """Predictions with receipts for rows at rest, or None where there are none."""
    paths = frames.brought(open_store(data.store), rows.arrival or "", case.rows)
    if not paths:
        return None
    designed = frames.designed(case, data, paths).collect()
    if rows.since and case.time:
        designed = designed.filter(pl.col(case.time) >= of_kind(designed.schema[case.time], rows.since))
    return with_receipts(case, model, data, designed, flow_run) if designed.height else None


def with_receipts(case: UseCase, model: ModelRef, data: DataRef, rows: pl.DataFrame, flow_run: str) -> pl.DataFrame:
    """Predictions with receipts for designed rows."""
    booster = scoring.booster(open_registry(model.registry).model_bytes(model))
    return scoring.receipts(
        case,
        rows,
        scoring.predict(case, booster, rows),
        model=model,
        data=data,
        contract_version=case.input(case.rows).contract.version(),
        flow_run=flow_run,
        scored_at=datetime.now(UTC),
    )


def predict_frame(case: UseCase, model: ModelRef, data: DataRef, frame: pl.DataFrame) -> pl.DataFrame:
    """Predictions for rows of the contract that lie in no store; other inputs are looked up as of `data`."""
    context = publishing.inputs_at(open_store(data.store), data.commit, case)
    rows = features.design(case, frame.lazy(), context).collect()
    return with_receipts(case, model, data, rows, flow_run="")


def already_scored(log: VersionStore, rows: RowsToScore, cause: str) -> Commit | None:
    """The log's commit that holds predictions of this cause; where `once` is set, of these rows by any model."""
    for entry in log.log(MAIN, first_parent=True):
        told = entry.metadata
        if told.get("kind") == KIND and (told.get("cause") == cause or (rows.once and told.get("arrival") == rows.arrival)):
            return entry
    return None


def _publish(
    log: VersionStore, cause: str, predictions: pl.DataFrame, case: UseCase, model: ModelRef, arrival: str, flow_run: str
) -> Commit:
    buffer = io.BytesIO()
    predictions.write_parquet(buffer)
    payload = buffer.getvalue()
    folder = f"predictions/{cause[:32]}/"
    path = f"{folder}{hashlib.sha256(payload).hexdigest()}.parquet"
    metadata = _metadata(cause, path, predictions, case, model, arrival, flow_run)
    branch = f"score/{cause[:32]}-{hashlib.sha256(payload).hexdigest()[:8]}"
    checked_at = log.head(MAIN)
    log.branch(branch, checked_at)
    log.upload(branch, path, payload)
    log.commit(branch, f"score {case.name} v{model.version}: {predictions.height} rows", metadata)
    guard = Guard(commit=checked_at, prefixes=(folder,))
    commit = log.merge(branch, MAIN, f"predictions of {case.name} v{model.version}", metadata, guard=guard)
    log.delete_branch(branch)
    return commit


def _metadata(
    cause: str, path: str, predictions: pl.DataFrame, case: UseCase, model: ModelRef, arrival: str, flow_run: str
) -> Mapping[str, str]:
    counts = predictions["category"].value_counts() if "category" in predictions.columns else None
    window = evaluation.window(case, predictions) or ("", "")
    return {
        "format_version": "1",
        "kind": KIND,
        "cause": cause,
        "path": path,
        "arrival": arrival,
        "model_version": str(model.version),
        "model_sha256": model.sha256,
        "rows": str(predictions.height),
        "categories": "" if counts is None else ";".join(f"{name}={n}" for name, n in counts.sort("category").rows()),
        "first": str(window[0]),
        "last": str(window[1]),
        "flow_run": flow_run,
    }


def _where(log: VersionStore, commit: Commit) -> dict[str, Any]:
    told = commit.metadata
    pairs = [pair.rpartition("=") for pair in told.get("categories", "").split(";") if pair]
    return {
        "predictions": DataRef(store=log.url, commit=commit.id),
        "path": told["path"],
        "rows": int(told["rows"]),
        "categories": {name: int(count) for name, _, count in pairs},
    }

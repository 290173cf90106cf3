"""Monitoring, step by step: which windows labels belong to, what a window looks like, and what follows. Values only."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from schemas.errors import NotFound
from schemas.refs import Commit, CommitId, DataRef, ModelRef
from schemas.results import Monitoring
from schemas.usecase import UseCase, resolve
from schemas.verdicts import Decision, DriftVerdict, Evaluation
from tasks import batch, decision, drift, evaluation, frames, performance, references
from tasks.registry import ModelRegistry, open_registry
from tasks.versions import MAIN, VersionStore, open_store


def windows_of(use_case: str, commit: CommitId, store_url: str, log_url: str) -> list[CommitId]:
    """Publishes of rows, oldest first, that were scored and that a commit brought labels for."""
    case = resolve(use_case)
    store, log = open_store(store_url), open_store(log_url)
    if not log.exists() or case.time is None:
        return []
    spec = case.label_input
    paths = frames.brought(store, commit, spec.name)
    times = store.scan(commit, paths, spec.contract.dtypes()).select(pl.col(case.time))
    first, last = evaluation.window(case, times.collect()) or (None, None)
    scored = [entry.metadata for entry in log.log(MAIN, first_parent=True) if entry.metadata.get("kind") == batch.KIND]
    overlapping = [told["arrival"] for told in scored if _overlap(told["first"], told["last"], first, last)]
    return list(dict.fromkeys(reversed(overlapping)))


def _overlap(first: str, last: str, low: datetime | None, high: datetime | None) -> bool:
    if not first or low is None or high is None:
        return False
    return datetime.fromisoformat(first) <= high and low <= datetime.fromisoformat(last)


def look(use_case: str, data: DataRef, arrival: str | None, registry_url: str, log_url: str, reports: str) -> Monitoring:
    """One window of scored rows: drift from the model's reference, realized metrics where labels have come, the decision.

    `data`: where labels are read. Raises NotFound where nothing was scored.
    """
    case = resolve(use_case)
    log, registry = open_store(log_url), open_registry(registry_url)
    entry = predictions_of(log, arrival)
    if entry is None:
        raise NotFound(f"no predictions of {case.name} to monitor; score some first: penstock score {use_case}")
    model = registry.version(case.name, int(entry.metadata["model_version"]))
    rows = scored_rows(case, data, log, entry)
    moved = _drift(case, registry, model, rows, Path(reports) / f"drift-{entry.metadata['cause'][:16]}.html")
    realized, coverage = _realized(case, data, model, rows)
    window = evaluation.window(case, rows)
    decided = _decide(case, registry, model, moved, realized, window)
    return Monitoring(
        use_case=case.name,
        why=decided.why,
        window=window,
        model=model,
        drift=moved,
        realized=realized,
        coverage=coverage,
        decision=decided,
    )


def predictions_of(log: VersionStore, arrival: str | None) -> Commit | None:
    """The log's commit that first scored an arrival, or the newest scoring of all."""
    if not log.exists():
        return None
    scored = [entry for entry in log.log(MAIN, first_parent=True) if entry.metadata.get("kind") == batch.KIND]
    if arrival is None:
        return scored[0] if scored else None
    return next((entry for entry in reversed(scored) if entry.metadata["arrival"] == arrival), None)


def scored_rows(case: UseCase, data: DataRef, log: VersionStore, entry: Commit) -> pl.DataFrame:
    """Designed rows of one scoring with the scores as they were recorded."""
    predictions = log.scan(entry.id, [entry.metadata["path"]]).collect()
    paths = frames.brought(open_store(data.store), entry.metadata["arrival"], case.rows)
    keys = list(case.key)
    rows = frames.designed(case, data, paths).collect().join(predictions.select(keys), on=keys, how="semi")
    matched = rows.select(keys).join(predictions, on=keys, how="left", maintain_order="left")
    return references.with_scores(case, rows, recorded(case, matched))


def recorded(case: UseCase, predictions: pl.DataFrame) -> np.ndarray:
    """The scores that receipts hold, of shape (n,) or (n, classes)."""
    if case.target.kind == "multiclass":
        return predictions.select(f"probability_{name}" for name in case.target.classes).to_numpy()
    return predictions["probability" if case.target.kind == "binary" else "prediction"].to_numpy()


def _drift(case: UseCase, registry: ModelRegistry, model: ModelRef, rows: pl.DataFrame, report: Path) -> DriftVerdict:
    gains = registry.document(model, "importances")["gain"]
    return drift.drift(case, registry.document(model, "reference"), rows, gains, report=report)


def _realized(case: UseCase, data: DataRef, model: ModelRef, rows: pl.DataFrame) -> tuple[Evaluation | None, float]:
    """Metrics on the rows whose outcome is known, and the share of rows whose label has come."""
    labels = performance.newest_labels(case, frames.labels(case, data))
    told = rows.join(labels, on=list(case.key), how="left", maintain_order="left")
    coverage = told["_known"].count() / told.height if told.height else 0.0
    known = told.filter(pl.col("_target").is_not_null())
    if known.is_empty():
        return None, coverage
    names = [name for name in known.columns if name.startswith(references.SCORE)]
    scores = known[names[0]].to_numpy() if len(names) == 1 else known.select(names).to_numpy()
    return evaluation.evaluate(case, model.sha256, data.commit, known.drop(names), scores), coverage


def _decide(
    case: UseCase,
    registry: ModelRegistry,
    model: ModelRef,
    moved: DriftVerdict,
    realized: Evaluation | None,
    window: tuple[datetime, datetime] | None,
) -> Decision:
    champion = registry.champion(case.name)
    if champion is not None and champion.version != model.version:
        why = f"v{model.version} scored this window, and the champion is v{champion.version} by now"
        return Decision(retrain=False, why=why)
    newest = registry.versions(case.name)[-1]
    return decision.decide(
        case,
        drift=moved,
        promotion_loss=decision.loss_of(case, registry.document(model, "evaluation")["metrics"]),
        realized_loss=decision.loss_of(case, realized.metrics) if realized else None,
        estimated_loss=None,
        model_age_days=_days(registry.document(model, "manifest")["fitted_until"], window),
        days_since_request=_days((registry.document(newest, "evaluation")["window"] or (None, None))[1], window),
        champion_exists=champion is not None,
        refused=registry.tags(newest).get("penstock.state") == "refused",
    )


def _days(since: str | None, window: tuple[datetime, datetime] | None) -> float:
    """Days of event time from a moment to the end of a window: order comes from the data, not from the clock."""
    if since is None or window is None:
        return 0.0
    return (window[1] - datetime.fromisoformat(since)).total_seconds() / 86400

"""Monitoring, step by step: which windows labels belong to, what a window looks like, and what follows. Values only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

import polars as pl

from schemas.errors import NotFound
from schemas.refs import Commit, CommitId, DataRef, ModelRef
from schemas.results import Monitoring
from schemas.score_columns import internal_names, to_scores
from schemas.usecase import UseCase, resolve
from schemas.verdicts import Decision, DriftVerdict, Estimate, Evaluation
from tasks import datasets, evaluation, features, inference
from tasks.monitoring import (
    drift,
    fitted_rows,
    monitoring_log,
    performance_estimation,
    realized_performance,
    retraining_policy,
    scored_window,
    shadow,
)
from tasks.monitoring.fitted_rows import Judged
from tasks.monitoring.scored_window import Window
from tasks.registry import STATE, ModelRegistry, open_registry, optional_document, use_case_of
from tasks.versions import MAIN, VersionStore, open_store


def windows_of(use_case: str, commit: CommitId, store_url: str, log_url: str) -> list[CommitId]:
    """Live publishes of rows, oldest first, that were scored and that a commit brought labels for.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        commit: Id of a commit of `main` that published labels.
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        log_url: URL of the use case's log repository, `<use case>-log`.

    Returns:
        Ids of the publishes' commits; empty without event times or predictions.
    """
    case = resolve(use_case)
    store, log = open_store(store_url), open_store(log_url)
    if not log.exists() or case.time is None:
        return []
    spec = case.label_input
    paths = datasets.paths_added_by(store, commit, spec.name)
    times = store.scan(commit, paths, spec.contract.dtypes()).select(pl.col(case.time))
    first, last = evaluation.event_window(case, times.collect()) or (None, None)
    scored = [
        entry.metadata for entry in log.log(MAIN, first_parent=True) if entry.metadata.get("kind") == inference.SCORE_KIND
    ]
    overlapping = [metadata["arrival"] for metadata in scored if _overlap(metadata["first"], metadata["last"], first, last)]
    retracted = datasets.retracted_commits(store) if overlapping else set()
    return [arrival for arrival in dict.fromkeys(reversed(overlapping)) if arrival not in retracted]


def _overlap(first: str, last: str, low: datetime | None, high: datetime | None) -> bool:
    if not first or low is None or high is None:
        return False
    return datetime.fromisoformat(first) <= high and low <= datetime.fromisoformat(last)


def monitor_window(
    use_case: str, data: DataRef, arrival: str | None, registry_url: str, log_url: str, reports: str
) -> Monitoring:
    """Look at one window of scored rows, decide whether to retrain, and put all of it on record.

    Drift is measured from the reference that is stored with the model; performance is estimated without labels, and realized
    where labels have come.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        data: Commit at which labels are read.
        arrival: Commit that published the window's rows; None for the newest predictions.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.
        reports: Folder for the drift reports.

    Returns:
        Drift, estimated and realized performance, and the decision with its reason.

    Raises:
        NotFound: Nothing was scored.
    """
    case = resolve(use_case)
    log, registry = open_store(log_url), open_registry(registry_url)
    retracted = datasets.retracted_commits(open_store(data.store), data.commit)
    past, entry = monitoring_log.read_monitoring_log(log), find_predictions(log, arrival, retracted)
    if entry is None:
        raise NotFound(f"no predictions of {case.name} to monitor; score some first: penstock score {use_case}")
    model = registry.version(case.name, int(entry.metadata["model_version"]))
    case = use_case_of(case, registry, model)
    with scored_window.window(case, data, log, entry) as window:
        realized, coverage, judged = _realized(registry, data, model, window)
        measured = Monitoring(
            use_case=case.name,
            why="",
            window=window.times,
            arrival=entry.metadata["arrival"],
            rows=window.height,
            model=model,
            drift=_drift(registry, model, window, Path(reports) / f"drift-{entry.metadata['cause'][:16]}.html"),
            estimate=_estimate(registry, model, window, past_errors(past, window.times)),
            realized=realized,
            coverage=coverage,
            in_sample=judged.in_sample,
            judged_by=judged.by,
            shadow=tuple(shadow.compare_shadow(case, log, datasets.load_labels(case, data))),
            newest=not any(m.window and window.times and m.window[0] > window.times[0] for m in past),
            decision=Decision(retrain=False, why=""),
        )
    champion = registry.champion(case.name)
    rejected = rejected_share(open_store(data.store), entry.metadata["arrival"])
    decided = _decide(case, registry, champion, measured, rejected)
    current = champion is None or champion.version == model.version
    result = measured.model_copy(update={"decision": decided, "why": decided.why, "current": current})
    monitoring_log.append_monitoring(case, log, result)
    return result


def past_errors(records: list[Monitoring], window: tuple[datetime, datetime] | None) -> list[Mapping[str, float]]:
    """Realized minus estimated values of the windows that ended before this one began, oldest first."""
    if window is None:
        return []
    earlier = (m for m in monitoring_log.newest_by_window(records) if m.window is not None and m.window[1] < window[0])
    return [m.error for m in earlier if m.error]


def rejected_share(store: VersionStore, arrival: CommitId) -> float:
    """Share of the rows of a publish that its contract rejected."""
    metadata = store.get(arrival).metadata
    rows = int(metadata.get("rows", 0))
    return int(metadata.get("rejected", 0)) / rows if rows else 0.0


def find_predictions(log: VersionStore, arrival: CommitId | None, retracted: Collection[CommitId] = ()) -> Commit | None:
    """The log's commit that first scored an arrival, or the newest scoring of all whose rows were not retracted.

    Args:
        log: The use case's log repository.
        arrival: Commit that published the rows; None for the newest scoring.
        retracted: Ids of publishes that were retracted.

    Returns:
        The commit of the log, or None.
    """
    if not log.exists():
        return None
    scored = [entry for entry in log.log(MAIN, first_parent=True) if entry.metadata.get("kind") == inference.SCORE_KIND]
    if arrival is None:
        return next((entry for entry in scored if entry.metadata["arrival"] not in retracted), None)
    return next((entry for entry in reversed(scored) if entry.metadata["arrival"] == arrival), None)


def _drift(registry: ModelRegistry, model: ModelRef, window: Window, report: Path) -> DriftVerdict:
    gains = (optional_document(registry, model, "importances") or {}).get("gain")
    reference = optional_document(registry, model, "reference")
    return drift.measure_drift(window.case, reference, window.rows, gains, report=report)


def _estimate(registry: ModelRegistry, model: ModelRef, window: Window, past: list[Mapping[str, float]]) -> Estimate | None:
    case = window.case
    names = list(features.feature_names(case)) if case.target.kind == "regression" else []  # its losses have a model
    scores = internal_names(case.target)
    rows = window.rows.select(*names, *scores).collect()
    estimates = performance_estimation.estimate_metrics(
        case, optional_document(registry, model, "estimator"), rows, to_scores(case.target, scores, rows)
    )
    return performance_estimation.correct_estimates(case, estimates, rows.height, past) if estimates else None


def _realized(
    registry: ModelRegistry, data: DataRef, model: ModelRef, window: Window
) -> tuple[Evaluation | None, float, Judged]:
    """Metrics on rows that the model was not fitted on, the share of the window that has a label, and what was judged."""
    keys = window.rows.select(window.case.key)
    labels = datasets.load_labels(window.case, data).join(keys, on=window.case.key, how="semi").collect().lazy()  # read once
    judged = fitted_rows.judged_rows(window.case, registry, model, data, window.rows)
    by = judged.by or model
    realized = realized_performance.realized(
        window.case, judged.rows, labels, model_sha256=by.sha256, data_commit=data.commit
    )
    return realized, realized_performance.label_coverage(window.case, window.rows, labels), judged


def _decide(
    case: UseCase, registry: ModelRegistry, champion: ModelRef | None, measured: Monitoring, rejected: float
) -> Decision:
    model = measured.model
    if model is None or (champion is not None and champion.version != model.version):
        current = f"v{champion.version}" if champion else "none"
        why = f"v{model.version if model else '?'} scored this window, and the champion is {current} by now"
        return Decision(retrain=False, why=why)
    newest = registry.versions(case.name)[-1]
    promised = optional_document(registry, model, "evaluation") or {}
    asked = (optional_document(registry, newest, "evaluation") or {}).get("window") or (None, None)
    return retraining_policy.should_retrain(
        case,
        drift=measured.drift,
        promotion_loss=retraining_policy.loss_of(case, promised.get("metrics")),
        promotion_bound=retraining_policy.pessimistic_loss(
            case, (optional_document(registry, model, "estimator") or {}).get("level")
        ),
        realized_loss=retraining_policy.loss_of(case, measured.realized.metrics) if measured.realized else None,
        estimated_loss=retraining_policy.loss_of(case, measured.estimate.metrics) if measured.estimate else None,
        model_age_days=_days((optional_document(registry, model, "manifest") or {}).get("fitted_until"), measured.window),
        days_since_request=_days(asked[1], measured.window),
        champion_exists=champion is not None,
        refused=registry.tags(newest).get(STATE) == "refused",
        rejected_share=rejected,
        coverage=measured.coverage,
    )


def _days(since: str | None, window: tuple[datetime, datetime] | None) -> float:
    """Days of event time from a moment to the end of a window: order comes from the data, not from the clock."""
    if since is None or window is None:
        return 0.0
    return (window[1] - datetime.fromisoformat(since)).total_seconds() / 86400

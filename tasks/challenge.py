"""One training, step by step: fit and gate a challenger, refit what ships, try it, move the alias. Values in, values out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any

import polars as pl

from schemas.errors import NotEnoughEvidence
from schemas.refs import DataRef, ModelRef
from schemas.results import Challenge, Outcome, TrainingStatus
from schemas.usecase import UseCase, resolve
from schemas.verdicts import Evaluation
from tasks import estimates, evaluation, features, frames, gating, references, scoring, training
from tasks import trial as trials
from tasks.moments import moment
from tasks.registry import CHALLENGER, CHAMPION, Candidate, ModelRegistry, open_registry
from tasks.versions import open_store

FORMAT = 1
STATE, WHY = "penstock.state", "penstock.why"


def champion(name: str, registry_url: str) -> ModelRef | None:
    """The champion of a use case, or None."""
    return open_registry(registry_url).champion(name)


def challenge(use_case: str, data: DataRef, registry_url: str, device: training.Device) -> Challenge:
    """Fit a challenger on a commit, evaluate and gate it on the newest labelled window, and record it.

    Raises NotEnoughEvidence where there are too few labelled rows, or rows of one class only.
    """
    case = resolve(use_case)
    registry = open_registry(registry_url)
    reigning = registry.champion(case.name)
    after = fitted_until(registry, reigning) if reigning else None
    parts = training.split_by_time(case, frames.training_rows(case, data), after=after)
    if parts.holdout.is_empty():
        newer = f"newer than {after:%Y-%m-%d %H:%M}, up to when the champion was fitted" if after else "at all"
        raise NotEnoughEvidence(f"{case.name}: there are no labelled rows {newer}; publish rows and labels first")
    fitted = training.fit(case, parts.train, parts.stopping, device=device)
    scores = scoring.predict(case, scoring.booster(fitted.model), parts.holdout)
    evaluated = evaluation.evaluate(case, sha256(fitted.model), data.commit, parts.holdout, scores)
    seen = pl.concat([parts.train, parts.stopping])
    estimator = estimates.estimator(case, parts.holdout, scores)
    model = record(registry, data, candidate(case, data, fitted, seen, evaluated, estimator))
    verdict = gating.gate(
        case,
        parts.holdout,
        scores,
        scoring.predict(case, scoring.booster(registry.model_bytes(reigning)), parts.holdout) if reigning else None,
        evaluation.baseline_scores(case, seen, parts.holdout),
        data_commit=data.commit,
        seed=case.training.seed,
        seen_until=newest(case, seen, after),
    )
    return Challenge(model=model, data=data, evaluation=evaluated, verdict=verdict, champion=reigning)


def refit(use_case: str, challenged: Challenge, registry_url: str, device: training.Device) -> ModelRef:
    """Fit the challenger's recipe on all labelled rows of its commit, the gate's window included, and record it."""
    case = resolve(use_case)
    registry = open_registry(registry_url)
    rows = frames.training_rows(case, challenged.data)
    rounds = registry.document(challenged.model, "manifest")["rounds"]
    fitted = training.refit(case, rows, rounds, device=device)
    evaluated = challenged.evaluation.model_copy(update={"model_sha256": sha256(fitted.model)})
    estimator = registry.document(challenged.model, "estimator")  # the refit model has seen all rows
    made = candidate(case, challenged.data, fitted, rows, evaluated, estimator, recipe_of=challenged.model)
    return record(registry, challenged.data, made)


def record(registry: ModelRegistry, data: DataRef, made: Candidate) -> ModelRef:
    """Register a candidate, and tag the commit it was fitted on: what a model was made from is not garbage."""
    model = registry.record(made)
    open_store(data.store).tag(f"model/{model.name}/v{model.version}-{data.commit[:12]}", data.commit)
    return model


def try_out(use_case: str, model: ModelRef, registry_url: str) -> None:
    """Load a recorded model in a child process and score its golden rows. Raises IntegrityError."""
    registry = open_registry(registry_url)
    trials.trial(registry.model_bytes(model), registry.golden(model), resolve(use_case))


def settled(use_case: str, data: DataRef, registry_url: str) -> Outcome | None:
    """What an earlier training on this very commit and use case came to, if it came to an end."""
    case = resolve(use_case)
    registry = open_registry(registry_url)
    for model in reversed(registry.versions(case.name)):
        tags = registry.tags(model)
        same = tags.get("data_commit") == data.commit and tags.get("use_case_version") == case.version()
        if same and tags.get(STATE) not in (None, CHALLENGER):
            return Outcome(status="already done", why=f"v{model.version}, {tags[STATE]}: {tags.get(WHY, '')}", model=model)
    return None


def promote(model: ModelRef, challenged: Challenge, registry_url: str) -> Outcome:
    """Move the champion's alias if the verdict says so, and keep the verdict with the version either way.

    Raises StaleCheck where another champion came in between.
    """
    registry = open_registry(registry_url)
    moved = registry.promote(model, challenged.verdict, expected=challenged.champion)
    if model != challenged.model:
        registry.stand_in(challenged.model, challenged.verdict, by=model)
    if moved:
        return Outcome(status="promoted", why=challenged.verdict.why, model=model)
    tags = registry.tags(model)
    status: TrainingStatus = "already done" if tags.get(STATE) == CHAMPION else "refused"
    return Outcome(status=status, why=tags.get(WHY, challenged.verdict.why), model=model)


def newest(case: UseCase, rows: pl.DataFrame, after: datetime | None) -> datetime | None:
    """The newest event time that challenger or champion was fitted on."""
    if case.time is None:
        return None
    return max((t for t in (moment(rows[case.time].max()), after) if t), default=None)


def fitted_until(registry: ModelRegistry, model: ModelRef) -> datetime | None:
    """Event time of the newest row that a version was fitted on."""
    told = registry.document(model, "manifest").get("fitted_until")
    return datetime.fromisoformat(told) if told else None


def sha256(payload: bytes) -> str:
    """SHA-256 of a model's bytes, in hex."""
    return hashlib.sha256(payload).hexdigest()


def candidate(
    case: UseCase,
    data: DataRef,
    fitted: training.Fitted,
    rows: pl.DataFrame,
    evaluated: Evaluation,
    estimator: Mapping[str, Any] | None = None,
    recipe_of: ModelRef | None = None,
) -> Candidate:
    """A fitted model with its manifest, golden rows, reference and tags, ready to be recorded."""
    made_from = manifest(case, data, fitted, rows, recipe_of)
    booster = scoring.booster(fitted.model)
    scores = scoring.predict(case, booster, rows)
    dtypes = {name: rows.schema[name] for name in features.feature_names(case)}
    return Candidate(
        name=case.name,
        model=fitted.model,
        manifest=made_from,
        evaluation=evaluated,
        golden=scoring.golden_rows(case, booster, rows),
        params={**case.training.params, "rounds": fitted.best_rounds, "seed": case.training.seed},
        tags={name: str(made_from[name]) for name in ("data_commit", "use_case_version", "code_version", "fitted_until")},
        documents={
            "reference": references.reference(case, rows, rows["_target"], scores),
            "importances": {"format_version": FORMAT, "gain": fitted.importances},
            **({"estimator": estimator} if estimator else {}),
        },
        input_dtypes={name: str(dtype.base_type()) for name, dtype in dtypes.items()},
        categories={name: list(dtype.categories) for name, dtype in dtypes.items() if isinstance(dtype, pl.Enum)},
        kind=case.target.kind,
        classes=case.target.classes,
        threshold=case.target.threshold,
        description=case.question,
    )


def manifest(
    case: UseCase, data: DataRef, fitted: training.Fitted, rows: pl.DataFrame, recipe_of: ModelRef | None
) -> Mapping[str, Any]:
    """What a model was made from, enough to make it again."""
    until = newest(case, rows, None)
    return {
        "format_version": FORMAT,
        "use_case": case.name,
        "use_case_version": case.version(),
        "contract_versions": {i.name: i.contract.version() for i in case.inputs},
        "data_store": data.store,
        "data_commit": data.commit,
        "row_digest": features.row_digest(rows),
        "rows": rows.height,
        "fitted_until": until.isoformat() if until else None,
        "params": dict(case.training.params),
        "seed": case.training.seed,
        "rounds": fitted.best_rounds,
        "code_version": version("penstock"),
        "recipe_of": recipe_of.version if recipe_of else None,
        "model_sha256": sha256(fitted.model),
    }

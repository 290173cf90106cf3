"""One training, step by step: fit and gate a challenger, refit what ships, try it, move the alias. Values in, values out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import polars as pl

from schemas.errors import NotEnoughEvidence, NotFound
from schemas.fitting import Device, Plan
from schemas.refs import DataRef, ModelRef
from schemas.results import Challenge, Outcome, TrainingStatus
from schemas.usecase import UseCase, resolve
from schemas.verdicts import Evaluation, GateVerdict
from tasks import (
    cards,
    engines,
    estimates,
    evaluation,
    explaining,
    features,
    gating,
    manifests,
    moves,
    references,
    scoring,
    training,
)
from tasks import search as searching
from tasks import trial as trials
from tasks.registry import CHALLENGER, CHAMPION, By, Candidate, ModelRegistry, open_registry
from tasks.registry.tags import RECIPE, SEARCH, STATE, WHY
from tasks.versions import open_store

FORMAT = 1
OF_HOLDOUT = ("evidence", "estimator")


def champion(name: str, registry_url: str) -> ModelRef | None:
    """The champion of a use case, or None."""
    return open_registry(registry_url).champion(name)


def challenge(use_case: str, data: DataRef, registry_url: str, plan: Plan) -> Challenge:
    """Fit a challenger on a commit, evaluate and gate it on the newest labelled window, and record it.

    Where the plan has trials, a search for parameters comes first. Raises NotEnoughEvidence where there are too few
    labelled rows, or rows of one class only.
    """
    case = resolve(use_case)
    registry = open_registry(registry_url)
    reigning = registry.champion(case.name)
    after = fitted_until(registry, reigning) if reigning else None
    with engines.split(case, data, plan.engine, after) as parts:
        if parts.holdout.is_empty():
            newer = f"newer than {after:%Y-%m-%d %H:%M}, up to when the champion was fitted" if after else "at all"
            raise NotEnoughEvidence(f"{case.name}: there are no labelled rows {newer}; publish rows and labels first")
        tuned, found = searching.tune(case, parts, data, registry, plan) if plan.trials else (case, None)
        fitted = engines.fit(tuned, parts, plan.engine, plan.device)
        scores = scoring.predict(case, scoring.booster(fitted.model), parts.holdout)
        evaluated = evaluation.evaluate(case, sha256(fitted.model), data.commit, parts.holdout, scores)
        seen = engines.sample(parts.train, parts.stopping)
        made_from = manifests.manifest(
            tuned,
            data,
            fitted,
            row_digest=engines.digest(parts.train, parts.stopping),
            rows=engines.height(parts.train, parts.stopping),
            fitted_until=manifests.newest(case, seen),
            declared=case,
            split=manifests.row_filter(case, after, parts.train.height, parts.stopping.height, parts.holdout),
            engine=plan.engine,
            device=plan.device,
            search=found,
        )
        told = {
            "evidence": cards.evidence(case, parts.holdout, scores),
            "estimator": estimates.estimator(case, parts.holdout, scores),
        }
        model = record(registry, data, candidate(tuned, made_from, fitted, seen, evaluated, told))
        baseline = evaluation.baseline_scores(case, seen, parts.holdout)
        holdout = parts.holdout
    verdict = gating.gate(
        case,
        holdout,
        scores,
        scoring.predict(case, scoring.booster(registry.model_bytes(reigning)), holdout) if reigning else None,
        baseline,
        data_commit=data.commit,
        seed=case.training.seed,
        seen_until=manifests.newest(case, seen, after),
    )
    return Challenge(model=model, data=data, evaluation=evaluated, verdict=verdict, champion=reigning)


def refit(use_case: str, challenged: Challenge, registry_url: str, device: Device) -> ModelRef:
    """Fit the challenger's recipe on all labelled rows of its commit, the gate's window included, and record it."""
    case = resolve(use_case)
    registry = open_registry(registry_url)
    recipe = registry.document(challenged.model, "manifest")
    tuned, engine, data = manifests.recipe(case, recipe), recipe["engine"], challenged.data
    with engines.split(case, data, engine) as parts:
        fitted = engines.refit(tuned, parts, recipe["rounds"], manifests.coefficients(recipe), engine, device)
        rows = engines.sample(parts.known)
        made_from = manifests.manifest(
            tuned,
            data,
            fitted,
            row_digest=engines.digest(parts.known),
            rows=engines.height(parts.known),
            fitted_until=manifests.newest(case, rows),
            declared=case,
            engine=engine,
            device=device,
            search=recipe["search"],
            recipe_of=challenged.model,
        )
        evaluated = challenged.evaluation.model_copy(update={"model_sha256": sha256(fitted.model)})
        told = {name: registry.document(challenged.model, name) for name in OF_HOLDOUT}  # the refit model has seen all rows
        return record(registry, data, candidate(tuned, made_from, fitted, rows, evaluated, told))


def record(registry: ModelRegistry, data: DataRef, made: Candidate) -> ModelRef:
    """Register a candidate, and tag the commit it was fitted on: what a model was made from is not garbage."""
    model = registry.record(made)
    open_store(data.store).tag(f"model/{model.name}/v{model.version}-{data.commit[:12]}", data.commit)
    return model


def try_out(use_case: str, model: ModelRef, registry_url: str) -> None:
    """Load a recorded model in a child process and score its golden rows. Raises IntegrityError."""
    registry = open_registry(registry_url)
    trials.trial(registry.model_bytes(model), registry.golden(model), resolve(use_case))


def settled(use_case: str, data: DataRef, registry_url: str, trials: int = 0) -> Outcome | None:
    """What an earlier training on this very commit and use case came to, if it came to an end and searched as long."""
    case = resolve(use_case)
    registry = open_registry(registry_url)
    for model in reversed(registry.versions(case.name)):
        tags = registry.tags(model)
        same = tags.get("data_commit") == data.commit and tags.get("use_case_version") == case.version()
        if same and int(tags.get(SEARCH, 0)) >= trials and tags.get(STATE) not in (None, CHALLENGER):
            return Outcome(status="already done", why=f"v{model.version}, {tags[STATE]}: {tags.get(WHY, '')}", model=model)
    return None


def untold(name: str, registry_url: str) -> tuple[Outcome, ...]:
    """Promotions and refusals that a kill kept from being told, perhaps also one that is being told this moment."""
    registry = open_registry(registry_url)
    return tuple(_outcome(registry, model) for model in registry.untold(name))


def _outcome(registry: ModelRegistry, model: ModelRef) -> Outcome:
    tags, verdict = registry.tags(model), None
    with suppress(NotFound):  # made champion over the gate's head
        verdict = GateVerdict.model_validate(registry.document(model, "verdict"))
    status: TrainingStatus = "promoted" if tags.get(STATE) == CHAMPION else "refused"
    return Outcome(status=status, why=tags.get(WHY, ""), model=model, verdict=verdict)


def note_told(model: ModelRef, registry_url: str) -> None:
    """Note that people were told what became of a version."""
    open_registry(registry_url).told(model)


def promote(use_case: str, model: ModelRef, challenged: Challenge, registry_url: str, log_url: str, who: str) -> Outcome:
    """Move the champion's alias if the verdict says so, write that down, and keep verdict and card with the version.

    Raises StaleCheck where another champion came in between.
    """
    case, registry = resolve(use_case), open_registry(registry_url)
    log, champion = open_store(log_url), challenged.champion
    with registry.exclusive(model.name):
        outcome = moves.promoted(registry, log, model, challenged.verdict, expected=champion, by=By(who))
        if outcome.status != "skipped":
            if model != challenged.model:
                registry.stand_in(challenged.model, challenged.verdict, by=model)
            cards.attached(case, registry, model)
    return outcome


def stood_in(registry: ModelRegistry, model: ModelRef) -> None:
    """See that the gated challenger in whose place a refit ships says so, where a kill came before it could."""
    recipe = registry.tags(model).get(RECIPE)
    gated = registry.version(model.name, int(recipe)) if recipe else None
    if gated is None or registry.tags(gated).get(STATE) != CHALLENGER:
        return
    with suppress(NotFound):  # made champion over the gate's head: there is no verdict to keep
        registry.stand_in(gated, GateVerdict.model_validate(registry.document(model, "verdict")), by=model)


def fitted_until(registry: ModelRegistry, model: ModelRef) -> datetime | None:
    """Event time of the newest row that a version was fitted on."""
    told = registry.document(model, "manifest").get("fitted_until")
    return datetime.fromisoformat(told) if told else None


def sha256(payload: bytes) -> str:
    """SHA-256 of a model's bytes, in hex."""
    return hashlib.sha256(payload).hexdigest()


def candidate(
    case: UseCase,
    made_from: Mapping[str, Any],
    fitted: training.Fitted,
    rows: pl.DataFrame,
    evaluated: Evaluation,
    documents: Mapping[str, Any] | None = None,
) -> Candidate:
    """A model fitted on `rows`, with its manifest, golden rows, reference and tags, ready to be recorded."""
    booster = scoring.booster(fitted.model)
    scores = scoring.predict(case, booster, rows)
    dtypes = {name: rows.schema[name] for name in features.feature_names(case)}
    told = {"gain": fitted.importances, "shap": explaining.importances(booster, rows)}
    tagged = {name: made_from[name] for name in ("data_commit", "use_case_version", "code_version", "fitted_until")}
    return Candidate(
        name=case.name,
        model=fitted.model,
        manifest=made_from,
        evaluation=evaluated,
        golden=scoring.golden_rows(case, booster, rows),
        params={**case.training.params, "rounds": fitted.best_rounds, "seed": case.training.seed},
        tags={name: str(value) for name, value in {**tagged, SEARCH: _trials(made_from)}.items()},
        documents={
            "reference": references.reference(case, rows, rows["_target"], scores),
            "importances": {"format_version": FORMAT, **told},
            **(documents or {}),
        },
        input_dtypes={name: str(dtype.base_type()) for name, dtype in dtypes.items()},
        categories={name: list(dtype.categories) for name, dtype in dtypes.items() if isinstance(dtype, pl.Enum)},
        kind=case.target.kind,
        classes=case.target.classes,
        threshold=case.target.threshold,
        description=case.question,
    )


def _trials(made_from: Mapping[str, Any]) -> int:
    return int((made_from["search"] or {}).get("trials", 0))

"""Tasks of the training flow: fit and gate a challenger, refit what ships, try it out, move the champion's alias."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import polars as pl
from prefect import task

from schemas.digests import sha256
from schemas.errors import NotEnoughEvidence, NotFound, UsageError
from schemas.fitting import Device, Plan
from schemas.refs import DataRef, ModelRef
from schemas.results import Challenge, Outcome, TrainingStatus
from schemas.usecase import UseCase, resolve
from schemas.verdicts import GateVerdict
from tasks import evaluation, models, monitoring, promotion, reporting, training
from tasks.orchestration import LONG_TASK_OPTIONS, TASK_OPTIONS, cross_machine_lock, log_step
from tasks.registry import (
    CHALLENGER,
    CHAMPION,
    SEARCH,
    STATE,
    WHY,
    Actor,
    ModelRegistry,
    excluding,
    open_registry,
    use_case_of,
)
from tasks.training import build_candidate, record_candidate
from tasks.versions import open_store

OF_HOLDOUT = ("evidence", "estimator")


@task(**TASK_OPTIONS, tags={"registry"})
def current_champion(name: str, registry_url: str) -> ModelRef | None:
    """The champion of a use case.

    Args:
        name: Name of the use case, which is the model's name.
        registry_url: URL of the model registry.

    Returns:
        The version with the alias `champion`, or None.
    """
    return open_registry(registry_url).champion(name)


@task(**LONG_TASK_OPTIONS, tags={"train", "lake", "registry"})
def train_challenger(use_case: str, data: DataRef, registry_url: str, plan: Plan) -> Challenge:
    """Fit a challenger on a commit, evaluate and gate it on the newest labelled window, and record it.

    Where the plan has trials, a search for parameters comes first.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        data: Commit of the data, and the repository that it lies in.
        registry_url: URL of the model registry.
        plan: Device, engine, and how many trials of a search for parameters.

    Returns:
        The recorded version, its evaluation, the gate's verdict, and the champion that it was compared with.

    Raises:
        NotEnoughEvidence: There are too few labelled rows, or rows of one class only.
    """
    case = resolve(use_case)
    registry = open_registry(registry_url)
    reigning = registry.champion(case.name)
    reference = training.choose_reference(case, registry, reigning, data, plan.engine)
    after = reference.after
    held = training.choose_held_out(case, registry, data, (reigning, registry.challenger(case.name)))
    by_hash = case.time is None and held is None
    with training.split_rows(case, data, plan.engine, after, held) as parts:
        if parts.holdout.is_empty():
            newer = f"newer than {after:%Y-%m-%d %H:%M}, up to when the champion was fitted" if after else "at all"
            newer = "that the champion was not fitted on" if held and reigning else newer
            raise NotEnoughEvidence(f"{case.name}: there are no labelled rows {newer}; publish rows and labels first")
        tuned, search = training.tune(case, parts, data, registry, plan) if plan.trials else (case, None)
        fitted = training.fit_split(tuned, parts, plan.engine, plan.device)
        scores = models.predict_scores(case, models.load_booster(fitted.model), parts.holdout)
        evaluated = evaluation.evaluate(case, sha256(fitted.model), data.commit, parts.holdout, scores)
        sample = training.sample_rows(parts.train, parts.stopping)
        made_from = training.build_manifest(
            tuned,
            data,
            fitted,
            row_digest=training.digest_rows(parts.train, parts.stopping),
            rows=training.count_rows(parts.train, parts.stopping),
            fitted_until=training.newest_event(case, sample),
            declared=case,
            split=training.row_filter(case, after, parts.train.height, parts.stopping.height, parts.holdout),
            engine=plan.engine,
            device=plan.device,
            search=search,
            held_out=training.describe_held_out(case, held),
        )
        leaks = training.find_design_leaks(case, registry, reigning, sample, parts.holdout)
        documents = {
            "evidence": reporting.card_evidence(case, parts.holdout, scores),
            "estimator": monitoring.build_estimator(case, parts.holdout, scores),
            **training.leak_document(leaks),
        }
        with excluding(cross_machine_lock):
            model = record_candidate(registry, data, build_candidate(tuned, made_from, fitted, sample, evaluated, documents))
        sizes = (parts.train.height, parts.stopping.height, parts.holdout.height)
        log_step(reporting.challenger_line(model, data.commit, *sizes, fitted.best_rounds, by_hash=by_hash))
        judged = training.judge_holdout(case, sample, parts.holdout, scores)
        if by_hash and reigning is None and not plan.trials:  # a search has seen rows that other folds hold out
            judged = training.judge_in_folds(tuned, parts, judged, plan.device)
    verdict = evaluation.gate_challenger(
        case,
        judged.rows,
        judged.scores,
        _champion_scores(case, registry, reference, data, judged.rows),
        judged.baseline,
        data_commit=data.commit,
        seed=case.training.seed,
        seen_until=training.newest_event(case, sample, after),
        designs=_designs(case, registry, reference, made_from),
        constant_scores=judged.constant,
        leaks=training.open_leaks(case, leaks),
        folds=judged.folds,
    )
    challenged = Challenge(model=model, data=data, evaluation=evaluated, verdict=verdict, champion=reigning, by_hash=by_hash)
    log_step(reporting.gate_line(case, challenged))
    return challenged


def _champion_scores(
    case: UseCase, registry: ModelRegistry, reference: training.Reference, data: DataRef, holdout: pl.DataFrame
) -> np.ndarray | None:
    """Scores of the version that stands for the champion; None where there is none, or its code is gone."""
    if reference.model is None:
        return None
    try:
        return training.version_scores(case, registry, reference.model, data, holdout)
    except UsageError as gone:
        log_step(f"The champion cannot be compared, and the baseline takes its place. {gone}.")
        return None


def _designs(
    case: UseCase, registry: ModelRegistry, reference: training.Reference, made_from: Mapping[str, Any]
) -> int | None:
    if reference.model is None or not reference.same_holdout:
        return None
    return training.count_designs(case, registry, reference.model, made_from["split"]["holdout"])


@task(**LONG_TASK_OPTIONS, tags={"train", "lake", "registry"})
def refit_challenger(use_case: str, challenged: Challenge, registry_url: str, device: Device) -> ModelRef:
    """Fit the challenger's recipe on all labelled rows of its commit, the gate's window included, and record it.

    Without event times the deliveries that were held out stay so: nothing else would tell which rows a model has not seen.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        challenged: What `train_challenger` gave.
        registry_url: URL of the model registry.
        device: Where XGBoost computes, `cpu` or `cuda`.

    Returns:
        The recorded version, which ships in the challenger's place.
    """
    case = resolve(use_case)
    registry = open_registry(registry_url)
    recipe = registry.document(challenged.model, "manifest")
    tuned, engine, data = training.apply_recipe(case, recipe), recipe["engine"], challenged.data
    held = training.recorded_held_out(case, data, recipe)
    with training.split_rows(case, data, engine, held=held) as parts:
        fitted = training.refit_split(tuned, parts, recipe["rounds"], training.coefficients(recipe), engine, device)
        rows = training.sample_rows(parts.known)
        made_from = training.build_manifest(
            tuned,
            data,
            fitted,
            row_digest=training.digest_rows(parts.known),
            rows=training.count_rows(parts.known),
            fitted_until=training.newest_event(case, rows),
            declared=case,
            engine=engine,
            device=device,
            search=recipe["search"],
            recipe_of=challenged.model,
            held_out=training.describe_held_out(case, held),
        )
        evaluated = challenged.evaluation.model_copy(update={"model_sha256": sha256(fitted.model)})
        # The refit has seen every row: what only unseen rows can say stays that of the gated version.
        documents = {name: registry.document(challenged.model, name) for name in OF_HOLDOUT}
        documents |= training.leak_document(training.recorded_leaks(registry, challenged.model))
        with excluding(cross_machine_lock):
            model = record_candidate(registry, data, build_candidate(tuned, made_from, fitted, rows, evaluated, documents))
        log_step(reporting.refit_line(model, challenged.model, training.count_rows(parts.known)))
        return model


@task(**TASK_OPTIONS, tags={"registry"})
def smoke_test(use_case: str, model: ModelRef, registry_url: str) -> None:
    """Load a version in a child process, score its golden rows there, and then as batch scoring would.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        model: The version.
        registry_url: URL of the model registry.

    Raises:
        IntegrityError: The model dies, or its scores differ from those recorded.
        UsageError: The version needs code that has changed or is gone.
    """
    registry = open_registry(registry_url)
    case = use_case_of(resolve(use_case), registry, model)
    payload, golden = registry.model_bytes(model), registry.golden(model)
    models.run_smoke_test(payload, golden, case)
    models.predict_scores(case, models.load_booster(payload), pl.read_parquet(io.BytesIO(golden)))


@task(**TASK_OPTIONS, tags={"train", "registry"})
def previous_outcome(use_case: str, data: DataRef, registry_url: str, trials: int = 0) -> Outcome | None:
    """What an earlier training on this very commit and use case came to.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        data: Commit of the data, and the repository that it lies in.
        registry_url: URL of the model registry.
        trials: Trials of a search for parameters; a training that searched less does not count.

    Returns:
        Its outcome, or None where there was none, or none that came to an end.
    """
    case = resolve(use_case)
    registry = open_registry(registry_url)
    for model in reversed(registry.versions(case.name)):
        tags = registry.tags(model)
        same = tags.get("data_commit") == data.commit and tags.get("use_case_version") == case.version()
        stopped = tags.get(STATE) == "refused" and "confirm: " in tags.get(WHY, "")
        if stopped and training.is_settled(case, registry, model):
            continue  # it stopped on a column that a person has since said is known
        if same and int(tags.get(SEARCH, 0)) >= trials and tags.get(STATE) not in (None, CHALLENGER):
            return Outcome(status="already done", why=f"v{model.version}, {tags[STATE]}: {tags.get(WHY, '')}", model=model)
    return None


@task(**TASK_OPTIONS, tags={"train", "registry"})
def unnotified_versions(name: str, registry_url: str) -> tuple[Outcome, ...]:
    """Promotions and refusals whose run was killed before it said so; perhaps also one that is being reported right now.

    Args:
        name: Name of the use case, which is the model's name.
        registry_url: URL of the model registry.

    Returns:
        Their outcomes, the oldest version first.
    """
    registry = open_registry(registry_url)
    return tuple(_outcome(registry, model) for model in registry.unnotified(name))


def _outcome(registry: ModelRegistry, model: ModelRef) -> Outcome:
    tags, verdict = registry.tags(model), None
    with suppress(NotFound):  # made champion over the gate's head
        verdict = GateVerdict.model_validate(registry.document(model, "verdict"))
    status: TrainingStatus = "promoted" if tags.get(STATE) == CHAMPION else "refused"
    return Outcome(status=status, why=tags.get(WHY, ""), model=model, verdict=verdict)


@task(**TASK_OPTIONS, tags={"train", "registry"})
def mark_notified(model: ModelRef, registry_url: str) -> None:
    """Note that it was reported what became of a version.

    Args:
        model: The version.
        registry_url: URL of the model registry.
    """
    open_registry(registry_url).mark_notified(model)


@task(**TASK_OPTIONS, tags={"train", "registry", "lake"})
def promote_challenger(
    use_case: str, model: ModelRef, challenged: Challenge, registry_url: str, log_url: str, who: str
) -> Outcome:
    """Move the champion's alias if the verdict says so, write that down, and keep verdict and card with the version.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        model: The version that ships: the challenger, or its refit.
        challenged: What `train_challenger` gave.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.
        who: Who asked for it; it is kept in the history.

    Returns:
        What became of the version, and why.

    Raises:
        StaleCheck: Another champion came in between: gate again, against that one.
    """
    case, registry = resolve(use_case), open_registry(registry_url)
    log, champion = open_store(log_url), challenged.champion
    with excluding(cross_machine_lock), registry.exclusive(model.name):
        outcome = promotion.set_champion(registry, log, model, challenged.verdict, expected=champion, by=Actor(who))
        if outcome.status != "skipped":
            if model != challenged.model:
                registry.supersede_with_refit(challenged.model, challenged.verdict, by=model)
            reporting.attach_card(case, registry, model)
    return outcome

"""Tasks of promotion and rollback by hand: gate a version, try it out, move the champion's alias there or back."""

from __future__ import annotations

import polars as pl
from prefect import task

from schemas.errors import NotFound, UsageError
from schemas.refs import DataRef, ModelRef
from schemas.results import Challenge, Outcome
from schemas.usecase import resolve
from schemas.verdicts import Evaluation, GateVerdict
from tasks import datasets, evaluation, features, models, promotion, reporting, training
from tasks.orchestration import TASK_OPTIONS, cross_machine_lock
from tasks.registry import Actor, excluding, open_registry, use_case_of
from tasks.versions import open_store


@task(**TASK_OPTIONS, tags={"registry", "lake"})
def hold_reason(use_case: str, registry_url: str, log_url: str) -> str | None:
    """Why nothing may be trained or promoted now. What a killed process left out is written down first.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.

    Returns:
        The reason, or None where nothing is frozen.

    Raises:
        IntegrityError: The history of promotions was rewritten.
        NotFound: The history names a version that the registry does not have.
    """
    case = resolve(use_case)
    registry = open_registry(registry_url)
    with excluding(cross_machine_lock):
        held = promotion.hold_reason(registry, open_store(log_url), case.name)
        if champion := registry.champion(case.name):
            promotion.mark_superseded(registry, champion)
            reporting.attach_card(case, registry, champion)
    return held


@task(**TASK_OPTIONS, tags={"train", "lake", "registry"})
def gate_version(use_case: str, version: int, data: DataRef, registry_url: str) -> Challenge:
    """Gate a version against the champion on the newest labelled window that neither has seen.

    With no such rows, or none older to fit the baseline on, the verdict says "not enough evidence".

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        version: Number of the version.
        data: Commit of the data, and the repository that it lies in.
        registry_url: URL of the model registry.

    Returns:
        The version, its evaluation, the gate's verdict, and the champion that it was compared with.

    Raises:
        NotFound: There is no such version.
        UsageError: Either version needs code that has changed or is gone.
    """
    case = resolve(use_case)
    registry = open_registry(registry_url)
    model, champion = registry.version(case.name, version), registry.champion(case.name)
    training_ends = [promotion.fitted_until(registry, each) for each in (model, champion) if each]
    after = max((moment for moment in training_ends if moment), default=None)
    held = training.choose_held_out(case, registry, data, (model, champion))
    hashes = held.hashes if held else None
    parts = features.split_by_time(case, datasets.load_training_rows(case, data), after=after, held=hashes)
    older = pl.concat([parts.train, parts.stopping])
    if parts.holdout.is_empty() or older.is_empty():
        newer = f" newer than {after:%Y-%m-%d %H:%M}, up to when either was fitted" if after else ""
        verdict = GateVerdict(
            promoted=False,
            why=f"refused: not enough evidence: there are no labelled rows{newer}",
            metric=case.gate.metric,
            data_commit=data.commit,
        )
        nothing = Evaluation(model_sha256=model.sha256, data_commit=data.commit, rows=0, blocks=0, metrics={})
        return Challenge(model=model, data=data, evaluation=nothing, verdict=verdict, champion=champion)
    scores = training.version_scores(case, registry, model, data, parts.holdout)
    judged = training.judge_holdout(case, older, parts.holdout, scores)
    verdict = evaluation.gate_challenger(
        case,
        parts.holdout,
        scores,
        training.version_scores(case, registry, champion, data, parts.holdout) if champion else None,
        judged.baseline,
        data_commit=data.commit,
        seed=case.training.seed,
        seen_until=after,
        constant_scores=judged.constant,
        leaks=training.open_leaks(case, training.recorded_leaks(registry, model)),
    )
    evaluated = evaluation.evaluate(case, model.sha256, data.commit, parts.holdout, scores)
    return Challenge(model=model, data=data, evaluation=evaluated, verdict=verdict, champion=champion)


@task(**TASK_OPTIONS, tags={"registry", "lake"})
def promote_by_hand(
    use_case: str, challenged: Challenge, registry_url: str, log_url: str, who: str, override: str | None = None
) -> Outcome:
    """Make a gated version champion if its verdict, or a person's override, says so.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        challenged: What `gate_version` gave.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.
        who: Who asked for it; it is kept in the history.
        override: Why the version becomes champion against the verdict; recorded as such.

    Returns:
        What became of the version, and why.

    Raises:
        StaleCheck: Another champion came in between.
    """
    case = resolve(use_case)
    registry = open_registry(registry_url)
    with excluding(cross_machine_lock):
        outcome = promotion.set_champion(
            registry,
            open_store(log_url),
            challenged.model,
            challenged.verdict,
            expected=challenged.champion,
            by=Actor(who, hand=True),
            override=override,
        )
        if outcome.status in ("promoted", "refused"):
            reporting.attach_card(case, registry, challenged.model, anew=True)
    return outcome


@task(**TASK_OPTIONS, tags={"train", "registry", "lake"})
def change_threshold(
    use_case: str, threshold: float, registry_url: str, log_url: str, who: str, reason: str
) -> tuple[Outcome, ModelRef]:
    """Make the champion with another threshold the champion: a version of its own, and an entry in the history.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        threshold: Probability of the positive from which a row gets its word, above 0 and below 1.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.
        who: Who asked for it; it is kept in the history.
        reason: Why; it is kept in the history.

    Returns:
        What became of it, and the version.

    Raises:
        NotFound: There is no champion.
        UsageError: The target is not binary, the threshold is no probability, or it is the champion's already.
        IntegrityError: Its bytes with the threshold do not score the golden rows as before.
        StaleCheck: Another champion came in between.
    """
    registry, declared = open_registry(registry_url), resolve(use_case)
    with excluding(cross_machine_lock):
        champion = registry.champion(declared.name)
        if champion is None:
            raise NotFound(f"{declared.name} has no champion: penstock train {declared.name} makes the first")
        case = use_case_of(declared, registry, champion)
        candidate = training.rethreshold(case, registry, champion, threshold)
        data = DataRef(store=candidate.manifest["data_store"], commit=candidate.manifest["data_commit"])
        models.run_smoke_test(candidate.model, candidate.golden, case)
        model = training.record_candidate(registry, data, candidate)
        why = f"threshold {case.target.threshold:g} of v{champion.version} becomes {threshold:g}: {reason}"
        verdict = GateVerdict(promoted=False, why="not gated: only the threshold changes", metric=case.gate.metric)
        actor = Actor(who, hand=True)
        outcome = promotion.set_champion(
            registry, open_store(log_url), model, verdict, expected=champion, by=actor, override=why
        )
        reporting.attach_card(case, registry, model)
    return outcome, model


@task(**TASK_OPTIONS, tags={"registry", "lake"})
def find_rollback_target(use_case: str, version: int | None, registry_url: str, log_url: str) -> ModelRef:
    """The version to go back to: the one named, or the one that the champion replaced.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        version: Number of the version; None for the one before.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.

    Returns:
        The version.

    Raises:
        NotFound: There is none to go back to.
    """
    with excluding(cross_machine_lock):
        name = resolve(use_case).name
        return promotion.find_rollback_target(open_registry(registry_url), open_store(log_url), name, version)


@task(**TASK_OPTIONS, tags={"registry", "lake"})
def roll_back_champion(use_case: str, model: ModelRef, registry_url: str, log_url: str, who: str, reason: str) -> Outcome:
    """Move the champion's alias to a version that was tried out.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        model: The version.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.
        who: Who asked for it; it is kept in the history.
        reason: Why, in a person's words; it is kept in the history.

    Returns:
        What became of it, and why.

    Raises:
        UsageError: No reason was given.
    """
    if not reason.strip():
        raise UsageError(f"cannot roll back {resolve(use_case).name}: give a reason, it stays in the history")
    with excluding(cross_machine_lock):
        return promotion.roll_back_champion(
            open_registry(registry_url), open_store(log_url), model, by=Actor(who), reason=reason
        )

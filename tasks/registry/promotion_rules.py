"""Whether a version may become champion. Everything fails closed: what is missing or not a number is a no."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.refs import ModelRef
from schemas.verdicts import GateVerdict
from tasks.registry.artifacts import finite, fitted_until


def objection(verdict: GateVerdict, evaluation: Mapping[str, Any], ref: ModelRef, *, against: ModelRef | None) -> str | None:
    """Why a verdict does not promote, in one sentence, or None.

    A verdict that says yes needs the challenger's and the baseline's number, against a champion also the champion's and
    the interval of the gain, rows, a data commit and no failed check; the model needs an evaluation of its own bytes
    whose metrics are all numbers, the verdict's metric among them.
    """
    if not verdict.promoted:
        return verdict.why
    numbers = {"challenger": verdict.challenger, "baseline": verdict.baseline}
    if against is not None:
        lower, upper = verdict.interval or (None, None)
        numbers |= {"champion": verdict.champion, "lower bound": lower, "upper bound": upper}
    if missing := [name for name, number in numbers.items() if not finite(number)]:
        return f"The verdict says promoted, but lacks {', '.join(missing)} as a finite number."
    if failed := [check.name for check in verdict.checks if not check.passed]:
        return f"The verdict says promoted, but the check {', '.join(failed)} failed."
    if not verdict.rows or not verdict.data_commit:
        return "The verdict says promoted, but names no rows or no data commit."
    return _unproven(verdict.metric, evaluation, ref)


def _unproven(metric: str, evaluation: Mapping[str, Any], ref: ModelRef) -> str | None:
    metrics = evaluation.get("metrics") or {}
    if evaluation.get("model_sha256") != ref.sha256:
        return "The evaluation stored with the version is that of another model."
    if unclear := sorted({metric, *metrics} - {name for name, number in metrics.items() if finite(number)}):
        return f"The evaluation stored with the version lacks {', '.join(unclear)} as a finite number."
    return None


def too_old(manifest: Mapping[str, Any], champion: Mapping[str, Any]) -> str | None:
    """Why a model is too old to follow the champion, or None.

    Models are ordered by the newest row each was fitted on, not by when they were trained: late or repeated trainings
    must not bring an older model back. A model that does not say follows only a champion that does not say either.
    """
    own, theirs = fitted_until(manifest), fitted_until(champion)
    if theirs is None or (own is not None and own >= theirs):
        return None
    return f"Fitted on rows until {own or 'an unknown time'}, the champion on rows until {theirs}."

"""Answers in the words of the business: category, probabilities, where they come from, and why."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl

from schemas.usecase import UseCase
from tasks.inference import TIME_DIGITS
from tasks.inference.online import Problem, as_float32

TOLD_MOST = 3
_PROCESS = os.urandom(4).hex()
_NUMBERS = itertools.count(int.from_bytes(os.urandom(3), "big"))


class Binary(msgspec.Struct):
    """One prediction of two classes; `probability` is that of the second."""

    category: str
    probability: float
    model_version: int
    prediction_id: str
    explanation: Any = msgspec.UNSET


class Multiclass(msgspec.Struct):
    """One prediction of several classes."""

    category: str
    probabilities: dict[str, float]
    model_version: int
    prediction_id: str
    explanation: Any = msgspec.UNSET


class Regression(msgspec.Struct):
    """One predicted number."""

    prediction: float
    unit: str
    model_version: int
    prediction_id: str
    explanation: Any = msgspec.UNSET


class Many(msgspec.Struct):
    """Predictions of several rows, in their order, all of one model version."""

    model_version: int
    predictions: list[Any]


class Refusal(msgspec.Struct):
    """Why a request was not answered."""

    error: str
    problems: list[Any] = []


Scores = Sequence[float]
BuildResponse = Callable[[Scores, int, str], Any]

encode = msgspec.json.Encoder().encode


def new_id() -> str:
    """A prediction id: 32 hexadecimal digits, the first 12 the time in milliseconds."""
    return f"{time.time_ns() // 1_000_000:0{TIME_DIGITS}x}{_PROCESS}{next(_NUMBERS) & 0xFFFFFFFFFFFF:012x}"


def response_builder(use_case: UseCase) -> BuildResponse:
    """From scores, model version and prediction id to an answer, with the decisions that batch scoring makes."""
    target = use_case.target
    classes = target.classes
    if target.kind == "regression":
        return lambda scores, version, name: Regression(scores[0], target.unit, version, name)
    if target.kind == "multiclass":

        def multiclass(scores: Scores, version: int, name: str) -> Multiclass:
            best = max(range(len(classes)), key=scores.__getitem__)
            return Multiclass(classes[best], dict(zip(classes, scores, strict=True)), version, name)

        return multiclass
    threshold = as_float32(target.threshold)  # scores are float32, and are compared as such

    def binary(scores: Scores, version: int, name: str) -> Binary:
        return Binary(classes[scores[0] >= threshold], scores[0], version, name)

    return binary


def category_of(answer: Any) -> str:
    """The category to count an answer by."""
    return getattr(answer, "category", "")


def refusal(error: str, problems: Sequence[Problem] = ()) -> bytes:
    """The body of a 4xx or 5xx answer."""
    problems_shown = [
        {"message": p.message, **{k: v for k in ("row", "field", "allowed") if (v := getattr(p, k)) is not None}}
        for p in problems
    ]
    return encode(Refusal(error, problems_shown))


def explanation(use_case: UseCase, answer: Any, features: pl.DataFrame, contributions: np.ndarray) -> dict[str, Any]:
    """SHAP contributions of one row's features, shape (features + 1,) or (classes, features + 1), and a sentence."""
    target = use_case.target
    if contributions.ndim == 2:
        contributions = contributions[target.classes.index(answer.category)]
    values = features.row(0, named=True)
    parts = {name: float(part) for name, part in zip(values, contributions, strict=False)}
    base = float(contributions[-1])
    scale = target.unit or "units" if target.kind == "regression" else "log-odds"
    return {
        "sentence": f"{_outcome(use_case, answer)} {_reasons(parts, values, scale)}",
        "scale": scale,
        "base": base,
        "contributions": parts,
    }


def _outcome(use_case: UseCase, answer: Any) -> str:
    target = use_case.target
    if target.kind == "regression":
        return f"The {target.name} is predicted as {answer.prediction:.4g} {target.unit}.".replace(" .", ".")
    if target.kind == "multiclass":
        return f"Most likely {answer.category!r}, with a probability of {answer.probabilities[answer.category]:.2f}."
    side = "at least" if answer.category == target.classes[1] else "below"
    return (
        f"{answer.category!r}: the probability of {target.classes[1]!r} is {answer.probability:.2f},"
        f" {side} the threshold {target.threshold:.2f}."
    )


def _reasons(parts: dict[str, float], values: dict[str, Any], scale: str) -> str:
    ordered = sorted(parts, key=lambda name: -abs(parts[name]))
    raised = [name for name in ordered if parts[name] > 0][:TOLD_MOST]
    lowered = [name for name in ordered if parts[name] < 0][:TOLD_MOST]
    reasons_shown = [
        f"{verb} most by {', '.join(f'{name} = {_value(values[name])} ({parts[name]:+.2f})' for name in names)}"
        for verb, names in (("raised", raised), ("lowered", lowered))
        if names
    ]
    return f"That was {'; '.join(reasons_shown)} (in {scale})." if reasons_shown else "No feature moved it."


def _value(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value:g}" if isinstance(value, float) else str(value)

"""What a model is worth before labels come: an estimator fitted where they are known, then used without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import polars as pl
from prefect import task

from schemas.errors import UsageError
from schemas.usecase import GatePolicy, Training
from schemas.verdicts import Estimate, Kind
from tasks.evaluation import score_flaw
from tasks.monitoring import performance_estimation
from tasks.standalone.arguments import matrix_of, require_choice, require_columns, require_frame, require_numbers
from tasks.standalone.feature_columns import training_features
from tasks.standalone.labelled_rows import Scores, frame_use_case, labelled_rows, score_columns
from tasks.standalone.task_options import STANDALONE_TASK_OPTIONS


def fit_estimator(
    holdout: pl.DataFrame,
    label: str,
    scores: Scores,
    *,
    features: Sequence[str] = (),
    time: str | None = None,
    block: str | None = None,
    metric: Literal["log_loss", "auc", "rmse", "mae"] | None = None,
    kind: Kind | None = None,
    threshold: float = 0.5,
    seed: int = 2013,
) -> dict[str, Any]:
    """Learn from a model's labelled holdout how to estimate its worth later, without labels.

    For classes the scores are calibrated (Platt 1999), where that carries over from one half of the holdout to the other,
    for confidence-based performance estimation (CBPE). For a regression small models of the squared and the absolute error
    are fitted on the features and the prediction: direct loss estimation (DLE). Both after Kuberski et al., NannyML (2023).

    Args:
        holdout: Labelled rows that the model has not seen, with its scores.
        label: Column of the outcome: Boolean or 0 and 1; a number; or a class's name.
        scores: Column of the score; for several classes {class: column}.
        features: Columns that the loss of a regression may depend on: numbers, Booleans, text, categories.
        time: Column of the event time; None: the rows lie in the order of time.
        block: Column whose values name blocks of rows that depend on each other; None: the day, or random groups.
        metric: Whose level on the holdout is stored with its interval; None: log_loss, or rmse.
        kind: binary, multiclass or regression; None: as label and scores say.
        threshold: Probability from which a row counts as positive, for the error rate.
        seed: Of the bootstrap and of the small models.

    Returns:
        A JSON document for `estimate_performance`.

    Raises:
        UsageError: For a column that is missing or of a wrong type, and scores that are not finite or no probabilities.
        NotEnoughEvidence: Where there are no rows, or none has a label.
    """
    labelled = labelled_rows(
        holdout, label, [scores], kind=kind, threshold=threshold, time=time, block=block, training=Training(seed=seed)
    )
    target = labelled.use_case.target
    fitting = ("rmse", "mae") if target.kind == "regression" else ("log_loss", "auc")
    require_choice("metric", metric or fitting[0], fitting)
    require_columns(holdout, features, "holdout")
    values = labelled.scores(scores)
    if flaw := score_flaw(labelled.use_case, labelled.designed.height, values, f"column {scores!r}"):
        raise UsageError(f"holdout: {flaw}")
    columns = training_features(labelled.source, features)
    case = frame_use_case(
        labelled.source,
        target.kind,
        label,
        classes=target.classes,
        threshold=threshold,
        features=features,
        time=time,
        block=block,
        gate=GatePolicy(metric=metric or fitting[0]),  # type: ignore[arg-type]
        training=Training(seed=seed),
    )
    rows = labelled.designed.with_columns(columns)
    described = {
        "kind": target.kind,
        "classes": list(target.classes),
        "threshold": threshold,
        "features": {name: _asked(column.dtype) for name, column in zip(features, columns, strict=True)},
    }
    return performance_estimation.build_estimator(case, rows, values) | described


def estimate_performance(
    estimator: Mapping[str, Any],
    rows: pl.DataFrame,
    scores: Scores,
    *,
    past_errors: Sequence[Mapping[str, float]] = (),
) -> Estimate:
    """Estimate metrics of scored rows without labels.

    Neither method can see that the relation of inputs and outcome itself has changed. The record of earlier errors can, one
    window later: give it, and estimates are shifted by the mean of the errors, weighted by recency, and get an interval.

    Args:
        estimator: What `fit_estimator` gave, as it is or read from JSON.
        rows: Rows with scores, and for a regression with the estimator's features.
        scores: Column of the score; for several classes {class: column}.
        past_errors: Realized minus raw estimated values by metric, of earlier windows, oldest first. From three on there
            are intervals.

    Returns:
        `raw` and corrected `metrics` by name (auc, log_loss, error_rate, brier; auc, log_loss, accuracy; rmse, mae), and
        `intervals` at `level` 0.9.

    Raises:
        UsageError: For a column that is missing or of a wrong type, scores that are not finite or no probabilities, classes
            other than the estimator's, and what is no estimator.
        NotEnoughEvidence: For a frame without rows.
    """
    if not isinstance(estimator, Mapping) or "kind" not in estimator:
        raise UsageError("estimator: a document made by fit_estimator is wanted")
    require_frame(rows, "rows")
    names, features = score_columns(scores), list(estimator["features"])
    named = [] if isinstance(scores, str) else list(scores)
    if named != list(estimator["classes"]):
        raise UsageError(f"scores: the estimator's classes are {estimator['classes']}, not {named}; name {{class: column}}")
    require_columns(rows, [*names, *features], "rows")
    require_numbers(rows, names, "scores")
    case = frame_use_case(
        rows,
        estimator["kind"],
        "",
        classes=estimator["classes"],
        threshold=estimator["threshold"],
        features=features,
    )
    values = matrix_of(rows, names)
    if flaw := score_flaw(case, rows.height, values, f"column {scores!r}"):
        raise UsageError(f"rows: {flaw}")
    _require_kinds(rows, estimator["features"])
    prepared = rows.select(names).with_columns(training_features(rows, features))
    estimates = performance_estimation.estimate_metrics(case, estimator, prepared, values)
    return performance_estimation.correct_estimates(case, estimates, rows.height, past_errors)


def _asked(dtype: pl.DataType) -> str:
    return "a number" if dtype.is_numeric() or dtype == pl.Boolean else "text"


def _require_kinds(rows: pl.DataFrame, features: Mapping[str, str]) -> None:
    for name, asked in features.items():
        if _asked(rows.schema[name]) != asked:
            raise UsageError(f"rows: feature {name!r} is {rows.schema[name]}; the estimator asks for {asked}")


fit_estimator_task = task(**STANDALONE_TASK_OPTIONS)(fit_estimator)
estimate_performance_task = task(**STANDALONE_TASK_OPTIONS)(estimate_performance)

"""Simpler ways of keeping a model, to hold the loop against: the same features, labels and delay, no gate, no holdout.

Each trains on every outcome known at the moment and scores the rows until the next training. Rounds are found by early
stopping at the first training and again every 28 days; in between a model is fitted on all rows with as many. Both are
the loop's own fits (`training.fit_booster`, `training.refit_booster`), calibration included.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from schemas.errors import NotEnoughEvidence
from schemas.refs import DataRef
from schemas.replaying import BacktestResult
from schemas.score_columns import internal_names, prediction_names, to_columns, to_scores
from schemas.usecase import UseCase, resolve
from tasks import datasets, evaluation, features, inference, models, training
from tasks.timestamps import cast_like
from tasks.versions import MAIN, open_store

NEVER = 10_000
ROUNDS_HOLD = timedelta(days=28)


def backtest_fixed_schedule(
    use_case: str,
    data: DataRef,
    name: str,
    days: int,
    span: tuple[datetime, datetime],
    judged_from: datetime,
    label_delay: float | None,
) -> BacktestResult:
    """Train at the start of `span` and every so many days, score each row with the newest model, compare with outcomes.

    Args:
        use_case: Name of the use case.
        data: Commit of the data, and the repository that it lies in.
        name: What the schedule is called in the result, like `weekly`.
        days: Days between two trainings.
        span: First and last moment, in UTC; the last is not included.
        judged_from: Totals count from this moment.
        label_delay: Days after the event at which a label is known; None takes the data's own word.

    Returns:
        Metrics by month and in total, and the number of trainings.

    Raises:
        NotEnoughEvidence: No scored row has an outcome.
    """
    started = time.monotonic()
    case = resolve(use_case)
    rows = features.in_canonical_order(case, datasets.load_designed_rows(case, data))
    labels = datasets.load_labels(case, data).collect()
    learner, trainings, scored = _Learner(case, rows, labels, label_delay), Counter[str](), []
    for since, until in _stretches(span, days):
        window = rows.filter(_within(case, rows, since, until))
        if window.is_empty():
            continue
        scores = learner.train(since).scores(window)
        scored.append(with_scores(case, window, scores))
        if since > span[0]:
            trainings[f"{since:%Y-%m}"] += 1
    return backtest_result(case, name, _with_outcomes(case, pl.concat(scored), labels), judged_from, trainings, started)


def backtest_loop(
    use_case: str, data: DataRef, log_url: str, span: tuple[datetime, datetime], judged_from: datetime
) -> BacktestResult:
    """How the loop did: the first prediction of each row that its log holds, beside the outcome known by now.

    Args:
        use_case: Name of the use case.
        data: Commit of the data, and the repository that it lies in.
        log_url: URL of the use case's log repository, `<use case>-log`.
        span: First and last moment of the replay, in UTC; the last is not included.
        judged_from: Totals count from this moment.

    Returns:
        Metrics by month and in total.

    Raises:
        NotEnoughEvidence: Nothing was scored, or no scored row has an outcome.
    """
    started, case = time.monotonic(), resolve(use_case)
    log = open_store(log_url)
    scorings = [entry for entry in log.log(MAIN, first_parent=True) if entry.metadata.get("kind") == inference.SCORE_KIND]
    predictions = [inference.published_predictions(log, entry).collect() for entry in reversed(scorings)]
    if not predictions:
        raise NotEnoughEvidence(f"{case.name}: nothing was scored between {span[0]:%Y-%m-%d} and {span[1]:%Y-%m-%d}")
    first = pl.concat(predictions, how="diagonal").unique(list(case.key), keep="first", maintain_order=True)
    first = first.filter(_within(case, first, *span))
    rows = with_scores(case, first, to_scores(case.target, prediction_names(case.target), first))
    labels = datasets.load_labels(case, data).collect()
    return backtest_result(case, "loop", _with_outcomes(case, rows, labels), judged_from, Counter(), started)


def backtest_result(
    case: UseCase, name: str, rows: pl.DataFrame, judged_from: datetime, trainings: Counter[str], started: float
) -> BacktestResult:
    """Metrics of scored rows with outcomes, by month and from `judged_from` on. Raises NotEnoughEvidence without rows."""
    time_name = str(case.time)
    scored = evaluation.with_scores(case, rows, to_scores(case.target, internal_names(case.target), rows))
    judged = scored.filter(pl.col(time_name) >= cast_like(scored.schema[time_name], judged_from))
    if judged.is_empty():
        raise NotEnoughEvidence(f"{case.name}: no scored row from {judged_from:%Y-%m-%d} on has an outcome yet")
    wanted = evaluation.metric_expressions(case)
    return BacktestResult(
        name=name,
        months=_by_month(scored, time_name, wanted),
        total=_finite(judged.select(**wanted).row(0, named=True)),
        trainings=dict(sorted(trainings.items())),
        rows=scored.height,
        seconds=round(time.monotonic() - started, 1),
    )


def with_scores(case: UseCase, rows: pl.DataFrame, scores: np.ndarray) -> pl.DataFrame:
    """Key and event time of the rows with their scores, as score_columns.internal_names calls them."""
    columns = to_columns(internal_names(case.target), scores, np.float64)
    return rows.select(features.identity_columns(case)).with_columns(columns)


class _Learner:
    """One model after another."""

    def __init__(self, case: UseCase, rows: pl.DataFrame, labels: pl.DataFrame, label_delay: float | None) -> None:
        self.case, self.rows, self.labels, self.label_delay = case, rows, labels, label_delay
        self.sought = datetime.min.replace(tzinfo=UTC)
        self.recipe: training.Fitted | None = None
        self.model = b""

    def train(self, moment: datetime) -> _Learner:
        """Fit on every outcome known at the moment."""
        known = self._known(moment)
        if self.recipe is None or moment - self.sought >= ROUNDS_HOLD:
            self.recipe, self.sought = _recipe(self.case, known), moment
        rounds, calibration = self.recipe.best_rounds, self.recipe.calibration
        self.model = training.refit_booster(self.case, known, rounds, calibration=calibration).model
        return self

    def scores(self, rows: pl.DataFrame) -> np.ndarray:
        """Scores of designed rows, shape (n,) or (n, classes)."""
        return models.predict_scores(self.case, models.load_booster(self.model), rows)

    def _known(self, moment: datetime) -> pl.DataFrame:
        case, time_name = self.case, str(self.case.time)
        before = cast_like(self.rows.schema[time_name], moment - timedelta(days=self.label_delay or 0))
        old = self.rows if case.label_input.known_at else self.rows.filter(pl.col(time_name) < before)
        labelled = features.with_labels(case, old.lazy(), self.labels.lazy(), moment).collect()
        return labelled.filter(pl.col(features.TARGET).is_not_null())


def _recipe(case: UseCase, known: pl.DataFrame) -> training.Fitted:
    """Rounds after which the loss on the newest days no longer falls, and a calibration: what a challenger's fit finds."""
    if known.is_empty():
        raise NotEnoughEvidence(f"{case.name}: no outcome is known at the start of the replay; begin it later with --from")
    newest: Any = known[str(case.time)].max()
    recent = known[str(case.time)] > newest - timedelta(days=case.split.stopping_days)
    return training.fit_booster(case, known.filter(~recent), known.filter(recent))


def _stretches(span: tuple[datetime, datetime], days: int) -> Iterator[tuple[datetime, datetime]]:
    since, until = span
    while since < until:
        end = min(until, since + timedelta(days=days))
        yield since, end
        since = end


def _within(case: UseCase, rows: pl.DataFrame, since: datetime, until: datetime) -> pl.Expr:
    time_name = str(case.time)
    dtype = rows.schema[time_name]
    return (pl.col(time_name) >= cast_like(dtype, since)) & (pl.col(time_name) < cast_like(dtype, until))


def _with_outcomes(case: UseCase, rows: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    return features.with_labels(case, rows.lazy(), labels.lazy()).collect()


def _by_month(rows: pl.DataFrame, time_name: str, wanted: dict[str, pl.Expr]) -> dict[str, dict[str, float]]:
    dated = rows.with_columns(pl.col(time_name).dt.strftime("%Y-%m").alias("_month")).sort("_month")
    parts = dated.partition_by("_month", as_dict=True, maintain_order=True)
    return {str(month): _finite(part.select(**wanted).row(0, named=True)) for (month,), part in parts.items()}


def _finite(values: dict[str, Any]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in values.items() if value is not None and np.isfinite(value)}

"""Worth without labels: estimates beside what labels said later.

Flights by weeks, where the relation of inputs and outcome itself moves: the share of weeks whose realized value lies in the
stated 90% interval, and the mean interval score, beside "last known value plus or minus its own past errors". Then a stream
where only the inputs shift: the error of each estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from schemas.usecase import Training, UseCase
from schemas.usecases.flights import FLIGHTS
from tasks.evaluation import metrics
from tasks.features import engineering, row_order, splitting
from tasks.models import booster as scoring
from tasks.monitoring import performance_estimation
from tasks.replay.nycflights13 import flights_of_the_year
from tasks.training import fit

START = datetime(2013, 3, 1, 5, tzinfo=UTC)  # a day begins in New York
WEEKS, RETRAIN_EVERY, FIRST = 44, 4, 8
METRICS = ("auc", "log_loss", "error_rate")
TRAINING = Training(params={"max_depth": 3, "learning_rate": 0.1, "min_child_weight": 20}, rounds=400)
ALPHA = 1 - performance_estimation.LEVEL
Interval = tuple[float, float]


@dataclass(frozen=True)
class Week:
    """One week as it was estimated before its labels came, and what they said."""

    raw: dict[str, float]
    realized: dict[str, float]


def weeks(use_case: UseCase = FLIGHTS) -> Iterator[Week]:
    """March to December; a model trained every four weeks on what is labelled by then, its holdout the newest 14 days."""
    year = flights_of_the_year()
    designed = engineering.design(use_case, year["flights"].lazy(), {"weather": year["weather"].lazy()})
    known = engineering.with_labels(use_case, designed, year["labels"].lazy()).filter(pl.col("_target").is_not_null())
    rows = row_order.in_canonical_order(use_case, known)
    time = pl.col("time_hour")
    for number in range(WEEKS):
        begin = START + timedelta(weeks=number)
        week = rows.filter((time >= begin) & (time < begin + timedelta(weeks=1)))
        if week.is_empty():
            return
        if number % RETRAIN_EVERY == 0:
            past = rows.filter(time < begin - timedelta(days=1))
            train, stopping, holdout = splitting.split_by_time(use_case, past)
            fitted = fit.fit_booster(use_case, train, stopping)
            document = performance_estimation.build_estimator(
                use_case, holdout, scoring.predict_scores(use_case, scoring.load_booster(fitted.model), holdout)
            )
            booster = scoring.load_booster(fit.refit_booster(use_case, past, fitted.best_rounds).model)
        scores = scoring.predict_scores(use_case, booster, week)
        made = metrics.evaluate(use_case, "0" * 64, "-", week, scores)
        yield Week(performance_estimation.estimate_metrics(use_case, document, week, scores), dict(made.metrics))


def interval_score(interval: Interval, value: float) -> float:
    """Width, plus 2 / alpha for each unit that the value lies outside (Gneiting and Raftery 2007)."""
    low, high = interval
    return high - low + 2 / ALPHA * (max(low - value, 0) + max(value - high, 0))


def ours(past: list[Week], week: Week, metric: str) -> Interval:
    """The interval that monitoring states."""
    errors = [{metric: each.realized[metric] - each.raw[metric]} for each in past]
    return performance_estimation.correct_estimates(FLIGHTS, {metric: week.raw[metric]}, 0, errors).intervals[metric]


def last_by_quantile(past: list[Week], week: Week, metric: str) -> Interval:
    """Last known value, plus or minus the conformal quantile of its own past errors."""
    values = np.array([each.realized[metric] for each in past])
    errors = np.sort(np.abs(np.diff(values)))
    rank = min(len(errors), int(np.ceil((len(errors) + 1) * performance_estimation.LEVEL)))
    return values[-1] - errors[rank - 1], values[-1] + errors[rank - 1]


def last_by_t(past: list[Week], week: Week, metric: str) -> Interval:
    """Last known value, plus or minus Student's t of its own past errors, as our interval does."""
    from scipy.special import stdtrit

    values = np.array([each.realized[metric] for each in past])
    errors = np.diff(values)
    half = stdtrit(len(errors), 1 - ALPHA / 2) * np.sqrt(np.mean(errors**2))
    return values[-1] - half, values[-1] + half


def judged(lived: list[Week], rule: Callable[[list[Week], Week, str], Interval], metric: str) -> tuple[float, float, float]:
    """Coverage, mean interval score and mean width over the weeks after the first eight."""
    pairs = [(rule(lived[:i], lived[i], metric), lived[i].realized[metric]) for i in range(FIRST, len(lived))]
    held = np.mean([low <= value <= high for (low, high), value in pairs])
    return (
        float(held),
        float(np.mean([interval_score(*pair) for pair in pairs])),
        float(np.mean([h - lo for (lo, h), _ in pairs])),
    )


def shifted(moved: float, n: int, rng: np.random.Generator) -> pl.DataFrame:
    """Labelled rows of two inputs; the distribution of the first moves, the relation of the outcome to both does not."""
    a, b = rng.normal(moved, 1 + abs(moved) / 2, n), rng.normal(0, 1, n)
    likely = 1 / (1 + np.exp(-(a + 0.5 * b**2 - 1)))
    keys = {"time_hour": [START] * n, "carrier": ["AA"] * n, "flight": np.arange(n)}
    return pl.DataFrame({**keys, "_block": np.arange(n) % 20, "a": a, "b": b, "_target": rng.random(n) < likely})


def stream(n: int = 100_000) -> None:
    """Print the error of each estimate where only the inputs shift; scores are also made too sure of themselves."""
    rng = np.random.default_rng(2013)
    case = replace(FLIGHTS, features={name: pl.col(name) for name in ("a", "b")}, slices=(), training=TRAINING)
    booster = scoring.load_booster(fit.fit_booster(case, shifted(0, n, rng), shifted(0, n // 5, rng)).model)
    holdout = shifted(0, n, rng)
    print(f"\nonly the inputs shift, {n:,} rows a window; estimated minus realized, in brackets without calibration")
    for name, power in (("the model's scores", 1.0), ("scores made too sure, logit x 1.5", 1.5)):

        def scored(rows: pl.DataFrame, power: float = power) -> np.ndarray:
            p = scoring.predict_scores(case, booster, rows).astype(np.float64)
            return p**power / (p**power + (1 - p) ** power)

        document = performance_estimation.build_estimator(case, holdout, scored(holdout))
        print(name)
        for moved in (0.0, 0.5, 1.0, -1.0):
            window = shifted(moved, n, rng)
            found, plain = (
                performance_estimation.estimate_metrics(case, how, window, scored(window)) for how in (document, None)
            )
            made = metrics.evaluate(case, "0" * 64, "-", window, scored(window)).metrics
            told = ", ".join(f"{m} {found[m] - made[m]:+.4f} ({plain[m] - made[m]:+.4f})" for m in METRICS)
            print(f"  first input moved by {moved:+.1f}: {told}")


def main() -> None:
    """Print coverage and interval scores on the flights, and errors on the stream."""
    lived = list(weeks())
    print(f"flights by weeks, {len(lived)} weeks, judged from week {FIRST + 1} on; the intervals are meant to hold 90%")
    for metric in METRICS:
        error = [week.realized[metric] - week.raw[metric] for week in lived]
        print(f"{metric}: realized minus estimated {np.mean(error):+.4f}, spread {np.std(error):.4f}")
        for name, rule in (("ours", ours), ("last value, quantile", last_by_quantile), ("last value, t", last_by_t)):
            held, score, width = judged(lived, rule, metric)
            print(f"  {name:>20}: holds {held:.0%}, interval score {score:.3f}, width {width:.3f}")
    stream()


if __name__ == "__main__":
    main()

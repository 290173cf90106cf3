"""Late labels: once all have come, neither order nor repeats nor lateness matter to any window."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from schemas.errors import UsageError
from schemas.usecase import Input, Target, UseCase
from schemas.usecases.flights import FLIGHTS, Flights
from schemas.verdicts import Performance
from tasks.features.engineering import newest_labels
from tasks.monitoring.realized_performance import realized

START = datetime(2013, 3, 4, tzinfo=UTC)  # a Monday
DAYS, A_DAY = 21, 40
RNG = np.random.default_rng(8)


def key(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("time_hour", "carrier", "flight")


def flights() -> pl.DataFrame:
    n = DAYS * A_DAY
    hours = [START + timedelta(days=i // A_DAY, hours=i % 24) for i in range(n)]
    return pl.DataFrame(
        {
            "time_hour": pl.Series(hours, dtype=pl.Datetime("us", "UTC")),
            "carrier": RNG.choice(["AA", "UA"], n),
            "flight": np.arange(1, n + 1),
            "origin": RNG.choice(["JFK", "EWR"], n),
            "_block": [hour.date() for hour in hours],
            "_score": RNG.random(n).round(6),
            "model_sha256": "m" * 64,
            "data_commit": "c1",
        }
    )


def outcomes(made: pl.DataFrame) -> pl.DataFrame:
    """Most flights arrive, some are cancelled; a tenth is corrected a week later, the newest fiftieth has no label yet."""
    n = made.height
    late = RNG.random(n) < made["_score"].to_numpy()
    first = key(made).with_columns(
        outcome=pl.Series(np.where(RNG.random(n) < 0.05, "cancelled", "arrived")),
        arr_delay=pl.Series(np.where(late, 60.0, 0.0)),
        labelled_at=pl.col("time_hour") + pl.duration(days=1),
    )
    first = first.with_columns(pl.when(pl.col("outcome") == "arrived").then(pl.col("arr_delay")).alias("arr_delay"))
    changed = first.filter(pl.col("flight") % 10 == 0, pl.col("arr_delay").is_not_null())
    fixed = changed.with_columns(arr_delay=60 - pl.col("arr_delay"), labelled_at=pl.col("labelled_at") + pl.duration(days=7))
    return pl.concat([first.filter(pl.col("flight") % 50 != 0), fixed.filter(pl.col("flight") % 50 != 0)])


MADE = flights()
LABELS = outcomes(MADE)
TOLD = realized(FLIGHTS, MADE, LABELS)


def test_every_week_has_its_metrics_and_its_coverage() -> None:
    assert [r.window[0] for r in TOLD.windows] == [START + timedelta(weeks=i) for i in range(3)]
    assert all(r.window[1] - r.window[0] == timedelta(weeks=1) for r in TOLD.windows)
    assert [r.predictions for r in TOLD.windows] == [7 * A_DAY] * 3
    assert all(r.coverage == pytest.approx(0.98, abs=0.005) for r in TOLD.windows)
    arrived = newest_labels(FLIGHTS, LABELS)["_target"].is_not_null().sum()
    assert sum(r.evaluation.rows for r in TOLD.windows if r.evaluation) == arrived
    assert TOLD.unknown_labels == 0


def test_the_metrics_are_those_of_the_newest_labels() -> None:
    week = TOLD.windows[0]
    truth = {(c, f): d for _, c, f, _, d, _ in LABELS.sort("labelled_at").iter_rows()}
    rows = [(s, truth[c, f] > 15) for t, c, f, s in MADE.select("time_hour", "carrier", "flight", "_score").iter_rows()
            if t < week.window[1] and truth.get((c, f)) is not None]  # fmt: skip
    scores, late = (np.array(side, float) for side in zip(*rows, strict=True))
    assert week.evaluation
    assert week.evaluation.metrics["log_loss"] == pytest.approx(-np.log(np.where(late, scores, 1 - scores)).mean(), abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_and_doubled_labels_and_predictions_change_nothing(seed: int) -> None:
    labels = pl.concat([LABELS, LABELS.sample(fraction=0.5, seed=seed)]).sample(fraction=1, shuffle=True, seed=seed)
    again = MADE.sample(100, seed=seed).with_columns(data_commit=pl.lit("c2"))
    made = pl.concat([again, MADE]).sample(fraction=1, shuffle=True, seed=seed)
    assert realized(FLIGHTS, made, labels.lazy()) == TOLD


def test_labels_a_month_late_tell_the_same_once_all_have_come() -> None:
    late = LABELS.with_columns(pl.col("labelled_at") + pl.duration(days=31))
    last = START + timedelta(days=DAYS + 50)
    assert realized(FLIGHTS, MADE, late, last).windows == TOLD.windows
    early = realized(FLIGHTS, MADE, late, START + timedelta(days=31))
    assert [(r.labelled, r.coverage, r.evaluation) for r in early.windows] == [(0, 0.0, None)] * 3


def test_what_is_not_known_yet_does_not_count() -> None:
    before = realized(FLIGHTS, MADE, LABELS, START + timedelta(days=8, hours=1))
    coverages = [r.coverage for r in before.windows]
    assert coverages[0] > 0.95
    assert 0 <= coverages[1] < 0.2
    assert coverages[2] == 0
    first = LABELS.filter(pl.col("labelled_at") <= START + timedelta(days=8, hours=1))
    assert before.windows == realized(FLIGHTS, MADE, first).windows


def test_a_correction_replaces_the_label() -> None:
    one = key(MADE).row(9)
    found = newest_labels(FLIGHTS, LABELS.filter(pl.col("flight") == 10))
    history = LABELS.filter(pl.col("flight") == 10).sort("labelled_at")["arr_delay"].to_list()
    assert found.row(0)[:3] == one
    assert len(history) == 2
    assert found["_target"].to_list() == [history[1] > 15]


def test_labels_of_unknown_predictions_are_counted_and_ignored() -> None:
    part = realized(FLIGHTS, MADE.filter(pl.col("flight") > 5), LABELS)
    assert part.unknown_labels == 5
    assert part.windows[1:] == TOLD.windows[1:]


def test_each_model_is_judged_apart() -> None:
    other = MADE.with_columns(model_sha256=pl.lit("n" * 64), _score=1 - pl.col("_score"))
    found = realized(FLIGHTS, pl.concat([other, MADE]), LABELS)
    assert len(found.windows) == 6
    mine = [r for r in found.windows if r.evaluation and r.evaluation.model_sha256 == "m" * 64]
    assert tuple(mine) == TOLD.windows


@pytest.mark.parametrize("frame", [MADE.clear(), MADE.head(40)])
def test_nothing_to_judge_is_no_error(frame: pl.DataFrame) -> None:
    found = realized(FLIGHTS, frame, LABELS.clear())
    assert all(r.evaluation is None for r in found.windows)
    assert Performance.model_validate_json(found.model_dump_json()) == found


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match="lack carrier, data_commit"):
        realized(FLIGHTS, MADE.drop("carrier", "data_commit"), LABELS)
    with pytest.raises(UsageError, match="lack _score"):
        realized(FLIGHTS, MADE.drop("_score"), LABELS)
    target = Target(kind="binary", name="late", value=pl.col("origin") == "JFK")
    inputs = (Input(name="flights", contract=Flights),)
    timeless = UseCase(name="timeless", question="?", inputs=inputs, rows="flights", target=target, features={})
    with pytest.raises(UsageError, match="no event time"):
        realized(timeless, MADE, LABELS)

"""Late labels: once all have come, neither order nor repeats of labels and predictions matter."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from schemas.usecases.flights import FLIGHTS
from schemas.verdicts import Evaluation
from tasks.evaluation.metrics import evaluate
from tasks.features.engineering import newest_labels
from tasks.monitoring.realized_performance import first_predictions, label_coverage, realized

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
            "scored_at": [hour + timedelta(minutes=1) for hour in hours],
            "prediction_id": [f"{number:032x}" for number in range(n)],
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
KEY = list(FLIGHTS.key)
SCORED = ["_score", "scored_at", "prediction_id"]


def judged(predictions: pl.DataFrame, labels: pl.DataFrame) -> tuple[Evaluation | None, float]:
    """As a scored window is judged: designed rows with the first predictions of them."""
    first = first_predictions(predictions.select(*KEY, *SCORED).lazy(), KEY)
    rows = MADE.lazy().drop(SCORED).join(first, on=KEY, how="inner", maintain_order="left")
    evaluation = realized(FLIGHTS, rows, labels.lazy(), model_sha256="m" * 64, data_commit="c1")
    return evaluation, label_coverage(FLIGHTS, rows, labels.lazy())


TOLD, COVERAGE = judged(MADE, LABELS)


def same(found: tuple[Evaluation | None, float]) -> bool:
    return found == (TOLD, COVERAGE)  # to the last bit: the rows stay in their order


def test_labels_that_hold_no_outcome_count_for_the_coverage_alone() -> None:
    assert TOLD
    known = newest_labels(FLIGHTS, LABELS)
    assert COVERAGE == known.height / MADE.height < 1
    assert TOLD.rows == known["_target"].is_not_null().sum() < known.height
    assert (TOLD.model_sha256, TOLD.data_commit) == ("m" * 64, "c1")


def test_the_metrics_are_those_of_the_newest_labels() -> None:
    truth = {(c, f): d for _, c, f, _, d, _ in LABELS.sort("labelled_at").iter_rows()}
    rows = [(s, truth[c, f] > 15) for c, f, s in MADE.select("carrier", "flight", "_score").iter_rows()
            if truth.get((c, f)) is not None]  # fmt: skip
    scores, late = (np.array(side, float) for side in zip(*rows, strict=True))
    assert TOLD
    assert TOLD.metrics["log_loss"] == pytest.approx(-np.log(np.where(late, scores, 1 - scores)).mean(), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_and_doubled_labels_and_predictions_change_nothing(seed: int) -> None:
    labels = pl.concat([LABELS, LABELS.sample(fraction=0.5, seed=seed)]).sample(fraction=1, shuffle=True, seed=seed)
    later = MADE.sample(300, seed=seed).with_columns(
        _score=1 - pl.col("_score"), scored_at=pl.col("scored_at") + pl.duration(days=9)
    )
    made = pl.concat([later, MADE]).sample(fraction=1, shuffle=True, seed=seed)
    assert same(judged(made, labels))


def test_of_two_predictions_of_one_moment_the_lesser_id_counts() -> None:
    other = MADE.with_columns(_score=1 - pl.col("_score"), prediction_id="f" + pl.col("prediction_id"))
    assert same(judged(pl.concat([other, MADE]), LABELS))
    assert not same(judged(other, LABELS))


def test_labels_that_come_late_tell_the_same_once_all_have_come() -> None:
    coverages = [judged(MADE, LABELS.filter(pl.col("labelled_at") <= START + timedelta(days=day)))[1] for day in range(31)]
    assert coverages[0] == 0
    assert coverages == sorted(coverages)
    assert coverages[-1] == COVERAGE
    assert same(judged(MADE, LABELS.with_columns(pl.col("labelled_at") + pl.duration(days=31))))


def test_a_correction_replaces_the_label() -> None:
    one = key(MADE).row(9)
    found = newest_labels(FLIGHTS, LABELS.filter(pl.col("flight") == 10))
    history = LABELS.filter(pl.col("flight") == 10).sort("labelled_at")["arr_delay"].to_list()
    assert found.row(0)[:3] == one
    assert len(history) == 2
    assert found["_target"].to_list() == [history[1] > 15]


def test_labels_of_rows_that_nobody_predicted_are_ignored() -> None:
    strangers = LABELS.with_columns(flight=pl.col("flight") + 100_000)
    assert same(judged(MADE, pl.concat([strangers, LABELS])))
    few, coverage = judged(MADE.filter(pl.col("flight") <= 100), LABELS)
    assert few
    assert few.rows < 100
    assert coverage == 0.98


def test_the_metrics_are_those_of_the_rows_in_their_order() -> None:
    known = MADE.drop("scored_at", "prediction_id").join(newest_labels(FLIGHTS, LABELS), on=KEY, maintain_order="left")
    known = known.filter(pl.col("_target").is_not_null())
    assert evaluate(FLIGHTS, "m" * 64, "c1", known, known["_score"].to_numpy()) == TOLD


@pytest.mark.parametrize("made", [MADE.clear(), MADE])
def test_nothing_to_judge_is_no_error(made: pl.DataFrame) -> None:
    assert judged(made, LABELS.clear()) == (None, 0.0)

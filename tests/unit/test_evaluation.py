"""Metrics beside scikit-learn's, per slice and block; the baseline."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from tasks.evaluation import baseline_models, gate
from tasks.evaluation.baseline_models import baseline_scores
from tasks.evaluation.metrics import block_metric, calibration_error, evaluate, event_window, slice_metrics, with_scores
from tasks.features.engineering import BLOCK, TARGET, numeric_target
from tasks.features.splitting import split_by_time
from tasks.monitoring.retraining_policy import loss_of, pessimistic_loss
from tests.modelling_kit import COLOURS, START, TARGETS, case, frame, timeless, turned

KINDS = ("binary", "multiclass", "regression")


def noisy_scores(kind, rows):
    """Scores that know something of the outcome, with ties; shaped as a booster's."""
    rng = np.random.default_rng(3)
    y = np.nan_to_num(numeric_target(case(kind).target.kind, rows[TARGET]))
    if kind == "regression":
        return y + rng.normal(size=len(y))
    if kind == "binary":
        return np.clip(0.3 + 0.3 * y + rng.normal(scale=0.2, size=len(y)), 0.01, 0.99).round(2)
    raw = np.exp(rng.normal(size=(len(y), 3)) + (y[:, None] == np.arange(3)))
    return raw / raw.sum(axis=1, keepdims=True)


def theirs(kind, y, scores):
    """The same numbers by scikit-learn."""
    if kind == "regression":
        mse = sk.mean_squared_error(y, scores)
        return {"rmse": mse**0.5, "mae": sk.mean_absolute_error(y, scores), "r2": sk.r2_score(y, scores)}
    if kind == "binary":
        return {"auc": sk.roc_auc_score(y, scores), "log_loss": sk.log_loss(y, scores),
                "error_rate": 1 - sk.accuracy_score(y, scores >= 0.5),
                "brier": sk.brier_score_loss(y, scores), "base_rate": y.mean()}  # fmt: skip
    return {"auc": sk.roc_auc_score(y, scores, multi_class="ovr"), "log_loss": sk.log_loss(y, scores),
            "accuracy": sk.accuracy_score(y, scores.argmax(axis=1))}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_are_scikit_learns(kind):
    rows = frame(case(kind))
    scores = noisy_scores(kind, rows)
    made = evaluate(case(kind), "model", "commit", rows, scores)
    known = rows[TARGET].is_not_null().to_numpy()
    assert (made.rows, made.blocks) == (known.sum(), 40)
    assert {m: v for m, v in made.metrics.items() if m != "calibration_error"} == pytest.approx(
        theirs(kind, numeric_target(case(kind).target.kind, rows[TARGET])[known], scores[known])
    )
    assert set(made.slices) == {"shop=north", "shop=south", "shop=west"}
    north = known & (rows["shop"] == "north").to_numpy()
    told = dict(made.slices["shop=north"])
    assert told.pop("rows") == north.sum()
    assert told == pytest.approx(theirs(kind, numeric_target(case(kind).target.kind, rows[TARGET])[north], scores[north]))


@pytest.mark.parametrize("kind", KINDS)
def test_gate_and_monitor_agree_which_way_a_metric_points(kind):
    rows = frame(case(kind))
    scores = noisy_scores(kind, rows)
    better, worse = (evaluate(case(kind), "model", "commit", rows, told).metrics for told in (scores, scores[::-1]))
    for metric in better.keys() - {"base_rate", "calibration_error"}:
        judged = replace(case(kind), gate=replace(case(kind).gate, metric=metric))
        assert gate._sign(metric) * (better[metric] - worse[metric]) > 0, metric
        assert loss_of(judged, better) < loss_of(judged, worse), metric
        low, high = sorted((better[metric], worse[metric]))
        assert pessimistic_loss(judged, {"metric": metric, "low": low, "high": high}) == loss_of(judged, worse), metric


def test_blocks_weighed_by_rows_give_the_whole():
    rows = with_scores(case(), frame(case()), noisy_scores("binary", frame(case())))
    blocks = block_metric(case(), rows, "log_loss")
    whole = evaluate(case(), "model", "commit", rows, rows["_score"].to_numpy()).metrics["log_loss"]
    assert np.average(blocks["value"], weights=blocks["rows"]) == pytest.approx(whole)


def test_what_is_undefined_is_left_out():
    rows = frame(case()).filter(TARGET)
    made = evaluate(case(min_slice_rows=10**6), "model", "commit", rows, np.full(rows.height, 0.5))
    assert set(made.metrics) == {"log_loss", "error_rate", "brier", "base_rate", "calibration_error"}
    assert made.slices == {}
    empty = evaluate(case(), "model", "commit", rows.clear(), np.empty(0))
    assert (empty.rows, empty.window, dict(empty.metrics)) == (0, None, {})


def test_calibration_error_is_the_gap_that_was_made():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.05, 0.75, 200_000)
    for gap in (0.0, 0.2):
        rows = pl.DataFrame({"_score": p, "_y": (rng.random(p.size) < p + gap).astype(float)})
        assert calibration_error(case(), rows) == pytest.approx(gap, abs=0.01)
    sure = pl.DataFrame(
        {"_score_early": [0.8] * 10, "_score_on time": [0.1] * 10, "_score_late": [0.1] * 10, "_y": [0.0] * 6 + [1.0] * 4}
    )
    assert calibration_error(case("multiclass"), sure) == pytest.approx(0.2)


STRAIGHT = {
    "binary": pl.col("size") > 0,
    "multiclass": pl.when(pl.col("size") < 0)
    .then(pl.lit("early"))
    .when(pl.col("size") < 1)
    .then(pl.lit("on time"))
    .otherwise(pl.lit("late")),
    "regression": pl.col("size").cast(pl.Float64),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_baseline_is_linear_where_that_helps_and_constant_where_not(kind):
    rows = frame(case(kind)).filter(pl.col("size").is_not_null())
    straight = rows.with_columns(STRAIGHT[kind].cast(rows.schema[TARGET]).alias(TARGET))
    parts = split_by_time(case(kind), straight)
    linear = baseline_scores(case(kind), parts.train, parts.holdout, parts.stopping)
    told = evaluate(case(kind), "model", "commit", parts.holdout, linear).metrics
    assert told.get("auc", told.get("r2", 0)) > 0.9
    constant = baseline_scores(case(kind), parts.train, parts.holdout, parts.stopping.with_columns(turned(kind)))
    assert np.ptp(constant, axis=0).max() == 0
    assert len(constant) == len(linear) == parts.holdout.height


def test_a_baseline_of_one_class_is_its_rate():
    parts = split_by_time(case(), frame(case()))
    assert (baseline_scores(case(), parts.train.filter(TARGET), parts.holdout) == 1.0).all()


# By hand


def metrics_of(kind, outcomes, scores, **changes):
    """All metrics of a few rows, one a day, each its own block."""
    made = replace(case(kind), slices=(), **changes)
    target = pl.Series(TARGET, outcomes, dtype=pl.Enum(TARGETS[kind].classes) if kind == "multiclass" else None)
    at = [START + timedelta(days=day) for day in range(len(outcomes))]
    rows = pl.DataFrame([target]).with_columns(pl.Series("at", at), pl.int_range(pl.len()).alias(BLOCK))
    return evaluate(made, "model", "commit", rows, np.array(scores))


def test_the_metrics_of_four_orders():
    late, likely = [True, False, True, False], [0.8, 0.4, 0.4, 0.2]
    found = metrics_of("binary", late, likely).metrics
    assert found["auc"] == 3.5 / 4  # of four pairs three are in order and one is a tie
    assert found["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.6) + np.log(0.4) + np.log(0.8)) / 4)
    assert found["brier"] == pytest.approx((0.04 + 0.16 + 0.36 + 0.04) / 4)
    assert (found["error_rate"], found["base_rate"]) == (0.25, 0.5)


@pytest.mark.parametrize(("threshold", "wrong"), [(0.3, 0.25), (0.4, 0.0), (0.41, 0.25), (0.81, 0.5)])
def test_a_score_at_the_threshold_says_late(threshold, wrong):
    target = replace(case().target, threshold=threshold)
    found = metrics_of("binary", [True, False, True, False], [0.8, 0.3, 0.4, 0.2], target=target)
    assert found.metrics["error_rate"] == wrong


def test_a_score_that_is_sure_and_wrong_costs_much_and_not_everything():
    found = metrics_of("binary", [True, False], [0.0, 0.0]).metrics
    assert found["log_loss"] == pytest.approx(-np.log(1e-12) / 2)
    assert metrics_of("multiclass", ["late", "early"], [[1, 0, 0], [1, 0, 0]]).metrics["log_loss"] == found["log_loss"]


def test_the_metrics_of_three_classes():
    scores = [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6], [0.1, 0.5, 0.4]]
    found = metrics_of("multiclass", ["early", "on time", "late", "late"], scores).metrics
    assert found["accuracy"] == 0.5
    assert found["log_loss"] == pytest.approx(-(np.log(0.6) + np.log(0.4) + np.log(0.6) + np.log(0.4)) / 4)
    assert found["auc"] == pytest.approx((1 + 2 / 3 + 1) / 3)  # early is told from all, on time from two of three
    two = metrics_of("multiclass", ["early", "on time"], scores[:2]).metrics
    assert "auc" not in two  # of a class that is not there nothing is known
    assert two["accuracy"] == 0.5


def test_the_metrics_of_three_delays():
    assert metrics_of("regression", [1.0, 2.0, 3.0], [1.0, 2.0, 6.0]).metrics == {
        "rmse": pytest.approx(3**0.5),
        "mae": 1.0,
        "r2": pytest.approx(1 - 9 / 2),
    }
    assert set(metrics_of("regression", [2.0, 2.0], [1.0, 3.0]).metrics) == {"rmse", "mae"}


def test_a_record_says_what_it_was_made_of():
    found = metrics_of("binary", [True, False, None], [0.8, 0.4, 0.5])
    assert (found.model_sha256, found.data_commit, found.rows, found.blocks) == ("model", "commit", 2, 2)
    assert found.window == (START, START + timedelta(days=1))
    assert event_window(case(), frame(case()).clear()) is None
    assert event_window(timeless(), frame(case())) is None


def test_a_slice_is_judged_from_its_least_rows_on_and_rows_without_a_value_are_one_too():
    shops = ["north"] * 3 + ["south"] * 2 + [None] * 3
    rows = pl.DataFrame({"shop": shops, "_y": [0.0] * 8, "_score": [1.0, 2.0, 3.0, 4.0, 4.0, 5.0, 5.0, 5.0]})
    found = slice_metrics(case("regression", min_slice_rows=3), rows)
    assert {name: (each["rows"], each["mae"]) for name, each in found.items()} == {
        "shop=north": (3, 2.0),
        "shop=null": (3, 5.0),
    }
    assert "shop=south" in slice_metrics(case("regression", min_slice_rows=2), rows)


def test_blocks_come_in_order_with_their_rows():
    rows = pl.DataFrame({BLOCK: [2, 1, 2, 2], "_y": [0.0] * 4, "_score": [1.0, 4.0, 3.0, 5.0]})
    assert block_metric(case("regression"), rows, "mae").rows() == [(1, 1, 4.0), (2, 3, 3.0)]


def test_calibration_is_judged_in_ten_bins_of_equal_count():
    """Of twenty scores from 0.41 to 0.60 each bin holds two, one on time and one late: it is off by their sum less 1."""
    said = np.arange(41, 61) / 100
    rows = pl.DataFrame({"_score": said, "_y": [0.0, 1.0] * 10})
    off = [0.17, 0.13, 0.09, 0.05, 0.01, 0.03, 0.07, 0.11, 0.15, 0.19]
    assert calibration_error(case(), rows) == pytest.approx(sum(off) / 20)
    assert calibration_error(case(), rows.sample(fraction=1.0, shuffle=True, seed=1)) == pytest.approx(sum(off) / 20)
    assert calibration_error(case("regression"), rows) is None
    assert calibration_error(case(), rows.clear()) is None


# The simple models


def priced(numbers, outcomes):
    """Rows of one number and its outcome."""
    return pl.DataFrame({"size": pl.Series(numbers, dtype=pl.Float32), TARGET: outcomes})


def lone(kind="regression", **gate):
    return replace(case(kind, **gate), features={"size": pl.col("size")}, slices=())


def test_the_constant_is_the_mean_of_the_training_rows_or_the_share_of_each_class():
    train = priced([1, 2, 3, 4], [1.0, 2.0, 3.0, 10.0])
    found = baseline_scores(lone(baseline="constant"), train, train[:2], train)
    assert found.tolist() == [4.0, 4.0]
    classes = pl.Enum(TARGETS["multiclass"].classes)
    several = priced([1, 2, 3, 4], pl.Series(["late", "late", "early", "late"], dtype=classes))
    found = baseline_scores(lone("multiclass", baseline="constant"), several, several[:2], several)
    assert found.tolist() == [[0.25, 0.0, 0.75]] * 2


def test_without_rows_to_choose_by_the_newest_fifth_is_kept_from_the_fit():
    train = priced(range(10), [0.0] * 8 + [1.0] * 2)
    assert baseline_scores(lone(baseline="constant"), train, train[:1]).tolist() == [0.0]
    eleven = priced(range(11), [0.0] * 8 + [1.0] * 3)
    assert baseline_scores(lone(baseline="constant"), eleven, eleven[:1]).tolist() == [pytest.approx(1 / 9)]


def test_of_the_two_the_one_with_the_smaller_loss_on_the_rows_that_choose():
    train = priced(np.arange(40), np.arange(40) * 2.0)
    line, turned_ = priced([10, 30], [20.0, 60.0]), priced([10, 30], [60.0, 20.0])
    assert baseline_scores(lone(), train, line, line) == pytest.approx(np.array([20.0, 60.0]), abs=1)
    assert baseline_scores(lone(), train, line, turned_).tolist() == [39.0, 39.0]


def test_a_long_training_is_thinned_evenly_for_the_linear_model(monkeypatch):
    """Every second row lies on a line, the others far from it: thinned to half of the rows the fit sees the line alone."""
    monkeypatch.setattr(baseline_models, "BASELINE_ROWS", 50)
    x = np.arange(100) - 50.0
    train = priced(x, np.where(np.arange(100) % 2 == 0, x, -50 * x))
    line = priced([-20, 0, 20], [-20.0, 0.0, 20.0])
    assert baseline_scores(lone(), train, line, line) == pytest.approx(np.array([-20.0, 0.0, 20.0]), abs=1)


def test_the_linear_model_sees_numbers_in_units_of_their_spread_and_categories_one_by_one(monkeypatch):
    made = replace(case(), features={"size": pl.col("size"), "same": pl.col("same"), "colour": pl.col("colour")})
    colour = pl.Series(["green", None, "red"], dtype=pl.Enum(COLOURS))
    like = pl.DataFrame({"size": [0.0, 1.0, 2.0], "same": [4.0] * 3, "colour": colour})
    rows = pl.DataFrame({"size": [1.0, 3.0, None], "same": [4.0, 5.0, None], "colour": colour})
    table = baseline_models._table(made, rows, like)
    assert table.tolist() == [[0, 0, 0, 1, 0], [2, 1, 0, 0, 0], [0, 0, 0, 0, 1]]
    monkeypatch.setattr(baseline_models, "MOST_CATEGORIES", 2)
    assert baseline_models._table(made, rows, like).tolist() == [[0, 0, 0, 1], [2, 1, 0, 0], [0, 0, 0, 0]]

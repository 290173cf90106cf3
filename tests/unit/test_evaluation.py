"""Metrics beside scikit-learn's, per slice and block; the baseline."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from tasks.evaluation import gate
from tasks.evaluation.baseline_models import baseline_scores
from tasks.evaluation.metrics import block_metric, calibration_error, evaluate, with_scores
from tasks.features.engineering import TARGET, numeric_target
from tasks.features.splitting import split_by_time
from tasks.monitoring.retraining_policy import bound_of, loss_of
from tests.modelling_kit import case, frame, turned

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
        assert bound_of(judged, {"metric": metric, "low": low, "high": high}) == loss_of(judged, worse), metric


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

"""Scores of any origin on labelled rows: measured, gated, estimated and calibrated as our flows do it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as reference

from schemas.errors import UsageError
from tasks.evaluation.intervals import block_interval
from tasks.monitoring import performance_estimation
from tasks.standalone.calibrate import apply_calibration, fit_calibration
from tasks.standalone.estimate import estimate_performance, fit_estimator
from tasks.standalone.evaluate import evaluate_scores
from tasks.standalone.gate import gate_scores
from tests.standalone_kit import DAYS, parcels

CLASSES = ("early", "late", "on time")
COLUMNS = {name: f"p_{name}" for name in CLASSES}


def several(sure: float = 1.0) -> pl.DataFrame:
    """Parcels with a probability for each class, the surer the further from equal."""
    rows = parcels()
    signal = pl.col("p").log() - (1 - pl.col("p")).log()
    weights = {"early": -signal - 1, "late": signal - 1, "on time": 0.5 - signal.abs() / 2}
    shares = {f"p_{name}": (each * sure).exp() for name, each in weights.items()}
    return rows.with_columns(**shares).with_columns(pl.col(name) / pl.sum_horizontal(*shares) for name in shares)


def test_binary_metrics_are_those_of_scikit_learn() -> None:
    rows = parcels()
    y, p = rows["late"].to_numpy(), rows["p"].to_numpy()
    found = evaluate_scores(rows, "late", "p", time="at", threshold=0.6)
    assert found.metrics["auc"] == pytest.approx(reference.roc_auc_score(y, p))
    assert found.metrics["log_loss"] == pytest.approx(reference.log_loss(y, p))
    assert found.metrics["brier"] == pytest.approx(reference.brier_score_loss(y, p))
    assert found.metrics["error_rate"] == pytest.approx(np.mean((p >= 0.6) != y))
    assert (found.rows, found.blocks) == (rows.height, DAYS)
    assert found.window is not None
    assert [moment.date() for moment in found.window] == [rows["at"].min().date(), rows["at"].max().date()]


def test_metrics_of_several_classes_and_of_numbers_are_those_of_scikit_learn() -> None:
    rows = several()
    p = rows.select(COLUMNS.values()).to_numpy()
    found = evaluate_scores(rows, "when", COLUMNS)
    assert found.metrics["log_loss"] == pytest.approx(reference.log_loss(rows["when"], p, labels=CLASSES))
    assert found.metrics["auc"] == pytest.approx(reference.roc_auc_score(rows["when"], p, multi_class="ovr", labels=CLASSES))
    numbers = evaluate_scores(rows, "delay", "p")
    y, said = rows["delay"].to_numpy(), rows["p"].to_numpy()
    assert numbers.metrics["rmse"] == pytest.approx(np.sqrt(np.mean((said - y) ** 2)))
    assert numbers.metrics["mae"] == pytest.approx(np.mean(np.abs(said - y)))
    assert numbers.metrics["r2"] == pytest.approx(reference.r2_score(y, said))


def test_a_block_mean_and_its_interval_are_over_days() -> None:
    rows = parcels()
    found = evaluate_scores(rows, "late", "p", time="at", level=0.8, seed=7).block_means["brier"]
    days = rows.group_by(pl.col("at").dt.date()).agg(n=pl.len(), v=((pl.col("p") - pl.col("late")) ** 2).mean()).sort("at")
    weights, values = days["n"].to_numpy().astype(float), days["v"].to_numpy()
    assert found.value == pytest.approx(np.average(values, weights=weights))
    assert (found.low, found.high) == pytest.approx(block_interval(weights, values, 1 - 0.8, 7))
    assert found.value == pytest.approx(evaluate_scores(rows, "late", "p").metrics["brier"])


def test_blocks_are_days_named_ones_or_random_groups() -> None:
    rows = parcels()
    assert evaluate_scores(rows, "late", "p", time="at").blocks == DAYS
    assert evaluate_scores(rows, "late", "p", time="at", block="depot").blocks == 2
    assert evaluate_scores(rows, "late", "p").blocks == 20
    with pytest.raises(UsageError, match=r"the block is missing in 3,000"):
        evaluate_scores(rows.with_columns(depot=None), "late", "p", block="depot")


def test_slices_and_rows_without_a_label() -> None:
    rows = parcels().with_columns(late=pl.when(pl.col("number") % 2 == 0).then("late"))
    found = evaluate_scores(rows, "late", "p", slices=["depot"])
    assert found.rows == rows.height / 2
    assert set(found.slices) == {"depot=north", "depot=south"}
    north = evaluate_scores(rows.filter(depot="north"), "late", "p").metrics
    assert found.slices["depot=north"]["log_loss"] == pytest.approx(north["log_loss"])
    assert evaluate_scores(rows, "late", "p", slices=["depot"], min_slice_rows=2000).slices == {}


@pytest.mark.parametrize(
    ("label", "kind", "metric"),
    [
        (pl.col("late").cast(pl.Int64), None, "log_loss"),
        (pl.col("late").cast(pl.Float64), "binary", "log_loss"),
        (pl.col("late").cast(pl.Float64), None, "rmse"),
        (pl.col("late").cast(pl.Int8), "regression", "rmse"),
    ],
)
def test_what_is_predicted_is_told_by_the_label_or_the_caller(label: pl.Expr, kind: Any, metric: str) -> None:
    found = evaluate_scores(parcels().with_columns(y=label), "y", "p", kind=kind)
    assert metric in found.metrics
    same = evaluate_scores(parcels(), "late", "p").metrics
    assert found.metrics.get("auc", same["auc"]) == same["auc"]


def failed(verdict: Any) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def test_the_gate_promotes_the_better_refuses_the_worse_and_lets_the_equal_pass_where_it_need_not_be_better() -> None:
    rows = parcels()
    better = gate_scores(rows, "late", "p", "q", time="at")
    assert better.promoted
    assert better.interval is not None
    assert better.interval[0] > 0
    assert (better.rows, better.blocks, better.metric, better.data_commit) == (rows.height, DAYS, "log_loss", None)
    assert better.challenger == pytest.approx(evaluate_scores(rows, "late", "p", time="at").metrics["log_loss"])
    worse = gate_scores(rows, "late", "q", "p", time="at")
    assert (worse.promoted, failed(worse)[0]) == (False, "non_inferiority")
    assert gate_scores(rows, "late", "p", "p", time="at").promoted
    same = gate_scores(rows, "late", "p", "p", time="at", rule="superiority")
    assert (same.promoted, failed(same)) == (False, ["superiority"])
    assert gate_scores(rows, "late", "p", "q", time="at", rule="superiority").promoted


def test_the_margin_is_in_the_unit_of_the_metric() -> None:
    rows = parcels().with_columns(slightly=pl.col("p") * 0.97)
    lost = -gate_scores(rows, "late", "slightly", "p", time="at").interval[0]  # type: ignore[index]
    assert lost > 0
    assert gate_scores(rows, "late", "slightly", "p", time="at", margin=lost * 1.01).promoted
    assert not gate_scores(rows, "late", "slightly", "p", time="at", margin=lost * 0.99).promoted


def test_the_challenger_must_beat_the_best_constant_or_the_baseline_that_is_named() -> None:
    rows = parcels().with_columns(base=pl.col("late").mean(), strong=pl.col("p") * 0.98 + 0.01)
    constant = gate_scores(rows, "late", "base", None, time="at")
    assert failed(constant)[:2] == ["skill", "baseline"]
    assert constant.baseline == pytest.approx(constant.challenger)
    assert gate_scores(rows, "late", "p", None, time="at").promoted
    named = gate_scores(rows, "late", "q", "q", time="at", baseline="strong")
    assert failed(named) == ["baseline"]


@pytest.mark.parametrize(
    ("more", "check"),
    [
        ({"min_rows": 3001}, "rows"),
        ({"min_blocks": DAYS + 1}, "blocks"),
        ({"slices": ["depot"], "slice_margin": -1.0}, "slices"),
        ({"max_calibration_error": 0.0, "calibration_slack": -1.0}, "calibration"),
    ],
)
def test_each_check_of_the_gate_refuses(more: dict[str, Any], check: str) -> None:
    verdict = gate_scores(parcels(), "late", "p", "q", time="at", **more)
    assert not verdict.promoted
    assert failed(verdict) == [check]


def test_the_gate_fails_closed_on_scores_that_are_none() -> None:
    rows = parcels()
    for odd, why in ((float("nan"), "not finite"), (None, "not finite"), (1.5, "no probabilities")):
        spoilt = rows.with_columns(p=pl.when(pl.col("number") == 7).then(pl.lit(odd)).otherwise("p"))
        verdict = gate_scores(spoilt, "late", "p", "q", time="at")
        assert not verdict.promoted
        assert why in verdict.why


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_numbers_and_several_classes_are_gated(metric: Any) -> None:
    rows = several().with_columns(close=pl.col("delay") + 0.1, far=pl.col("delay") + 0.5)
    assert gate_scores(rows, "delay", "close", "far", metric=metric, block="depot", min_blocks=2, alpha=0.3).promoted
    assert not gate_scores(rows, "delay", "far", "close", metric=metric, time="at").promoted
    flat = several(0.2).select(pl.col(name).alias(f"flat_{name}") for name in COLUMNS.values())
    both = pl.concat([rows, flat], how="horizontal")
    others = {name: f"flat_{column}" for name, column in COLUMNS.items()}
    assert gate_scores(both, "when", COLUMNS, others, time="at", max_calibration_error=1).promoted
    assert not gate_scores(both, "when", others, COLUMNS, time="at", max_calibration_error=1).promoted


def halves() -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = several()
    return rows[: rows.height // 2], rows[rows.height // 2 :]


@pytest.mark.parametrize(
    ("label", "scores", "features"),
    [("late", "p", []), ("when", COLUMNS, []), ("delay", "p", ["weight", "colour"]), ("delay", "p", [])],
)
def test_performance_is_estimated_without_labels(label: str, scores: Any, features: list[str]) -> None:
    holdout, window = halves()
    if label == "delay":
        holdout, window = [rows.with_columns(p=pl.col("p") * 4 - 1) for rows in (holdout, window)]
    estimator = json.loads(json.dumps(fit_estimator(holdout, label, scores, features=features, time="at")))
    found = estimate_performance(estimator, window.drop(label), scores)
    realized = evaluate_scores(window, label, scores).metrics
    assert found.raw
    assert found.raw == pytest.approx({name: realized[name] for name in found.raw}, abs=0.08)
    assert found.metrics == found.raw
    level = estimator["level"]
    mean = evaluate_scores(holdout, label, scores, time="at").block_means[level["metric"]]
    assert (level["value"], level["low"], level["high"]) == (mean.value, mean.low, mean.high)


def test_an_estimate_learns_from_the_record_of_its_errors() -> None:
    holdout, window = halves()
    estimator = fit_estimator(holdout, "late", "p", time="at")
    past = [{"auc": -0.02}, {"auc": -0.04}, {"auc": -0.03}]
    found = estimate_performance(estimator, window, "p", past_errors=past)
    errors = np.array([-0.02, -0.04, -0.03])
    assert found.metrics["auc"] == pytest.approx(found.raw["auc"] + performance_estimation.expected_error(errors))
    assert found.record == 3
    assert set(found.intervals) == {"auc"}


def test_the_order_of_the_rows_is_that_of_time_where_there_is_one() -> None:
    holdout = halves()[0]
    shuffled = holdout.sample(fraction=1, shuffle=True, seed=1)
    assert fit_estimator(shuffled, "late", "p", time="at") == fit_estimator(holdout, "late", "p", time="at")


def test_a_sigmoid_undoes_what_was_done_to_the_log_odds() -> None:
    rows = parcels()
    odds = (pl.col("p") / (1 - pl.col("p"))).log()
    spoilt = rows.with_columns(s=1 / (1 + (-(2.0 * odds - 1.0)).exp()))
    true, found = fit_calibration(rows, "late", "p"), fit_calibration(spoilt, "late", "s")
    assert found.slope == pytest.approx(true.slope / 2, abs=1e-3)
    assert found.intercept == pytest.approx(true.intercept + true.slope / 2, abs=1e-3)
    mended = apply_calibration(spoilt.drop("late"), found, "s")
    assert mended["s"].to_numpy() == pytest.approx(apply_calibration(rows, true, "p")["p"].to_numpy(), abs=1e-3)
    after = evaluate_scores(mended.with_columns(rows["late"]), "late", "s").metrics
    before = evaluate_scores(spoilt, "late", "s").metrics
    assert (found.log_loss_before, found.log_loss_after) == pytest.approx((before["log_loss"], after["log_loss"]))
    assert after["log_loss"] < before["log_loss"] - 0.05
    assert after["auc"] == pytest.approx(before["auc"])


def test_one_temperature_calibrates_several_classes() -> None:
    found = fit_calibration(several(3.0), "when", COLUMNS)
    assert found.intercept == 0
    assert found.slope == pytest.approx(fit_calibration(several(1.0), "when", COLUMNS).slope / 3, rel=1e-3)
    mended = apply_calibration(several(3.0), found, COLUMNS)
    assert mended.select(pl.sum_horizontal(*COLUMNS.values())).to_series().to_numpy() == pytest.approx(1.0)
    assert found.log_loss_after < found.log_loss_before

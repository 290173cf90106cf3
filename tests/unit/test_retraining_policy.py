"""The decision asks on impact, not on drift; alerts say it once a cause."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from schemas.usecase import GatePolicy, MonitorPolicy
from schemas.usecases.flights import FLIGHTS
from schemas.verdicts import AuditVerdict, ColumnDrift, Decision, DriftVerdict, GateVerdict
from tasks.alerting.rules import alert_changes, alerts_of_verdict
from tasks.evaluation.metrics import evaluate
from tasks.features.profiles import reference_profile
from tasks.monitoring import performance_estimation
from tasks.monitoring.drift import measure_drift
from tasks.monitoring.retraining_policy import loss_of, pessimistic_loss, should_retrain

CASE = replace(FLIGHTS, monitor=MonitorPolicy(loss_tolerance=0.01, hysteresis=0.5, max_age_days=28, cooldown_days=6))


def drifted(importance: float, score: float = 99.0) -> DriftVerdict:
    columns = (ColumnDrift(column="dest", method="psi", score=score, threshold=0.1, importance=importance),)
    return DriftVerdict(status="drift" if score >= 0.1 else "no drift", why="dest moved", rows=500, columns=columns)


BLIND = DriftVerdict(status="not enough evidence", why="the window has 3 rows", rows=3)


def decided(**given: Any) -> Decision:
    calm: dict[str, Any] = {
        "drift": None,
        "promotion_loss": 0.5,
        "realized_loss": None,
        "estimated_loss": None,
        "model_age_days": 7.0,
        "days_since_request": None,
        "champion_exists": True,
    }
    return should_retrain(CASE, **calm | given)


@pytest.mark.parametrize(
    ("given", "cause", "why"),
    [
        ({"champion_exists": False, "days_since_request": 0.1}, "first model", "no champion"),
        ({"realized_loss": 0.5101}, "loss", "the realized log_loss of 0.5101 exceeds the limit of 0.5100"),
        ({"estimated_loss": 0.52}, "loss", "the estimated log_loss of 0.5200"),
        ({"estimated_loss": 0.52, "drift": drifted(0.4)}, "drift", "exceeds the limit of 0.5100; drift in dest (40%"),
        ({"estimated_loss": 0.52, "drift": drifted(0.01)}, "loss", "the estimated log_loss"),
        ({"realized_loss": 0.53, "estimated_loss": 0.52, "drift": drifted(0.4)}, "loss", "realized log_loss of 0.5300"),
        ({"model_age_days": 28.5, "realized_loss": 0.4, "coverage": 0.1}, "age", "the model is 28.5 days old, more than 28"),
        ({"realized_loss": 0.52, "days_since_request": 6.0}, "loss", "realized"),
        ({"realized_loss": 0.516, "refused": True, "days_since_request": 9.0}, "loss", "limit of 0.5150"),
    ],
)
def test_retraining_is_asked_for(given: dict[str, Any], cause: str, why: str) -> None:
    decision = decided(**given)
    assert (decision.retrain, decision.cause) == (True, cause)
    assert why in decision.why


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"drift": drifted(0.0)}, "drift in dest (0% of the model's gain)"),
        ({"drift": drifted(1.0)}, "not enough evidence of loss"),
        ({"drift": drifted(1.0), "estimated_loss": 0.5099}, "keeps within the limit of 0.5100; drift in dest (100%"),
        ({"realized_loss": 0.51, "estimated_loss": 0.4}, "realized 0.5100 and estimated 0.4000"),
        ({"realized_loss": float("nan")}, "not enough evidence of loss"),
        ({"realized_loss": 0.9, "promotion_loss": None}, "its level at promotion is not known"),
        ({"realized_loss": 0.9, "promotion_loss": float("nan")}, "its level at promotion is not known"),
        ({"drift": BLIND}, "drift not judged (the window has 3 rows)"),
        (
            {"realized_loss": 0.9, "days_since_request": 5.9},
            "but the last request was 5.9 days ago, within the cool-down of 6",
        ),
        (
            {"model_age_days": 99.0, "days_since_request": 0.0},
            "99 days old, more than 28, but the last request was 0 days ago",
        ),
        ({"realized_loss": 0.515, "refused": True}, "keeps within the limit of 0.5150"),
    ],
)
def test_retraining_is_not_asked_for(given: dict[str, Any], why: str) -> None:
    decision = decided(**given)
    assert (decision.retrain, decision.cause) == (False, "none")
    assert why in decision.why


def test_age_asks_once_labels_have_begun_to_come_and_is_told_before() -> None:
    early, late = decided(model_age_days=40.0), decided(model_age_days=40.0, realized_loss=0.4, coverage=0.01)
    assert (early.retrain, early.cause, late.retrain, late.cause) == (False, "age", True, "age")
    assert early.why.endswith("more than 28, but no label of the window has come")


def test_a_request_held_back_keeps_the_loss_that_it_was_about() -> None:
    held = decided(realized_loss=0.9, days_since_request=1.0)
    assert (held.loss, held.limit) == (0.9, pytest.approx(0.51))


@pytest.mark.parametrize(
    ("metric", "metrics", "loss"),
    [
        ("log_loss", {"log_loss": 0.5}, 0.5),
        ("auc", {"auc": 0.7}, pytest.approx(0.3)),
        ("auc", {"log_loss": 0.5}, None),
        ("rmse", {"rmse": float("nan")}, None),
        ("rmse", {"rmse": float("inf")}, None),
        ("rmse", {"rmse": 0.0}, 0.0),
        ("rmse", None, None),
    ],
)
def test_the_metric_of_the_gate_is_the_loss(metric: Any, metrics: dict[str, float] | None, loss: float | None) -> None:
    assert loss_of(replace(CASE, gate=GatePolicy(metric=metric)), metrics) == loss


def audit(rejected: int, publishable: bool = True) -> AuditVerdict:
    counts = {"rows": 10, "accepted": 10 - rejected, "rejected": rejected}
    return AuditVerdict(input="labels", contract_version="1", publishable=publishable, why="2 rows", **counts)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (audit(0), []),
        (audit(2), [("audit.rejected.labels", "warning", "audit-rejected")]),
        (audit(9, publishable=False), [("audit.unpublished.labels", "critical", "audit-unpublished")]),
        (drifted(0.5, score=0.0), []),
        (drifted(0.01), [("drift.features", "info", "drift-features")]),
        (drifted(0.5), [("drift.features", "warning", "drift-features")]),
        (BLIND, [("drift.undecided", "warning", "drift-undecided")]),
        (GateVerdict(promoted=True, why="", metric="auc"), []),
        (GateVerdict(promoted=False, why="worse", metric="auc"), [("gate.refused", "warning", "gate-refused")]),
        (decided(realized_loss=0.5), []),
        (decided(realized_loss=0.9, days_since_request=1.0), [("model.loss", "critical", "model-loss")]),
        (decided(model_age_days=40.0), [("model.age", "info", "model-age")]),
    ],
)
def test_a_verdict_is_worth_one_alert_a_cause(verdict: Any, expected: list[tuple[str, str, str]]) -> None:
    found = alerts_of_verdict(CASE, verdict)
    assert [(a.cause, a.severity, a.runbook) for a in found] == expected
    assert all(a.summary == verdict.why for a in found)


def test_only_what_is_new_is_raised_and_what_is_over_is_resolved() -> None:
    before = alerts_of_verdict(CASE, drifted(0.5)) + alerts_of_verdict(CASE, audit(2))
    now = alerts_of_verdict(CASE, drifted(0.01)) + alerts_of_verdict(CASE, decided(realized_loss=0.9))
    found = alert_changes(before, now)
    assert [a.cause for a in found.raised] == ["model.loss"]
    assert [a.cause for a in found.resolved] == ["audit.rejected.labels"]


SEEN = np.random.default_rng(11)


def window(moved: dict[str, float], n: int = 4000) -> pl.DataFrame:
    """Rows of a strong feature, whose sign makes the outcome, and of one that the model does not use."""
    return pl.DataFrame({name: SEEN.normal(moved.get(name, 0.0), 1, n) for name in ("strong", "idle")})


STREAM = replace(
    FLIGHTS,
    features={name: pl.col(name) for name in ("strong", "idle")},
    monitor=replace(CASE.monitor, loss_tolerance=0.02),
)
GAINS = {"strong": 99.0, "idle": 1.0}
REFERENCE = reference_profile(STREAM, window({}))


def judged(moved: dict[str, float], flipped: float = 0.0) -> tuple[Decision, Decision]:
    """Decisions by the estimate alone, and by labels, for a window; `flipped` is the share of rows whose relation turned."""
    rows = window(moved)
    likely = 1 / (1 + np.exp(-2 * rows["strong"].to_numpy()))
    truth = np.where(SEEN.random(len(likely)) < flipped, 1 - likely, likely)
    told = rows.with_columns(
        _target=pl.Series(SEEN.random(len(likely)) < truth), _block=0, time_hour=datetime(2013, 3, 1, tzinfo=UTC)
    )
    found = measure_drift(STREAM, REFERENCE, rows, GAINS)
    estimated = loss_of(STREAM, performance_estimation.estimate_metrics(STREAM, None, rows, likely))
    realized = loss_of(STREAM, evaluate(replace(STREAM, slices=()), "0" * 64, "-", told, likely).metrics)
    calm = {"promotion_loss": LEVEL, "model_age_days": 1.0, "days_since_request": None, "champion_exists": True}
    return (
        should_retrain(STREAM, drift=found, estimated_loss=estimated, realized_loss=None, **calm),
        should_retrain(STREAM, drift=found, estimated_loss=estimated, realized_loss=realized, coverage=1.0, **calm),
    )


def entropy(rows: pl.DataFrame) -> float:
    p = 1 / (1 + np.exp(-2 * rows["strong"].to_numpy()))
    return float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).mean())


LEVEL = entropy(window({}, 200_000))


def test_huge_drift_in_a_feature_of_no_importance_asks_for_nothing() -> None:
    for decision in judged({"idle": 50.0}):
        assert not decision.retrain
        assert "drift in idle (1% of the model's gain)" in decision.why


def test_drift_in_the_strongest_feature_asks_for_nothing_while_the_loss_keeps_within_the_tolerance() -> None:
    for decision in judged({"strong": 0.6}):  # away from the boundary: the rows have become easier
        assert not decision.retrain
        assert "drift in strong (99%" in decision.why


def test_drift_in_the_strongest_feature_asks_once_the_estimated_loss_passes_the_tolerance() -> None:
    hard = replace(STREAM, monitor=replace(STREAM.monitor, loss_tolerance=0.02))
    rows = window({}).with_columns(pl.col("strong") * 0.3)  # towards the boundary: the rows have become harder
    likely = 1 / (1 + np.exp(-2 * rows["strong"].to_numpy()))
    found = measure_drift(hard, REFERENCE, rows, GAINS)
    estimated = loss_of(hard, performance_estimation.estimate_metrics(hard, None, rows, likely))
    calm = {"promotion_loss": LEVEL, "model_age_days": 1.0, "days_since_request": None, "champion_exists": True}
    decision = should_retrain(hard, drift=found, estimated_loss=estimated, realized_loss=None, **calm)
    assert (decision.retrain, decision.cause) == (True, "drift")
    assert "the estimated log_loss" in decision.why
    assert "drift in strong (99%" in decision.why


def test_a_relation_that_turned_is_seen_by_labels_and_by_nothing_else() -> None:
    blind, told = judged({"strong": 0.6}, flipped=0.3)
    assert not blind.retrain
    assert (told.retrain, told.cause) == (True, "loss")
    assert "the realized log_loss" in told.why


def lost(why: str) -> DriftVerdict:
    return DriftVerdict(status="not enough evidence", why="", rows=500, unscored={"dest": why})


@pytest.mark.parametrize(
    ("given", "retrain", "why"),
    [
        ({"estimated_loss": 0.9, "rejected_share": 0.2}, False, "in trouble: 20% of its rows were rejected"),
        ({"estimated_loss": 0.9, "drift": lost("all null in the window")}, False, "in trouble: it has lost dest"),
        ({"estimated_loss": 0.9, "drift": lost("all null in the reference")}, True, "the estimated log_loss of 0.9000"),
        ({"realized_loss": 0.9, "rejected_share": 0.2}, True, "the realized log_loss of 0.9000 exceeds"),
        ({"realized_loss": 0.5, "estimated_loss": 0.9, "coverage": 0.6}, False, "(realized 0.5000) keeps within"),
        ({"realized_loss": 0.5, "estimated_loss": 0.9, "coverage": 0.1}, True, "the estimated log_loss of 0.9000"),
        ({"realized_loss": 0.53, "promotion_bound": 0.54}, False, "keeps within the limit of 0.5400"),
        ({"realized_loss": 0.55, "promotion_bound": 0.54}, True, "exceeds the limit of 0.5400"),
        ({"realized_loss": 0.55, "promotion_bound": 0.54, "refused": True}, False, "keeps within the limit of 0.5600"),
    ],
)
def test_what_the_evidence_is_worth(given: dict[str, Any], retrain: bool, why: str) -> None:
    decision = decided(**given)
    assert decision.retrain == retrain
    assert why in decision.why


def with_policy(given: dict[str, Any], metric: Any = "log_loss", **policy: Any) -> Decision:
    """A decision of the calm case under another policy."""
    calm: dict[str, Any] = {"drift": None, "realized_loss": None, "estimated_loss": None, "days_since_request": None}
    calm |= {"promotion_loss": 0.5, "model_age_days": 7.0, "champion_exists": True}
    made = replace(CASE, gate=GatePolicy(metric=metric), monitor=replace(CASE.monitor, **policy))
    return should_retrain(made, **calm | given)


@pytest.mark.parametrize(
    ("metric", "level", "bound"),
    [
        ("log_loss", {"metric": "log_loss", "low": 0.4, "high": 0.6}, 0.6),
        ("auc", {"metric": "auc", "low": 0.7, "high": 0.8}, pytest.approx(0.3)),  # the worst AUC, as a loss
        ("auc", {"metric": "log_loss", "low": 0.4, "high": 0.6}, None),  # the gate has changed its metric since
        ("rmse", {"metric": "rmse", "low": 1.0, "high": float("inf")}, None),
        ("rmse", {}, None),
        ("rmse", None, None),
    ],
)
def test_the_pessimistic_end_of_the_level_is_its_bound(metric: Any, level: Any, bound: float | None) -> None:
    assert pessimistic_loss(replace(CASE, gate=GatePolicy(metric=metric)), level) == bound


@pytest.mark.parametrize(
    ("coverage", "retrain"),
    [({"coverage": 0.49}, True), ({"coverage": 0.5}, False), ({"coverage": 0.51}, False), ({}, True)],
)
def test_labels_of_half_of_the_rows_decide_and_the_estimate_no_longer_does(
    coverage: dict[str, float], retrain: bool
) -> None:
    decision = decided(realized_loss=0.5, estimated_loss=0.9, **coverage)
    assert decision.retrain is retrain
    assert decision.loss == (0.9 if retrain else 0.5)


def test_without_a_realized_loss_the_estimate_decides_however_many_labels_came() -> None:
    assert decided(estimated_loss=0.9, coverage=1.0).retrain


@pytest.mark.parametrize(("share", "trouble"), [(0.25, False), (0.26, True), (0.2, False), (1.0, True)])
def test_a_window_is_in_trouble_above_the_share_of_rejected_rows_that_may_be(share: float, trouble: bool) -> None:
    decision = with_policy({"estimated_loss": 0.9, "rejected_share": share}, rejected_share=0.25)
    assert decision.retrain is not trouble
    assert (f"in trouble: {share:.0%} of its rows were rejected" in decision.why) is trouble


def test_all_that_is_wrong_with_a_window_is_told_together() -> None:
    both = DriftVerdict(
        status="not enough evidence",
        why="few rows",
        rows=500,
        unscored={"dest": "all null in the window", "origin": "missing from the window", "hour": "not in the reference"},
    )
    decision = decided(drift=both, rejected_share=0.2)
    assert decision.why.endswith(
        "the window's data is in trouble: 20% of its rows were rejected and it has lost dest, origin"
    )


@pytest.mark.parametrize(
    ("given", "retrain"),
    [
        ({"realized_loss": 0.75}, False),  # level and tolerance: as high as it may be
        ({"realized_loss": 0.76}, True),
        ({"realized_loss": 0.875, "refused": True}, False),  # the tolerance and half of it again
        ({"realized_loss": 0.876, "refused": True}, True),
        ({"realized_loss": 0.75, "promotion_bound": 0.6}, False),  # a bound within the tolerance changes nothing
        ({"realized_loss": 0.76, "promotion_bound": 0.6}, True),
        ({"realized_loss": 1.0, "promotion_bound": 1.0}, False),
        ({"realized_loss": 1.01, "promotion_bound": 1.0}, True),
        ({"realized_loss": 1.25, "promotion_bound": 1.0, "refused": True}, False),
        ({"realized_loss": 1.26, "promotion_bound": 1.0, "refused": True}, True),
    ],
)
def test_the_limit_is_the_level_and_the_tolerance_or_its_uncertainty(given: dict[str, Any], retrain: bool) -> None:
    assert with_policy(given, loss_tolerance=0.25, hysteresis=0.5).retrain is retrain


def test_a_limit_of_a_perfect_level_is_the_tolerance() -> None:
    decision = decided(promotion_loss=0.0, promotion_bound=0.0, realized_loss=0.02)
    assert (decision.retrain, decision.limit) == (True, 0.01)


def test_of_two_losses_over_the_limit_the_higher_is_told() -> None:
    decision = decided(realized_loss=0.6, estimated_loss=0.7, coverage=0.1)
    assert decision.why.startswith("the estimated log_loss of 0.7000")
    assert decision.loss == 0.7
    assert decided(realized_loss=0.7, estimated_loss=0.6, coverage=0.1).why.startswith("the realized log_loss of 0.7000")


@pytest.mark.parametrize(("importance", "cause"), [(0.25, "drift"), (0.24, "loss"), (0.26, "drift")])
def test_drift_is_the_cause_from_the_impact_that_counts_on(importance: float, cause: str) -> None:
    decision = with_policy({"estimated_loss": 0.9, "drift": drifted(importance)}, impact=0.25)
    assert (decision.cause, "drift in dest" in decision.why) == (cause, cause == "drift")


def test_where_labels_show_the_loss_drift_is_told_but_is_not_the_cause() -> None:
    decision = decided(realized_loss=0.9, drift=drifted(0.4))
    assert decision.cause == "loss"
    assert decision.why.endswith("; drift in dest (40% of the model's gain)")


@pytest.mark.parametrize(("days", "asked"), [(28.0, False), (28.1, True)])
def test_a_model_may_grow_as_old_as_the_policy_says(days: float, asked: bool) -> None:
    assert (decided(model_age_days=days, realized_loss=0.4, coverage=0.5).cause == "age") is asked


def test_age_waits_for_the_cool_down_and_then_for_labels() -> None:
    held = decided(model_age_days=40.0, coverage=0.5, days_since_request=5.0)
    assert (held.retrain, held.cause) == (False, "none")
    assert "within the cool-down of 6" in held.why
    assert decided(model_age_days=40.0, coverage=0.5, days_since_request=6.0).retrain


def test_three_drifted_columns_are_named_and_of_more_the_three_that_matter_most() -> None:
    def named(*importances: float) -> str:
        columns = tuple(
            ColumnDrift(column=f"c{at}", method="psi", score=9.0, threshold=0.1, importance=each)
            for at, each in enumerate(importances)
        )
        calm = ColumnDrift(column="calm", method="psi", score=0.0, threshold=0.1, importance=0.1)
        return decided(drift=DriftVerdict(status="drift", why="", rows=500, columns=(calm, *columns))).why

    assert named(0.1, 0.3, 0.2).endswith("; drift in c1, c2, c0 (60% of the model's gain)")
    assert named(0.1, 0.3, 0.2, 0.25).endswith("; drift in c1, c3, c2, ... (85% of the model's gain)")


def test_an_auc_is_told_as_the_loss_that_it_is() -> None:
    decision = with_policy({"realized_loss": 0.9, "promotion_loss": 0.2}, metric="auc")
    assert decision.why == "the realized 1 - auc of 0.9000 exceeds the limit of 0.2100"

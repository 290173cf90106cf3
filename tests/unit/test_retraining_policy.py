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
from tasks.monitoring.retraining_policy import loss_of, should_retrain

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
    estimated = loss_of(STREAM, performance_estimation.raw(STREAM, None, rows, likely))
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
    estimated = loss_of(hard, performance_estimation.raw(hard, None, rows, likely))
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

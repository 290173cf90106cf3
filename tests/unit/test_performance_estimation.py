"""Worth without labels: right where only inputs shift, and honest about what it got wrong before."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from schemas.verdicts import Kind
from tasks.evaluation import metrics
from tasks.features import row_order, splitting
from tasks.models import booster as scoring
from tasks.monitoring import performance_estimation
from tasks.training import fit
from tests import modelling_kit as kit

RNG = np.random.default_rng(7)


def parts(kind: Kind) -> tuple[Any, pl.DataFrame, np.ndarray, pl.DataFrame, np.ndarray]:
    """A use case, a holdout and a later window with a fitted model's scores of both."""
    case = kit.case(kind)
    rows = row_order.in_canonical_order(case, kit.frame(case)).filter(pl.col("_target").is_not_null())
    train, stopping, rest = splitting.split_by_time(replace(case, split=replace(case.split, holdout_days=16)), rows)
    booster = scoring.load_booster(fit.fit_booster(case, train, stopping).model)
    half = rest.height // 2
    holdout, window = rest[:half], rest[half:]
    return (
        case,
        holdout,
        scoring.predict_scores(case, booster, holdout),
        window,
        scoring.predict_scores(case, booster, window),
    )


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_estimates_come_near_what_labels_say_and_need_none(kind: Kind) -> None:
    case, holdout, scores, window, later = parts(kind)
    document = json.loads(json.dumps(performance_estimation.build_estimator(case, holdout, scores)))
    found = performance_estimation.raw(case, document, window.drop("_target"), later)
    made = metrics.evaluate(case, "0" * 64, "-", window, later).metrics
    assert set(found) == set(made) - {"calibration_error", "base_rate", "r2"}
    assert found == pytest.approx({name: made[name] for name in found}, abs=0.12)
    assert document["level"]["low"] < document["level"]["value"] < document["level"]["high"]


def stream(n: int, shift: float, sure: float) -> tuple[pl.DataFrame, np.ndarray]:
    likely = 1 / (1 + np.exp(-(RNG.normal(shift, 1.5, n))))
    said = likely**sure / (likely**sure + (1 - likely) ** sure)
    return pl.DataFrame({"_target": RNG.random(n) < likely, "_block": np.arange(n) % 20, "at": [kit.START] * n}), said


@pytest.mark.parametrize("shift", [0.0, 1.0, -1.5])
@pytest.mark.parametrize("sure", [1.0, 2.0])
def test_where_only_inputs_shift_auc_and_loss_are_right_within_a_hundredth(shift: float, sure: float) -> None:
    case = replace(kit.case(), slices=())
    document = performance_estimation.build_estimator(case, *stream(100_000, 0.0, sure))
    window, said = stream(100_000, shift, sure)
    found = performance_estimation.raw(case, document, window, said)
    made = metrics.evaluate(case, "0" * 64, "-", window, said).metrics
    assert found == pytest.approx({name: made[name] for name in found}, abs=0.01)
    if sure != 1.0:
        plain = performance_estimation.raw(case, None, window, said)
        assert abs(plain["log_loss"] - made["log_loss"]) > 0.05  # calibration is what made it right


def test_a_calibration_that_does_not_carry_over_is_left_out() -> None:
    case = replace(kit.case(), slices=())
    calm, rough = stream(4000, 0.0, 1.0), stream(4000, 0.0, 1.0)
    flipped = rough[0].with_columns(_target=~pl.col("_target"))  # the second half is another regime
    rows, said = pl.concat([calm[0], flipped]), np.concatenate([calm[1], rough[1]])
    assert performance_estimation.build_estimator(case, rows, said)["calibration"] is None


def past(errors: list[float]) -> list[dict[str, float]]:
    return [{"auc": error} for error in errors]


def test_an_interval_is_stated_once_there_is_a_record_and_holds_what_it_says() -> None:
    case = kit.case()
    none = performance_estimation.corrected(case, {"auc": 0.7}, 10, past([0.1, -0.1]))
    assert (none.intervals, none.record) == ({}, 2)
    held = []
    for seed in range(400):
        errors = np.random.default_rng(seed).normal(-0.03, 0.02, 13)
        low, high = performance_estimation.corrected(case, {"auc": 0.7}, 10, past(list(errors[:-1]))).intervals["auc"]
        held.append(low <= 0.7 + errors[-1] <= high)
    assert 0.87 <= np.mean(held) <= 0.97


def test_a_lasting_error_is_taken_off_and_the_interval_stays_in_bounds() -> None:
    case = kit.case()
    told = performance_estimation.corrected(case, {"auc": 0.7, "log_loss": 0.01}, 10, [{"auc": -0.05, "log_loss": 0.2}] * 12)
    assert 0.65 < told.metrics["auc"] < 0.68
    assert told.raw["auc"] == 0.7
    low, high = told.intervals["log_loss"]
    assert 0 <= low < high
    assert performance_estimation.corrected(case, {"auc": 0.99}, 1, past([0.3] * 9)).metrics["auc"] <= 1


@pytest.mark.parametrize("scores", [np.array([]), np.array([0.2, np.nan])], ids=["no rows", "a score that is no number"])
def test_what_cannot_be_estimated_is_not(scores: np.ndarray) -> None:
    assert performance_estimation.raw(kit.case(), None, pl.DataFrame(), scores) == {}


def test_one_score_for_all_tells_no_auc_apart_and_a_holdout_of_one_class_calibrates_nothing() -> None:
    case = replace(kit.case(), slices=())
    assert performance_estimation.raw(case, None, pl.DataFrame(), np.full(9, 0.3))["auc"] == pytest.approx(0.5)
    rows = stream(50, 0.0, 1.0)[0].with_columns(_target=pl.lit(True))
    document = performance_estimation.build_estimator(case, rows, np.full(50, 0.3))
    assert document["calibration"] is None


def test_a_regression_without_its_small_model_has_no_estimate() -> None:
    assert performance_estimation.raw(kit.case("regression"), {"method": "direct loss"}, pl.DataFrame(), np.ones(3)) == {}

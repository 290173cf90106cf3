"""Worth without labels: right where only inputs shift, and honest about what it got wrong before."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from schemas.verdicts import Kind
from tasks.evaluation import intervals, metrics
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
    found = performance_estimation.estimate_metrics(case, document, window.drop("_target"), later)
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
    found = performance_estimation.estimate_metrics(case, document, window, said)
    made = metrics.evaluate(case, "0" * 64, "-", window, said).metrics
    assert found == pytest.approx({name: made[name] for name in found}, abs=0.01)
    if sure != 1.0:
        plain = performance_estimation.estimate_metrics(case, None, window, said)
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
    none = performance_estimation.correct_estimates(case, {"auc": 0.7}, 10, past([0.1, -0.1]))
    assert (none.intervals, none.record) == ({}, 2)
    held = []
    for seed in range(400):
        errors = np.random.default_rng(seed).normal(-0.03, 0.02, 13)
        low, high = performance_estimation.correct_estimates(case, {"auc": 0.7}, 10, past(list(errors[:-1]))).intervals[
            "auc"
        ]
        held.append(low <= 0.7 + errors[-1] <= high)
    assert 0.87 <= np.mean(held) <= 0.97


def test_a_lasting_error_is_taken_off_and_the_interval_stays_in_bounds() -> None:
    case = kit.case()
    told = performance_estimation.correct_estimates(
        case, {"auc": 0.7, "log_loss": 0.01}, 10, [{"auc": -0.05, "log_loss": 0.2}] * 12
    )
    assert 0.65 < told.metrics["auc"] < 0.68
    assert told.raw["auc"] == 0.7
    low, high = told.intervals["log_loss"]
    assert 0 <= low < high
    assert performance_estimation.correct_estimates(case, {"auc": 0.99}, 1, past([0.3] * 9)).metrics["auc"] <= 1


@pytest.mark.parametrize("scores", [np.array([]), np.array([0.2, np.nan])], ids=["no rows", "a score that is no number"])
def test_what_cannot_be_estimated_is_not(scores: np.ndarray) -> None:
    assert performance_estimation.estimate_metrics(kit.case(), None, pl.DataFrame(), scores) == {}


def test_one_score_for_all_tells_no_auc_apart_and_a_holdout_of_one_class_calibrates_nothing() -> None:
    case = replace(kit.case(), slices=())
    assert performance_estimation.estimate_metrics(case, None, pl.DataFrame(), np.full(9, 0.3))["auc"] == pytest.approx(0.5)
    rows = stream(50, 0.0, 1.0)[0].with_columns(_target=pl.lit(True))
    document = performance_estimation.build_estimator(case, rows, np.full(50, 0.3))
    assert document["calibration"] is None


def test_a_regression_without_its_small_model_has_no_estimate() -> None:
    assert (
        performance_estimation.estimate_metrics(
            kit.case("regression"), {"method": "direct loss"}, pl.DataFrame(), np.ones(3)
        )
        == {}
    )


# By hand: how errors are remembered, and what calibrated scores are worth


def test_an_error_is_remembered_by_half_after_four_windows_and_shrunk_by_three() -> None:
    assert performance_estimation.expected_error(np.array([])) == 0
    assert performance_estimation.expected_error(np.array([0.4])) == pytest.approx(0.4 / (1 + 3))
    faded = 0.5**0.75 + 0.5**0.5 + 0.5**0.25
    oldest = performance_estimation.expected_error(np.array([1.0, 0, 0, 0, 0]))
    newest = performance_estimation.expected_error(np.array([0, 0, 0, 0, 1.0]))
    assert oldest == pytest.approx(0.5 / (0.5 + faded + 1 + 3))
    assert newest == pytest.approx(1 / (0.5 + faded + 1 + 3))


def test_an_interval_is_as_wide_as_the_errors_were_unexpected_each_by_those_before_it_alone() -> None:
    faded = 0.5**0.25
    missed = [0.4, 0.4 - 0.4 / 4, 0.4 - 0.4 * (1 + faded) / (1 + faded + 3)]
    t = 2.3534  # Student's t of 3 degrees of freedom at 0.95
    wide = performance_estimation.half_width(np.array([0.4, 0.4, 0.4]))
    assert wide == pytest.approx(t * np.sqrt(np.mean(np.square(missed))), rel=1e-4)
    t = 3.1824  # at 0.975
    wider = performance_estimation.half_width(np.array([0.4, 0.4, 0.4]), 0.95)
    assert wider == pytest.approx(t * np.sqrt(np.mean(np.square(missed))), rel=1e-4)


def test_each_metric_has_its_own_record_and_an_interval_from_three_errors_on() -> None:
    record = [{"auc": 0.1, "brier": 0.1}, {"auc": 0.1}, {"auc": 0.1, "brier": 0.1}]
    told = performance_estimation.correct_estimates(kit.case(), {"auc": 0.5, "brier": 0.2}, 7, record)
    assert (told.rows, told.record, told.level, told.method) == (7, 3, 0.9, "cbpe")
    assert set(told.intervals) == {"auc"}
    assert told.metrics["brier"] == pytest.approx(0.2 + performance_estimation.expected_error(np.array([0.1, 0.1])))
    low, high = told.intervals["auc"]
    half = performance_estimation.half_width(np.array([0.1, 0.1, 0.1]))
    assert (low, high) == pytest.approx((told.metrics["auc"] - half, told.metrics["auc"] + half))


@pytest.mark.parametrize("name", ["auc", "accuracy", "brier", "error_rate"])
def test_what_is_a_share_stays_between_0_and_1(name: str) -> None:
    for start, error, end in ((0.9, 0.8, 1.0), (0.1, -0.8, 0.0)):
        told = performance_estimation.correct_estimates(kit.case(), {name: start}, 9, [{name: error}] * 4)
        assert told.metrics[name] == end
        assert told.intervals[name][error > 0] == end


@pytest.mark.parametrize(("kind", "name"), [("binary", "log_loss"), ("regression", "rmse"), ("regression", "mae")])
def test_a_loss_is_never_below_0_and_may_be_above_1(kind: Kind, name: str) -> None:
    told = performance_estimation.correct_estimates(kit.case(kind), {name: 0.5}, 9, [{name: 1.0}] * 4)
    assert told.metrics[name] > 1
    assert told.intervals[name][0] == 0
    assert told.intervals[name][1] > told.metrics[name]
    assert performance_estimation.correct_estimates(kit.case(kind), {name: 0.1}, 9, [{name: -1.0}] * 4).metrics[name] == 0
    assert told.method == ("direct loss" if kind == "regression" else "cbpe")


SCORES = np.array([0.2, 0.8])


def test_scores_that_are_probabilities_say_what_they_are_worth() -> None:
    """Each row is late with its score: of the pairs late and on time, 0.72 + 0.08 are in order, ties halved."""
    found = performance_estimation.estimate_metrics(kit.case(), None, pl.DataFrame(), SCORES)
    entropy = -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))
    assert found == pytest.approx({"auc": 0.8, "log_loss": entropy, "error_rate": 0.2, "brier": 0.16})


def test_a_score_at_the_threshold_is_taken_for_late() -> None:
    low = replace(kit.case(), target=replace(kit.case().target, threshold=0.2))
    assert performance_estimation.estimate_metrics(low, None, pl.DataFrame(), SCORES)["error_rate"] == pytest.approx(
        (0.8 + 0.2) / 2
    )


def test_a_calibrated_score_is_judged_by_the_probability_it_stands_for() -> None:
    """With odds twice what the score says, 0.2 stands for 1/3 and 0.8 for 8/9; on time is the rest."""
    document = {"calibration": [[1.0, -np.log(2)], [1.0, np.log(2)]]}
    found = performance_estimation.estimate_metrics(kit.case(), document, pl.DataFrame(), SCORES)
    late = np.array([1 / 3, 8 / 9])
    assert found["error_rate"] == pytest.approx((1 / 3 + 1 / 9) / 2)
    assert found["log_loss"] == pytest.approx(-(late * np.log(SCORES) + (1 - late) * np.log(1 - SCORES)).mean())
    assert found["brier"] == pytest.approx((late * (1 - SCORES) ** 2 + (1 - late) * SCORES**2).mean())
    positive, negative = late, 1 - late
    wins = positive[1] * (negative[0] + negative[1] / 2) + positive[0] * negative[0] / 2
    assert found["auc"] == pytest.approx(wins / (positive.sum() * negative.sum()))


def test_several_classes_are_worth_the_probability_of_the_one_that_is_said() -> None:
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    found = performance_estimation.estimate_metrics(kit.case("multiclass"), None, pl.DataFrame(), scores)
    assert found["accuracy"] == pytest.approx((0.5 + 0.8) / 2)
    assert found["log_loss"] == pytest.approx(-(scores * np.log(scores)).sum(axis=1).mean())

    def auc(low: float, high: float) -> float:
        wins = high * ((1 - low) + (1 - high) / 2) + low * (1 - low) / 2
        return wins / ((low + high) * (2 - low - high))

    assert found["auc"] == pytest.approx((auc(0.1, 0.5) + auc(0.1, 0.3) + auc(0.2, 0.8)) / 3)


def test_calibrated_probabilities_of_a_row_sum_to_1() -> None:
    even = np.array([[0.5, 0.5]])
    assert performance_estimation.calibrated(even, None) is even
    steeper = performance_estimation.calibrated(np.array([[0.2, 0.8]]), [[2.0, 0.0], [2.0, 0.0]])
    assert steeper == pytest.approx(np.array([[1 / 17, 16 / 17]]))  # odds of 4 become odds of 16
    lifted = performance_estimation.calibrated(even, [[1.0, 0.0], [1.0, float(np.log(2))]])
    assert lifted == pytest.approx(np.array([[3 / 7, 4 / 7]]))  # 1/2 and 2/3, shared out


def test_scores_of_0_and_1_are_sure_and_still_numbers() -> None:
    sure = np.array([0.0, 1.0])
    told = performance_estimation.estimate_metrics(
        kit.case(), {"calibration": [[1.0, 0.0], [1.0, 0.0]]}, pl.DataFrame(), sure
    )
    assert told == pytest.approx({"auc": 1.0, "log_loss": 0.0, "error_rate": 0.0, "brier": 0.0}, abs=1e-6)
    assert "auc" not in performance_estimation.estimate_metrics(
        kit.case(), None, pl.DataFrame(), np.zeros(3)
    )  # nobody is late


def holdout_of(errors: list[float], rows: list[int]) -> tuple[pl.DataFrame, np.ndarray]:
    """A regression's holdout and scores whose every outcome is 0, one error a block."""
    blocks = np.repeat(np.arange(len(rows)), rows)
    return pl.DataFrame({"_target": np.zeros(len(blocks)), "_block": blocks}), np.repeat(np.array(errors), rows)


def test_the_level_is_the_mean_over_blocks_by_rows_with_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "MANY_BLOCKS", 1)  # t alone, so that it can be computed by hand
    found = performance_estimation.holdout_level(kit.case("regression", metric="mae"), *holdout_of([4.0, 0.0], [1, 3]))
    reach = 6.3138 * 1.5  # t of 1 degree of freedom at 0.95; the error is (3^2 + 3^2) * 2 / 1 under the root, over 4 rows
    assert found == {
        "metric": "mae",
        "value": 1.0,
        "low": pytest.approx(1 - reach, abs=1e-3),
        "high": pytest.approx(1 + reach, abs=1e-3),
    }


@pytest.mark.parametrize(("errors", "rows"), [([1.0], [4]), ([1.0, float("nan")], [2, 2])])
def test_no_level_is_stated_of_one_block_or_of_scores_that_are_no_numbers(errors: list[float], rows: list[int]) -> None:
    assert performance_estimation.holdout_level(kit.case("regression", metric="mae"), *holdout_of(errors, rows)) is None


def test_the_document_counts_all_rows_and_learns_from_those_with_an_outcome() -> None:
    rows, said = stream(400, 0.0, 1.0)
    more = pl.concat([rows, rows.head(5).with_columns(_target=pl.lit(None, pl.Boolean))])
    case = replace(kit.case(), slices=())
    plain = performance_estimation.build_estimator(case, rows, said)
    odd = performance_estimation.build_estimator(case, more, np.concatenate([said, np.full(5, 0.999)]))
    assert (plain["format_version"], plain["rows"], odd["rows"]) == (1, 400, 405)
    assert {**odd, "rows": 400} == plain


def test_a_regressions_small_models_know_where_it_errs_and_by_how_much() -> None:
    """Wrong by 3 on one side of a feature and by 1 on the other, now above the outcome and now below it."""
    case = replace(kit.case("regression"), slices=(), features={"size": pl.col("size")})
    size = np.tile([-1.0, 1.0], 400)
    outcome = np.random.default_rng(7).normal(10, 5, 800)
    predicted = outcome + np.where(size > 0, 3.0, 1.0) * np.where(np.arange(800) % 4 < 2, 1, -1)
    columns = {"at": [kit.START] * 800, "shop": "north", "number": np.arange(800), "size": size}
    rows = pl.DataFrame({**columns, "_target": outcome, "_block": np.arange(800) % 8}).cast({"size": pl.Float32})
    document = performance_estimation.build_estimator(case, rows, predicted)
    for part, error in ((size > 0, 3.0), (size < 0, 1.0)):
        losses = performance_estimation.estimate_metrics(case, document, rows.filter(pl.Series(part)), predicted[part])
        assert losses == pytest.approx({"rmse": error, "mae": error}, abs=0.15)
    mixed = performance_estimation.estimate_metrics(case, document, rows, predicted)
    assert mixed == pytest.approx({"rmse": 5**0.5, "mae": 2.0}, abs=0.15)


def test_a_class_that_one_half_lacks_leaves_the_scores_uncalibrated() -> None:
    case = replace(kit.case("multiclass"), slices=())
    scores = RNG.dirichlet((1, 1, 1), 400)
    sharper = scores**3 / (scores**3).sum(axis=1, keepdims=True)
    drawn = np.array(case.target.classes)[[RNG.choice(3, p=likely) for likely in sharper]]

    def document(outcomes: np.ndarray) -> Any:
        target = pl.Series("_target", outcomes, dtype=pl.Enum(case.target.classes))
        rows = pl.DataFrame([target]).with_columns(_block=pl.int_range(pl.len()) % 5)
        return performance_estimation.build_estimator(case, rows, scores)["calibration"]

    assert len(document(drawn)) == 3  # scores too timid by far: calibration helps
    lacking = np.where((np.arange(400) < 200) & (drawn == "late"), "early", drawn)
    assert document(lacking) is None

"""The gate: what passes, what fails, and that it fails closed."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from schemas.verdicts import GateVerdict
from tasks.evaluation import baseline_scores, evaluate
from tasks.gating import block_interval, gate
from tasks.scoring import booster, predict
from tasks.training import fit, split_by_time
from tests.unit.problems import BINARY, MULTICLASS, REGRESSION, designed, orders

SUPERIOR = replace(BINARY, gate=replace(BINARY.gate, rule="superiority"))


@pytest.fixture(scope="module")
def trained() -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Holdout, scores of a good model, scores of the baseline."""
    train, stopping, holdout = split_by_time(BINARY, designed(BINARY, orders()))
    scores = predict(BINARY, booster(fit(BINARY, train, stopping).model), holdout)
    return holdout, scores, baseline_scores(BINARY, train, holdout, stopping)


def judged(holdout: pl.DataFrame, ours: object, theirs: object, base: object, case: object = BINARY) -> GateVerdict:
    return gate(case, holdout, ours, theirs, base, data_commit="c" * 40, seed=1)  # type: ignore[arg-type]


def poor(scores: np.ndarray) -> np.ndarray:
    """The same scores, drawn towards one half."""
    return 0.5 + (scores - 0.5) * 0.3


def failed(verdict: GateVerdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed}


def test_a_first_model_is_compared_with_the_baseline_alone(trained: tuple[pl.DataFrame, np.ndarray, np.ndarray]) -> None:
    holdout, scores, base = trained
    constant = np.full(holdout.height, 0.5)
    verdict = judged(holdout, scores, None, constant)
    assert verdict.promoted, verdict.why
    assert verdict.champion is None
    assert verdict.rows == holdout.height
    assert "baseline" in failed(judged(holdout, constant, None, base))


def test_superiority_goes_one_way_only(trained: tuple[pl.DataFrame, np.ndarray, np.ndarray]) -> None:
    holdout, scores, _ = trained
    base = np.full(holdout.height, 0.5)
    assert judged(holdout, scores, poor(scores), base, SUPERIOR).promoted
    back = judged(holdout, poor(scores), scores, base, SUPERIOR)
    assert not back.promoted
    assert "superiority" in failed(back)
    assert not judged(holdout, scores, scores, base, SUPERIOR).promoted


def test_an_equal_challenger_is_not_inferior(trained: tuple[pl.DataFrame, np.ndarray, np.ndarray]) -> None:
    holdout, scores, _ = trained
    assert judged(holdout, scores, scores, np.full(holdout.height, 0.5)).promoted


def test_a_challenger_trained_on_flipped_labels_is_refused(trained: tuple[pl.DataFrame, np.ndarray, np.ndarray]) -> None:
    holdout, scores, base = trained
    verdict = judged(holdout, 1 - scores, scores, base)
    assert not verdict.promoted
    assert {"baseline", "non_inferiority"} <= failed(verdict)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda scores: np.where(np.arange(len(scores)) == 3, np.nan, scores),
        lambda scores: np.where(np.arange(len(scores)) == 3, np.inf, scores),
        lambda scores: scores[:-1],
        lambda scores: scores + 1,
        lambda scores: scores.astype(str),
        lambda scores: None,
    ],
)
@pytest.mark.parametrize("who", [0, 1, 2])
def test_missing_or_mismatched_evidence_refuses(
    trained: tuple[pl.DataFrame, np.ndarray, np.ndarray], spoil: object, who: int
) -> None:
    holdout, scores, base = trained
    given = [scores, scores, base]
    given[who] = spoil(given[who])  # type: ignore[operator]
    if who == 1 and given[1] is None:
        return  # no champion is a first model
    verdict = judged(holdout, *given)
    assert not verdict.promoted
    assert failed(verdict) == {"complete"}


def test_too_little_or_seen_evidence_refuses(trained: tuple[pl.DataFrame, np.ndarray, np.ndarray]) -> None:
    holdout, scores, base = trained
    few = gate(BINARY, holdout[:60], scores[:60], None, base[:60], data_commit="c", seed=1)
    assert "rows" in failed(few)
    assert "not enough evidence" in few.why
    seen = gate(
        BINARY,
        holdout,
        scores,
        scores,
        base,
        data_commit="c",
        seed=1,
        seen_until=holdout["at"].min() + timedelta(hours=1),  # type: ignore[operator]
    )
    assert "unseen" in failed(seen)
    unknown = holdout.with_columns(_target=pl.when(pl.col("order") % 2 == 0).then("_target"))
    assert not judged(unknown, scores, None, base).promoted
    assert not judged(holdout.clear(), scores[:0], None, base[:0]).promoted


def test_one_bad_slice_is_enough_to_refuse(trained: tuple[pl.DataFrame, np.ndarray, np.ndarray]) -> None:
    holdout, scores, _ = trained
    worse = np.where(holdout["place"].to_numpy() == "west", np.clip(1 - scores, 0.02, 0.98), scores)
    lenient = replace(BINARY, gate=replace(BINARY.gate, margin=5.0))
    verdict = judged(holdout, worse, scores, np.full(holdout.height, 0.5), lenient)
    assert "slices" in failed(verdict)


def test_scores_that_are_no_probabilities_of_what_happens_fail_on_calibration(
    trained: tuple[pl.DataFrame, np.ndarray, np.ndarray],
) -> None:
    holdout, scores, _ = trained
    lenient = replace(BINARY, gate=replace(BINARY.gate, margin=5.0, slice_margin=5.0))
    verdict = judged(holdout, scores * 0.5, scores, np.full(holdout.height, 0.9), lenient)
    assert "calibration" in failed(verdict)


def test_the_interval_covers_a_mean_of_nothing() -> None:
    random = np.random.default_rng(0)
    draws = [block_interval(np.ones(7), random.normal(size=7), 0.05, seed) for seed in range(300)]
    above = sum(low > 0 for low, _ in draws)
    assert above <= 15  # a one-sided level of 2.5 %: 7.5 are expected, 16 or more come once in 300 times


def test_a_verdict_is_the_same_again(trained: tuple[pl.DataFrame, np.ndarray, np.ndarray]) -> None:
    holdout, scores, base = trained
    assert judged(holdout, scores, poor(scores), base) == judged(holdout, scores, poor(scores), base)


@pytest.mark.parametrize("case", [MULTICLASS, REGRESSION])
def test_the_other_kinds_pass_and_fail_too(case: object) -> None:
    train, stopping, holdout = split_by_time(case, designed(case, orders()))  # type: ignore[arg-type]
    scores = predict(case, booster(fit(case, train, stopping).model), holdout)  # type: ignore[arg-type]
    base = baseline_scores(case, train, holdout, stopping)  # type: ignore[arg-type]
    worse = scores[::-1].copy()
    assert judged(holdout, scores, worse, worse, case).promoted
    assert not judged(holdout, worse, scores, base, case).promoted


def test_metrics_agree_with_scikit_learn(trained: tuple[pl.DataFrame, np.ndarray, np.ndarray]) -> None:
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    holdout, scores, _ = trained
    metrics = evaluate(BINARY, "a" * 64, "c", holdout, scores).metrics
    truth, wide = holdout["_target"].to_numpy(), scores.astype(np.float64)
    assert metrics["auc"] == pytest.approx(roc_auc_score(truth, wide))
    assert metrics["log_loss"] == pytest.approx(log_loss(truth, wide))
    assert metrics["brier"] == pytest.approx(brier_score_loss(truth, wide))


def test_each_slice_with_enough_rows_is_evaluated(trained: tuple[pl.DataFrame, np.ndarray, np.ndarray]) -> None:
    holdout, scores, _ = trained
    slices = evaluate(BINARY, "a" * 64, "c", holdout, scores).slices
    assert {name.split("=")[0] for name in slices} == {"place"}
    assert len(slices) == 3

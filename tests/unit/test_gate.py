"""The gate promotes what is better, refuses what is worse, and refuses where evidence is missing or no number."""

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from tasks.evaluation.baseline_models import baseline_scores
from tasks.evaluation.gate import gate_challenger
from tasks.evaluation.intervals import block_interval
from tasks.features.engineering import BLOCK, TARGET, numeric_target
from tasks.features.splitting import split_by_time
from tasks.models.booster import load_booster, predict_scores
from tasks.training.fit import fit_booster
from tests.modelling_kit import case, frame, turned

KINDS = ("binary", "multiclass", "regression")


@cache
def parts(kind="binary"):
    return split_by_time(case(kind), frame(case(kind)))


@cache
def scores(kind="binary", part=1.0, *, flipped=False):
    """Scores on the holdout of a model fitted on a part of the training rows."""
    train, stopping, holdout = parts(kind)
    if flipped:
        train, stopping = [rows.with_columns(turned(kind)) for rows in (train, stopping)]
    model = fit_booster(case(kind), train[: int(part * train.height)], stopping)
    return predict_scores(case(kind), load_booster(model.model), holdout)


def judge(challenger, champion=None, *, kind="binary", made=None, holdout=None, baseline=..., **more):
    train, stopping, held = parts(kind)
    rows = held if holdout is None else holdout
    simple = baseline_scores(case(kind), train, rows, stopping) if baseline is ... else baseline
    return gate_challenger(made or case(kind), rows, challenger, champion, simple, data_commit="c0ffee", seed=1, **more)


def failed(verdict):
    return [check.name for check in verdict.checks if not check.passed]


@pytest.mark.parametrize("kind", KINDS)
def test_a_better_model_is_promoted_and_a_flipped_one_never(kind):
    good, bad = scores(kind), scores(kind, flipped=True)
    promoted = judge(good, bad, kind=kind)
    assert promoted.promoted, promoted.why
    assert promoted.why.startswith("promoted: ")
    assert (promoted.rows, promoted.blocks, promoted.data_commit) == (parts(kind).holdout.height, 8, "c0ffee")
    low, high = promoted.interval
    assert 0 < low < high
    for champion in (good, None):
        refused = judge(bad, champion, kind=kind)
        assert not refused.promoted
        assert "baseline" in failed(refused)
        assert refused.why.startswith("refused: ")


def test_an_equal_model_passes_non_inferiority_but_not_superiority():
    verdict = judge(scores(), scores())
    assert verdict.promoted
    assert verdict.interval == (0, 0)
    assert failed(judge(scores(), scores(), made=case(rule="superiority"))) == ["superiority"]


def test_the_first_champion_is_compared_with_the_baseline():
    verdict = judge(scores())
    assert verdict.promoted
    assert verdict.champion is None
    assert verdict.challenger < verdict.baseline
    assert "the baseline's" in verdict.why


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        ({"challenger": None}, "scores of the challenger are missing"),
        ({"baseline": None}, "scores of the baseline are missing"),
        ({"challenger": "nan"}, "1 scores of the challenger are not finite"),
        ({"champion": "nan"}, "1 scores of the champion are not finite"),
        ({"baseline": "nan"}, "1 scores of the baseline are not finite"),
        ({"champion": "short"}, "the champion have shape"),
        ({"challenger": "two columns"}, "the challenger have shape"),
        ({"challenger": "above"}, "the challenger are no probabilities"),
        ({"challenger": "words"}, "the challenger have shape"),
        ({"holdout": "no outcome"}, "1 holdout rows have no outcome"),
        ({"holdout": "no block"}, "1 holdout rows have no outcome or no block"),
        ({"holdout": "no target"}, "no column _target"),
        ({"holdout": "empty"}, "not enough evidence: the holdout is empty"),
    ],
)
def test_evidence_that_is_missing_or_no_number_refuses(evidence, said):
    holdout = parts().holdout
    first = pl.int_range(pl.len()) == 0
    spoilt = {
        None: None,
        "nan": np.where(np.arange(holdout.height) == 3, np.nan, scores()),
        "short": scores()[:-1],
        "two columns": np.stack([scores(), scores()], axis=1),
        "above": scores() + 1,
        "words": scores().astype(str),
        "no outcome": holdout.with_columns(pl.when(~first).then(TARGET).alias(TARGET)),
        "no block": holdout.with_columns(pl.when(~first).then(BLOCK).alias(BLOCK)),
        "no target": holdout.drop(TARGET),
        "empty": holdout.clear(),
    }
    given = {"challenger": scores(), "champion": scores(part=0.5), "baseline": np.full(holdout.height, 0.3)}
    given |= {what: spoilt[how] for what, how in evidence.items()}
    if evidence.get("holdout") == "empty":
        given |= {who: np.empty(0) for who in ("challenger", "champion", "baseline")}
    verdict = judge(given.pop("challenger"), given.pop("champion"), **given)
    assert not verdict.promoted
    assert said in verdict.why
    assert verdict.interval is None


def test_a_metric_of_another_kind_refuses():
    assert "does not fit" in judge(scores("regression"), kind="regression", made=case("regression", metric="auc")).why


@pytest.mark.parametrize(
    ("policy", "check"),
    [
        ({"min_rows": 10**6}, "rows"),
        ({"min_blocks": 9}, "blocks"),
        ({"max_calibration_error": 0.0, "calibration_slack": -1.0}, "calibration"),
        ({"slice_margin": -1.0}, "slices"),
        ({"margin": -1.0}, "non_inferiority"),
    ],
)
def test_each_condition_can_refuse_alone(policy, check):
    verdict = judge(scores(), 0.5 * scores() + 0.1, made=case(**{"margin": 0.05, **policy}))
    assert failed(verdict) == [check]
    assert not verdict.promoted
    assert verdict.why.endswith(next(c.detail for c in verdict.checks if c.name == check))
    assert ("not enough evidence" in verdict.why) == (check in ("rows", "blocks"))


def test_a_slice_that_loses_refuses_though_the_whole_gains():
    north = (parts().holdout["shop"] == "north").to_numpy()
    worse = np.where(north, 1 - scores(), scores())
    champion = np.where(north, scores(), 1 - scores())
    verdict = judge(worse, champion)
    assert "slices" in failed(verdict)
    assert "shop=north" in next(c.detail for c in verdict.checks if c.name == "slices")


def test_calibration_may_be_as_bad_as_the_references():
    shifted = np.clip(scores() + 0.3, 0, 1)
    assert "calibration" in failed(judge(shifted, scores()))
    assert "calibration" not in failed(judge(shifted, shifted))


def test_rows_that_a_model_has_seen_refuse():
    holdout = parts().holdout
    unseen = holdout["at"].min() - timedelta(seconds=1)
    assert judge(scores(), seen_until=unseen).promoted
    seen = judge(scores(), seen_until=unseen + timedelta(seconds=1))
    assert failed(seen) == ["unseen"]
    assert "rows are not newer than" in seen.why


def test_one_usable_block_is_no_evidence():
    one = parts().holdout.with_columns(pl.lit(1).alias(BLOCK))
    assert failed(judge(scores(), holdout=one, made=case(min_blocks=1))) == ["blocks", "blocks"]


def test_seeds_give_the_same_verdict_and_the_metric_may_be_ranks():
    made = replace(case(metric="auc"), slices=())
    assert judge(scores(), scores(part=0.3), made=made) == judge(scores(), scores(part=0.3), made=made)
    assert judge(scores(), scores(part=0.1), made=made).challenger > 0.7


@pytest.mark.parametrize("blocks", [5, 7, 14])
def test_an_interval_of_few_blocks_holds_its_level(blocks):
    """At the null its lower end lies above the truth in at most half of alpha, simulation error aside."""
    rng = np.random.default_rng(blocks)
    alpha, runs, wrong = 0.05, 600, 0
    for run in range(runs):
        weights = rng.integers(700, 1000, blocks).astype(float)
        wrong += block_interval(weights, rng.normal(size=blocks), alpha, run)[0] > 0
    assert wrong / runs < alpha / 2 + 2.6 * (alpha / 2 / runs) ** 0.5


def test_many_blocks_take_no_bootstrap():
    gains = np.random.default_rng(1).normal(0.1, 1, 2000)
    low, high = block_interval(np.ones(2000), gains, 0.05, 1)
    error = gains.std(ddof=1) / 2000**0.5
    assert (low, high) == pytest.approx((gains.mean() - 1.961 * error, gains.mean() + 1.961 * error), abs=1e-4)


def test_of_swapped_models_at_most_one_is_superior():
    made = case(rule="superiority")
    y = numeric_target(case().target.kind, parts().holdout[TARGET])
    rng = np.random.default_rng(2)
    for _ in range(20):
        one, two = [np.clip(0.25 + 0.4 * y + rng.normal(scale=s, size=y.size), 0.02, 0.98) for s in rng.uniform(0.1, 0.3, 2)]
        assert judge(one, two, made=made).promoted + judge(two, one, made=made).promoted <= 1

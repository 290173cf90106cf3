"""The gate promotes what is better, refuses what is worse, and refuses where evidence is missing or no number."""

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from tasks.evaluation.baseline_models import baseline_scores
from tasks.evaluation.gate import gate_challenger
from tasks.features.engineering import BLOCK, TARGET, numeric_target
from tasks.features.splitting import split_by_time
from tasks.models.booster import load_booster, predict_scores
from tasks.training.fit import fit_booster
from tests.modelling_kit import START, case, frame, turned

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


def test_of_swapped_models_at_most_one_is_superior():
    made = case(rule="superiority")
    y = numeric_target(case().target.kind, parts().holdout[TARGET])
    rng = np.random.default_rng(2)
    for _ in range(20):
        one, two = [np.clip(0.25 + 0.4 * y + rng.normal(scale=s, size=y.size), 0.02, 0.98) for s in rng.uniform(0.1, 0.3, 2)]
        assert judge(one, two, made=made).promoted + judge(two, one, made=made).promoted <= 1


# Hand-made errors: every outcome is 0, so that a score is its own error and the mean absolute error of a block its mean.


def erring(per_block, rows=2):
    """Scores of one size a block, on as many rows as `rows` says (of each block, or of all)."""
    counts = rows if isinstance(rows, list) else [rows] * len(per_block)
    return np.repeat(np.asarray(per_block, float), counts)


def holdout_of(blocks, rows=2, shop="north"):
    counts = rows if isinstance(rows, list) else [rows] * blocks
    number = np.repeat(np.arange(blocks), counts)
    at = [START + timedelta(days=int(day)) for day in number]
    return pl.DataFrame({"at": at, "shop": shop, BLOCK: number, TARGET: np.zeros(len(number))})


def judged(ours, theirs, simple=9.0, *, rows=2, holdout=None, kind="regression", seen_until=None, **policy):
    """The gate on errors by block: the challenger's, the champion's (None: there is none) and the baseline's."""
    made = case(kind, **{"metric": "mae", "min_rows": 1, "min_blocks": 2, "min_slice_rows": 10**6, **policy})
    held = holdout_of(len(ours), rows) if holdout is None else holdout
    scores = [None if each is None else erring(each, rows) for each in (ours, theirs, np.broadcast_to(simple, len(ours)))]
    return gate_challenger(made, held, *scores, data_commit="c0ffee", seed=1, seen_until=seen_until)


def check(verdict, name):
    return next(each for each in verdict.checks if each.name == name)


def test_each_models_metric_is_the_mean_over_blocks_by_rows():
    verdict = judged([1.0, 3.0], [2.0, 6.0], [8.0, 4.0], rows=[1, 3])
    assert (verdict.challenger, verdict.champion, verdict.baseline) == (2.5, 5.0, 5.0)
    assert (verdict.rows, verdict.blocks, verdict.metric) == (4, 2, "mae")
    assert verdict.window == (START, START + timedelta(days=1))


def judged_by_auc(held, challenger, champion, baseline=0.5):
    policy = case(metric="auc", min_rows=1, min_blocks=2)
    scores = challenger, champion, np.full(held.height, baseline)
    return gate_challenger(policy, held, *scores, data_commit="c0ffee", seed=1)


def test_a_smaller_error_is_a_gain_and_a_larger_auc_is_one():
    assert judged([1.0] * 3, [1.5] * 3).interval == (0.5, 0.5)
    assert judged([1.5] * 3, [1.0] * 3).interval == (-0.5, -0.5)
    held = holdout_of(3, 4).with_columns(pl.Series(TARGET, [True, False, True, False] * 3))
    right, wrong = np.array([0.9, 0.1, 0.8, 0.2] * 3), np.array([0.1, 0.9, 0.8, 0.2] * 3)  # AUC 1 and 1 / 4
    better, worse = judged_by_auc(held, right, wrong), judged_by_auc(held, wrong, right)
    assert (better.interval, worse.interval) == ((0.75, 0.75), (-0.75, -0.75))
    assert check(better, "baseline").passed
    assert not check(worse, "baseline").passed  # an AUC of 1 / 4 beats no constant


def test_a_block_in_which_the_metric_is_undefined_counts_for_nobody():
    held = holdout_of(4, 4).with_columns(pl.Series(TARGET, [True, False, True, False] * 3 + [True] * 4))
    right, wrong = np.array([0.9, 0.1, 0.8, 0.2] * 4), np.array([0.1, 0.9, 0.8, 0.2] * 4)
    verdict = judged_by_auc(held, right, wrong)
    assert (verdict.challenger, verdict.champion, verdict.interval) == (1.0, 0.25, (0.75, 0.75))
    assert verdict.blocks == 4


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([0.0, 1.0], None),
        ([-0.01, 1.0], "no probabilities"),
        ([0.0, 1.01], "no probabilities"),
        ([0.0, np.inf], "3 scores of the challenger are not finite"),
    ],
)
def test_probabilities_lie_between_0_and_1_both_included(scores, says):
    held = holdout_of(3).with_columns(pl.Series(TARGET, [False, True] * 3))
    others = [np.array([0.1, 0.9] * 3), np.array([0.4, 0.6] * 3)]
    policy = case(min_rows=1, min_blocks=2)
    verdict = gate_challenger(policy, held, np.array(scores * 3), *others, data_commit="c0ffee", seed=1)
    assert (says in verdict.why) if says else check(verdict, "complete").passed


def test_a_challenger_as_good_as_the_baseline_does_not_beat_it():
    assert [each.name for each in judged([1.0] * 3, [1.0] * 3, 1.0).checks if not each.passed] == ["baseline"]
    assert check(judged([1.0] * 3, [1.0] * 3, 1.25), "baseline").passed
    assert not check(judged([1.0] * 3, [1.0] * 3, 0.75), "baseline").passed


@pytest.mark.parametrize(
    ("rule", "loss", "passed"),
    [
        ("non_inferiority", 0.25, True),
        ("non_inferiority", 0.5, False),  # as much as the margin is not less than it
        ("non_inferiority", 0.75, False),
        ("superiority", 0.25, False),
        ("superiority", 0.0, False),
        ("superiority", -0.25, True),
    ],
)
def test_the_whole_interval_must_lie_above_the_bar(rule, loss, passed):
    verdict = judged([1.0 + loss] * 3, [1.0] * 3, rule=rule, margin=0.5)
    assert check(verdict, rule).passed is passed
    assert verdict.promoted is passed


def test_it_is_the_lower_end_that_must_lie_above_the_bar():
    verdict = judged([1.0, 1.0, 1.0, 1.5], [1.25, 1.0, 1.25, 1.0], margin=0.3)
    low, high = verdict.interval
    assert low < -0.3 < 0 < high
    assert not verdict.promoted


def in_two_shops(north, south):
    """A challenger's gains in two shops, over three blocks each; the champion's error is 1 everywhere."""
    held = pl.concat([holdout_of(3), holdout_of(3, shop="south")])
    made = case("regression", metric="mae", min_rows=1, min_blocks=2, min_slice_rows=6, slice_margin=0.25, margin=9.0)
    ours = np.concatenate([erring([1.0 - north] * 3), erring([1.0 - south] * 3)])
    return gate_challenger(made, held, ours, np.ones(12), np.full(12, 9.0), data_commit="c0ffee", seed=1)


@pytest.mark.parametrize(
    ("north", "south", "passed"),
    [(0.5, -0.25, True), (0.5, -0.5, False), (-0.5, 0.5, False), (0.5, 0.5, True), (-0.25, -0.25, True)],
)
def test_a_slice_may_lose_its_margin_and_no_more(north, south, passed):
    found = check(in_two_shops(north, south), "slices")
    assert found.passed is passed
    assert f"shop={'north' if north <= south else 'south'}, {min(north, south):+.4f}" in found.detail


def test_a_slice_counts_from_its_least_rows_on():
    held = holdout_of(3).with_columns(shop=pl.Series(["north"] * 5 + ["south"]))
    for least, says in ((5, "shop=north"), (6, "no slice has 6 rows")):
        verdict = judged([1.0] * 3, [1.0] * 3, holdout=held, min_slice_rows=least)
        assert says in check(verdict, "slices").detail
        assert check(verdict, "slices").passed


@pytest.mark.parametrize("outcome", [True, False])
def test_a_slice_of_one_class_has_no_auc_and_is_not_judged(outcome):
    """The north's rows all have one outcome; in the south the challenger ranks as the champion does."""
    held = pl.concat([holdout_of(3, 4), holdout_of(3, 4, shop="south")])
    held = held.with_columns(pl.Series(TARGET, [outcome] * 12 + [True, False, True, False] * 3))
    scores = np.array([0.9, 0.1, 0.8, 0.2] * 6)
    policy = case(metric="auc", min_rows=1, min_blocks=2, min_slice_rows=12)
    verdict = gate_challenger(policy, held, scores, scores, np.full(24, 0.5), data_commit="c0ffee", seed=1)
    assert "auc gains least in shop=south, +0.0000" in check(verdict, "slices").detail


@pytest.mark.parametrize(
    ("ours", "theirs", "policy", "passed"),
    [
        (0.6, 0.5, {"max_calibration_error": 0.11, "calibration_slack": 0.0}, True),
        (0.6, 0.5, {"max_calibration_error": 0.09, "calibration_slack": 0.0}, False),
        (0.6, 0.58, {"max_calibration_error": 0.05, "calibration_slack": 0.03}, True),
        (0.6, 0.58, {"max_calibration_error": 0.05, "calibration_slack": 0.01}, False),
        (0.75, 0.5, {"max_calibration_error": 0.25, "calibration_slack": 0.0}, True),  # as large as may be
    ],
)
def test_calibration_may_be_off_by_the_most_allowed_or_by_the_slack_above_the_references(ours, theirs, policy, passed):
    """Half of the outcomes are true, so that one score for all rows is off by its distance from a half."""
    held = holdout_of(3, 4).with_columns(pl.Series(TARGET, [True, False] * 6))
    made = case(min_rows=1, min_blocks=2, **policy)
    scores = [np.full(12, score) for score in (ours, theirs, 0.9)]
    verdict = gate_challenger(made, held, *scores, data_commit="c0ffee", seed=1)
    assert check(verdict, "calibration").passed is passed


def test_evidence_that_is_just_enough_is_enough():
    enough = judged([1.0] * 3, [1.0] * 3, min_rows=6, min_blocks=3)
    assert enough.promoted
    assert check(enough, "rows").detail == "6 rows, at least 6 wanted"
    assert failed(judged([1.0] * 3, [1.0] * 3, min_rows=7, min_blocks=4)) == ["rows", "blocks"]
    assert failed(judged([1.0], [1.0], min_blocks=0)) == ["blocks", "blocks"]  # two, whatever the policy says


def test_a_row_as_new_as_the_newest_seen_is_counted_as_seen():
    told = judged([1.0] * 3, [1.0] * 3, seen_until=START + timedelta(days=1))
    assert check(told, "unseen").detail.startswith("4 of 6 rows are not newer than 2024-01-02 00:00")
    assert judged([1.0] * 3, [1.0] * 3, seen_until=START - timedelta(days=1)).promoted


def test_a_regressions_scores_may_be_any_numbers():
    verdict = judged([-1.5] * 3, [2.5] * 3)
    assert check(verdict, "complete").passed
    assert verdict.interval == (1.0, 1.0)


@pytest.mark.parametrize(("sum_", "complete"), [(1.0, True), (1.0009, True), (1.002, False), (0.998, False)])
def test_the_probabilities_of_several_classes_sum_to_1_within_a_thousandth(sum_, complete):
    rows = parts("multiclass").holdout
    even = np.tile([0.2, 0.3, 0.5], (rows.height, 1))
    odd = even.copy()
    odd[3, 2] += sum_ - 1
    told = judge(odd, even, kind="multiclass", baseline=even)
    assert check(told, "complete").passed is complete
    assert ("do not sum to 1" in told.why) is not complete


def test_a_refusal_gives_the_first_check_that_failed_and_a_promotion_its_rule():
    refused = judged([2.0] * 3, [1.0] * 3, 1.5, min_rows=100)
    assert [each.name for each in refused.checks if not each.passed] == ["rows", "baseline", "non_inferiority"]
    assert refused.why == "refused: not enough evidence: 6 rows, at least 100 wanted"
    promoted = judged([1.0] * 3, [2.0] * 3)
    assert promoted.why == f"promoted: {check(promoted, 'non_inferiority').detail}"
    assert "mae 1.0000 against the champion's 2.0000: the gain of +1.0000 is surely above" in promoted.why

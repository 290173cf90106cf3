"""The interval of a gain over few blocks: the widest of three, each computed here by hand or in another way."""

import numpy as np
import pytest

from tasks.evaluation import intervals
from tasks.evaluation.intervals import block_interval

RARE_LOSS = np.array([1.0] * 7 + [-7.0])  # mean 0, standard error 1; third moment -42, second 7: skewness -2.268
SKEW_OF_MEAN = -42 / 7**1.5 / 8**0.5
NEARLY_ALIKE = np.array([0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, -8.0])


def interval(gains, *, weights=None, alpha=0.05, seed=1):
    return block_interval(np.ones(len(gains)) if weights is None else np.array(weights), np.asarray(gains), alpha, seed)


def test_gains_without_skew_take_students_t_at_a_third_of_the_level():
    gains = [1.5, -0.5] * 5  # mean 0.5, standard error 1/3
    reach = 2.9333 / 3  # t of 9 degrees of freedom at 1 - 0.05 / 6
    assert interval(gains) == pytest.approx((0.5 - reach, 0.5 + reach), abs=1e-4)
    nearer = 2.0855 / 3  # at 1 - 0.2 / 6
    assert interval(gains, alpha=0.2) == pytest.approx((0.5 - nearer, 0.5 + nearer), abs=1e-4)


def test_a_rare_loss_takes_the_lower_end_to_where_halls_statistic_is_t():
    low, high = interval(RARE_LOSS)
    z, a = -low, SKEW_OF_MEAN
    assert z + a * z**2 / 3 + a**2 * z**3 / 27 + a / 6 == pytest.approx(3.1276, abs=1e-4)  # t of 7 at 1 - 0.05 / 6
    assert low == pytest.approx(-8.1313, abs=1e-4)
    assert high == pytest.approx(3.1276, abs=1e-4)  # the skewness would draw it in to 1.88; the widest counts


def bootstrapped(gains, share):
    """A quantile of the studentised bootstrap, drawn one by one."""
    rng, told = np.random.default_rng(99), []
    for _ in range(4000):
        drawn = rng.choice(gains, len(gains))
        if np.ptp(drawn) > 0:
            told.append((drawn.mean() - np.mean(gains)) / (drawn.std(ddof=1) / len(gains) ** 0.5))
    return np.quantile(told, share)


def test_where_a_resample_can_miss_the_one_block_that_loses_the_bootstrap_reaches_furthest():
    low, _ = interval(NEARLY_ALIKE)
    error = NEARLY_ALIKE.std(ddof=1) / 8**0.5
    reach = (NEARLY_ALIKE.mean() - low) / error
    assert reach == pytest.approx(bootstrapped(NEARLY_ALIKE, 0.975), rel=0.1)
    assert reach > 100  # t says 3.1, Hall 8.1


@pytest.mark.parametrize("gains", [RARE_LOSS, NEARLY_ALIKE], ids=["Hall", "bootstrap"])
def test_turned_gains_have_the_turned_interval(gains):
    low, high = interval(gains)
    assert interval(-gains) == pytest.approx((-high, -low))


@pytest.mark.parametrize("gains", [RARE_LOSS, NEARLY_ALIKE, np.arange(3.0) ** 2], ids=["Hall", "bootstrap", "three"])
def test_the_unit_of_the_gain_does_not_matter(gains):
    assert interval(gains * 1e-4) == pytest.approx([end * 1e-4 for end in interval(gains)])
    assert interval(gains + 5) == pytest.approx([end + 5 for end in interval(gains)])


def test_gains_that_are_all_alike_leave_no_doubt():
    assert interval([0.25] * 6) == (0.25, 0.25)


def test_a_block_counts_by_its_rows(monkeypatch):
    """Gains 4 and 0 of 1 and 3 rows: mean 1, and the error is the root of (3^2 + 3^2) * 2 / 1 over 4 rows, 1.5."""
    monkeypatch.setattr(intervals, "MANY_BLOCKS", 1)  # t alone, so that it is seen
    reach = 12.7062 * 1.5  # t of 1 degree of freedom
    assert interval([4.0, 0.0], weights=[1.0, 3.0]) == pytest.approx((1 - reach, 1 + reach), abs=1e-3)


def test_rows_of_a_block_count_in_the_skewness_too():
    """One row that gains 9 beside nine that gain nothing: as far from symmetric as 9, 0, ..., 0 weighed alike."""
    low, high = interval([9.0, 0.0, 0.0], weights=[1.0, 4.0, 4.0])
    mean, error = 1.0, (8**2 + 4**2 + 4**2) ** 0.5 * 1.5**0.5 / 9
    a = (8**3 - 2 * 4**3) / 3 / ((8**2 + 2 * 4**2) / 3) ** 1.5 / 3**0.5
    z = (mean - high) / error
    assert z + a * z**2 / 3 + a**2 * z**3 / 27 + a / 6 == pytest.approx(-7.6488, abs=1e-3)  # t of 2 at 1 - 0.05 / 6
    assert low == pytest.approx(mean - 7.6488 * error, abs=1e-3)


def test_more_than_two_hundred_blocks_take_t_alone():
    def reach(gains):
        low, high = interval(gains)
        assert (low + high) / 2 == pytest.approx(np.mean(gains))
        return (high - low) / 2 / (np.std(gains, ddof=1) / len(gains) ** 0.5)

    assert reach([1.0, -1.0] * 100 + [0.0]) == pytest.approx(1.9719, abs=1e-4)  # t of 200 at 0.975
    assert reach([1.0, -1.0] * 100) == pytest.approx(2.4141, abs=1e-3)  # t of 199 at 1 - 0.05 / 6


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

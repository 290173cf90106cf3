"""Confidence intervals of a mean gain over blocks of rows that depend on each other."""

from __future__ import annotations

from typing import Any

import numpy as np

DRAWS = 1999

MANY_BLOCKS = 200

RESERVE = 3  # the part of the level that few blocks get: the rest is kept for skewness that they do not show


def block_interval(weights: np.ndarray, gains: np.ndarray, alpha: float, seed: int) -> tuple[float, float]:
    """Confidence interval of the mean gain over blocks of rows that depend on each other.

    At each end the widest of three: Student's t over blocks, the same t with the gains' skewness taken out by Hall's
    cubic, and the studentised paired bootstrap of blocks. With few blocks the percentile and BCa intervals are far too
    narrow, and even so a skewed gain (a model that fails on rare days) looks better than it is in most samples, so the
    first two are taken at a third of the level; the benchmark of the gate measures what is left. From 200 blocks on, t
    alone, for all agree.

    Args:
        weights: Rows in each block, shape (blocks,).
        gains: Mean gain of each block, shape (blocks,).
        alpha: 1 minus the level, for example .05.
        seed: Draws the bootstrap.

    Returns:
        Lower and upper end; the level is 1 - `alpha` or above.

    References:
        Ibragimov and Müller, t-statistic based correlation and heterogeneity robust inference (2010); Hall, On the removal
            of skewness by transformation (1992); Efron and Tibshirani, An introduction to the bootstrap (1993), chapter 12.
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    mean, error = _mean_and_error(weights, gains)
    if error == 0 or gains.size > MANY_BLOCKS:
        return student_interval(weights, gains, alpha)
    t = float(stdtrit(gains.size - 1, 1 - alpha / 2 / RESERVE))
    skew = _skew(weights * (gains - mean))
    drawn = np.random.default_rng(seed).integers(0, gains.size, (DRAWS, gains.size))
    means, errors = _mean_and_error(weights[drawn], gains[drawn])
    studentised = (means - mean)[errors > 0] / errors[errors > 0]
    low = max(t, _unskewed(t, skew), float(np.quantile(studentised, 1 - alpha / 2)))
    high = max(t, -_unskewed(-t, skew), float(-np.quantile(studentised, alpha / 2)))
    return float(mean - low * error), float(mean + high * error)


def student_interval(weights: np.ndarray, gains: np.ndarray, alpha: float) -> tuple[float, float]:
    """Student's t interval of the mean gain over blocks, which takes the blocks' gains as they are.

    It is far more powerful than `block_interval` on few blocks. Against a constant that is enough: a model that has learned
    nothing loses to the constant on average, so that wrong promotions stay rarer than the level.

    Args:
        weights: Rows in each block, shape (blocks,).
        gains: Mean gain of each block, shape (blocks,).
        alpha: 1 minus the level, for example .05.

    Returns:
        Lower and upper end.
    """
    from scipy.special import stdtrit

    mean, error = _mean_and_error(weights, gains)
    reach = float(stdtrit(gains.size - 1, 1 - alpha / 2)) * error
    return float(mean - reach), float(mean + reach)


def _skew(deviations: np.ndarray) -> float:
    """Skewness over the square root of how many there are: that of their mean."""
    return float((deviations**3).mean() / (deviations**2).mean() ** 1.5 / deviations.size**0.5)


def _unskewed(t: float, skew: float) -> float:
    """Where Hall's transformed statistic, z + skew z^2 / 3 + skew^2 z^3 / 27 + skew / 6, equals t."""
    if abs(skew) < 1e-6:
        return t
    return float(3 / skew * (np.cbrt(1 + skew * (t - skew / 6)) - 1))


def _mean_and_error(weights: np.ndarray, gains: np.ndarray) -> tuple[Any, Any]:
    """Weighted mean over the last axis and its standard error from the spread between blocks."""
    total, count = weights.sum(axis=-1), gains.shape[-1]
    mean = (weights * gains).sum(axis=-1) / total
    spread = (weights * (gains - mean[..., None])) ** 2
    return mean, np.sqrt(spread.sum(axis=-1) * count / (count - 1)) / total

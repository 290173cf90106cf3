"""The mean of a metric over blocks, with an interval: how sure a number is where rows of one block depend on each other."""

from __future__ import annotations

import numpy as np
import polars as pl

from schemas.usecase import UseCase
from schemas.verdicts import BlockMean
from tasks.evaluation.intervals import block_interval
from tasks.evaluation.metrics import block_metric


def block_mean(use_case: UseCase, rows: pl.DataFrame, metric: str, level: float) -> BlockMean | None:
    """The mean of one metric over the blocks of some rows, weighted by rows, and its interval.

    Of a metric that is a mean over rows (log_loss, brier, error_rate, mae) it is the metric itself; of others (auc, rmse,
    r2) it is the mean of what each block alone has.

    Args:
        use_case: Says which metrics there are, and the seed of the bootstrap.
        rows: Made by `with_scores`, with `_block`.
        metric: Name of the metric.
        level: Share of the intervals meant to hold the mean, 0 to 1.

    Returns:
        The mean and its interval by `block_interval`; None where fewer than two blocks have a finite value.
    """
    blocks = block_metric(use_case, rows, metric).drop_nulls()
    values, weights = blocks["value"].to_numpy(), blocks["rows"].to_numpy().astype(np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    low, high = block_interval(weights, values, 1 - level, use_case.training.seed)
    return BlockMean(value=float(np.average(values, weights=weights)), low=low, high=high)

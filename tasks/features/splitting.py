"""Cutting labelled rows by time into [ train | stopping | holdout ]: the same for a frame and for a commit's files."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl

from schemas.usecase import UseCase
from tasks.features.engineering import BLOCK, with_outcome
from tasks.features.keys import group_hash
from tasks.features.row_order import in_canonical_order
from tasks.timestamps import cast_like


class Parts3(NamedTuple):
    """Labelled rows, oldest first: to fit on, to stop early by, and to hold out for the gate."""

    train: pl.DataFrame
    stopping: pl.DataFrame
    holdout: pl.DataFrame


class Cuts(NamedTuple):
    """Which rows are held out, and which of the others early stopping reads: conditions on designed rows."""

    stopping: pl.Expr
    holdout: pl.Expr


def split_by_time(
    use_case: UseCase, frame: pl.DataFrame, *, after: datetime | None = None, held: pl.Series | None = None
) -> Parts3:
    """Cut the rows that have an outcome into [ train | stopping | holdout ], each in canonical order.

    Every row of the holdout is newer than every other row, and, where `after` is given (the newest event time a champion
    was fitted on), newer than that. Where blocks follow each other in time, a part begins with a whole block. Without
    event times a hash of the key decides, or `held` says what is held out, and `after` has no meaning. Parts may be empty.

    Args:
        use_case: The use case.
        frame: Designed rows with `_target`.
        after: Newest event time that a champion was fitted on; the holdout is newer. None for no champion.
        held: Hashes (`group_hash`) of the rows that are held out where there are no event times; None for a share of all.

    Returns:
        The three parts: what is fitted on, what stops the boosting, what the gate judges.
    """
    known = in_canonical_order(use_case, with_outcome(frame))
    stopping, holdout = known.select(**split_conditions(use_case, known.lazy(), after, held)._asdict())
    if use_case.time is None:
        return Parts3(known.filter(~holdout & ~stopping), known.filter(stopping), known.filter(holdout))
    middle, end = known.height - int(holdout.sum()), int(stopping.sum())  # in order of time: each part is one slice
    return Parts3(known[: middle - end], known[middle - end : middle], known[middle:])


def split_conditions(
    use_case: UseCase, known: pl.LazyFrame, after: datetime | None = None, held: pl.Series | None = None
) -> Cuts:
    """The cuts for rows that have an outcome, as `split_by_time` makes them. Reads event times and blocks only.

    Args:
        use_case: The use case.
        known: Designed rows that have an outcome.
        after: As in `split_by_time`.
        held: As in `split_by_time`.

    Returns:
        Two expressions, true for rows of `stopping` and of `holdout`.
    """
    if use_case.time is None:
        return _by_key(use_case, held)
    holdout = _newest(use_case.time, known, use_case.split.holdout_days)
    if after is not None:
        holdout &= pl.col(use_case.time) > cast_like(known.collect_schema()[use_case.time], after)
    stopping = _newest(use_case.time, known.filter(~holdout), use_case.split.stopping_days)
    return Cuts(stopping & ~holdout, holdout)


def _newest(time: str, rows: pl.LazyFrame, days: int) -> pl.Expr:
    """Which rows lie in the newest days: from the first block that begins in them, where blocks follow each other."""
    spans = rows.group_by(BLOCK).agg(first=pl.col(time).min(), last=pl.col(time).max()).collect().sort("first")
    if spans.is_empty():
        return pl.lit(False)
    cutoff = spans["last"].max() - timedelta(days=days)  # type: ignore[operator]
    starts = spans.filter(pl.col("first") > cutoff)["first"]
    whole = not starts.is_empty() and not (spans["first"] <= spans["last"].shift(1)).any()
    return pl.col(time) >= starts[0] if whole else pl.col(time) > cutoff


def fold_conditions(use_case: UseCase, fold: int) -> Cuts:
    """The cuts of one fold where a hash of the key splits: fold 0 is the split of `split_by_time`, the others go round.

    Args:
        use_case: The use case, without event times.
        fold: Which of the `1 / holdout_share` folds is held out, from 0.

    Returns:
        Two expressions, true for rows of `stopping` and of `holdout`.
    """
    share, split = group_hash(use_case) / 2.0**64, use_case.split
    turned = (share - fold * split.holdout_share) % 1.0
    stopping = turned.is_between(split.holdout_share, split.holdout_share + split.stopping_share, closed="left")
    held = turned < split.holdout_share
    return Cuts(stopping & ~held, held)


def _by_key(use_case: UseCase, hashes: pl.Series | None) -> Cuts:
    cuts = fold_conditions(use_case, 0)
    if hashes is None:
        return cuts
    held = group_hash(use_case).is_in(hashes.implode())
    return Cuts(cuts.stopping & ~held, held)

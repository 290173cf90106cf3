"""The numbers a team argues about, at first scaled to how many rows there are and how long they span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.scaffold.columns import Column
from deployments.scaffold.targets import Outcome
from deployments.scaffold.times import Clock

SHARE = 0.15
BLOCKS = 5
SLICES, SLICE_VALUES = 2, 8


@dataclass(frozen=True)
class Policies:
    """Arguments of Split, Training, GatePolicy and MonitorPolicy as code, and the slices."""

    split: dict[str, str]
    training: dict[str, str]
    gate: dict[str, str]
    monitor: dict[str, str]
    slices: tuple[str, ...]


def policies_for(outcome: Outcome, clock: Clock | None, columns: Sequence[Column], rows: int) -> Policies:
    """Policies for data of this size and span."""
    labelled = outcome.profile.values.drop_nulls().len()
    holdout = _holdout(clock) if clock else 0
    blocks = clock.blocks_of(holdout) if clock else BLOCKS
    return Policies(
        split=_split(clock, holdout),
        training=_training(labelled),
        gate=_gate(outcome, int(SHARE * labelled), blocks),
        monitor=_monitor(outcome, rows, clock),
        slices=_slices(columns, rows),
    )


def _split(clock: Clock | None, holdout: int) -> dict[str, str]:
    """The newest 15% of the rows for the gate, as many before them to stop boosting, in whole days."""
    if clock is None:
        return {}
    both = max(clock.days_of_newest(2 * SHARE), holdout + 1)
    return {"holdout_days": str(holdout), "stopping_days": str(both - holdout)}


def _holdout(clock: Clock) -> int:
    """Days that hold 15% of the rows, on five different days if a third of all are as many."""
    blocks = min(BLOCKS, len(clock.event_days) // 3)
    return max(clock.days_of_newest(SHARE), clock.days_of_blocks(blocks))


def _training(rows: int) -> dict[str, str]:
    depth, weight = (6, 20) if rows >= 50_000 else (5, 5) if rows >= 5_000 else (4, 2)
    tree = f'"max_depth": {depth}, "min_child_weight": {weight}'
    params = f'{{{tree}, "learning_rate": 0.1, "subsample": 0.8, "colsample_bytree": 0.8}}'
    return {"params": params, "rounds": "400", "stopping_rounds": "30"}


def _gate(outcome: Outcome, holdout_rows: int, blocks: int) -> dict[str, str]:
    """The metric of the kind; a margin of half a percent of what a guess would lose; half of the expected evidence."""
    spread = _spread(outcome)
    needed = _round(max(20, min(1000, holdout_rows // 2)))
    policy = {"metric": '"log_loss"', "margin": "0.005"}
    if spread:
        policy = {"metric": '"rmse"', "margin": _short(0.005 * spread), "slice_margin": _short(0.05 * spread)}
    policy |= {"min_rows": str(needed), "min_slice_rows": str(max(20, min(200, needed // 2)))}
    return policy | {"min_blocks": str(min(BLOCKS, blocks))}


def _monitor(outcome: Outcome, rows: int, clock: Clock | None) -> dict[str, str]:
    policy = {"min_rows": str(max(30, min(200, _round(rows // 20))))}
    if spread := _spread(outcome):
        policy["loss_tolerance"] = _short(0.02 * spread)
    if clock:
        policy["max_age_days"] = str(max(28, min(180, clock.days // 4)))
    return policy


def _spread(outcome: Outcome) -> float:
    """Standard deviation of a number to be predicted, 0 for classes."""
    if outcome.kind != "regression":
        return 0.0
    return float(outcome.profile.values.cast(float).drop_nans().std() or 0.0)  # type: ignore[arg-type]


def _round(rows: int) -> int:
    """To one significant digit, down."""
    power = int(10 ** (len(str(max(rows, 1))) - 1))
    return rows // power * power


def _short(value: float) -> str:
    """Two significant digits, never as a power of ten."""
    return f"{float(f'{value:.2g}'):.12f}".rstrip("0") + ("0" if float(f"{value:.2g}").is_integer() else "")


def _slices(columns: Sequence[Column], rows: int) -> tuple[str, ...]:
    """The first categories of few values that each have a fair share of the rows."""
    few = [c for c in columns if c.role == "feature" and c.profile.categories and c.profile.distinct <= SLICE_VALUES]
    return tuple(c.name for c in few if c.profile.counts[-1][1] >= max(20, rows // 50))[:SLICES]

"""The numbers a team argues about, at first scaled to how many rows there are and how long they span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.scaffold.contract_columns import Column
from deployments.scaffold.target_detection import Outcome
from deployments.scaffold.time_detection import Clock

SHARE = 0.15
# From so many rows on: depth, learning rate, min_child_weight, sampled share, L2.
TREES = ((50_000, 6, 0.1, 20, 0.8, 1), (5_000, 6, 0.1, 1, 0.8, 1), (0, 3, 0.05, 1, 0.7, 2))
BLOCKS = 5
# Below so many rows a larger part is held out, on more days: a gate of thirty rows or five days sees only what is plain.
FEW_WITH_TIME, FEW_WITHOUT, LARGE_SHARE, MANY_DAYS = 1_000, 400, 0.3, 10
KEY_SHARE, STOPPING_SHARE = 0.2, 0.15  # Split's own, where a hash of the key splits
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
    share = _share(clock, labelled)
    holdout = _holdout(clock, share) if clock else 0
    blocks = clock.blocks_of(holdout) if clock else BLOCKS
    return Policies(
        split=_split(clock, share, holdout),
        training=_training(labelled),
        gate=_gate(outcome, int(share * labelled), blocks),
        monitor=_monitor(outcome, rows, clock, int(SHARE * rows)),
        slices=_slices(columns, rows),
    )


def _share(clock: Clock | None, labelled: int) -> float:
    """The part of the rows that is held out for the gate."""
    few = FEW_WITHOUT if clock is None else FEW_WITH_TIME
    return LARGE_SHARE if labelled < few else KEY_SHARE if clock is None else SHARE


def _split(clock: Clock | None, share: float, holdout: int) -> dict[str, str]:
    """The newest rows for the gate, 15% of all before them to stop boosting, in whole days."""
    if clock is None:
        return {"holdout_share": _short(share), "stopping_share": _short(STOPPING_SHARE)} if share != KEY_SHARE else {}
    both = max(clock.days_of_newest(share + SHARE), holdout + 1)
    return {"holdout_days": str(holdout), "stopping_days": str(both - holdout)}


def _holdout(clock: Clock, share: float) -> int:
    """Days that hold the share of the rows, on several different days if a third of all are as many."""
    blocks = min(MANY_DAYS if share > SHARE else BLOCKS, len(clock.event_days) // 3)
    return max(clock.days_of_newest(share), clock.days_of_blocks(blocks))


def _training(rows: int) -> dict[str, str]:
    """The fewer the rows, the smaller the trees, the slower the learning, the stronger the regularisation."""
    depth, rate, weight, share, ridge = next(parameters for least, *parameters in TREES if rows >= least)
    tree = f'"max_depth": {depth}, "learning_rate": {rate}, "min_child_weight": {weight}, "reg_lambda": {ridge}'
    params = f'{{{tree}, "subsample": {share}, "colsample_bytree": {share}}}'
    return {"params": params, "rounds": "1000", "stopping_rounds": "50"}


def _gate(outcome: Outcome, holdout_rows: int, blocks: int) -> dict[str, str]:
    """The metric of the kind; margins as wide as so few rows can tell models apart; half of the expected evidence."""
    rows, spread = max(holdout_rows, 1), _spread(outcome)
    needed = _round(max(10, min(1000, rows // 2)))
    slice_rows = max(20, min(200, needed // 2))
    counts = {"min_rows": str(needed), "min_blocks": str(min(BLOCKS, blocks)), "min_slice_rows": str(slice_rows)}
    counts["baseline"] = '"constant"'
    slice_margin = _clamp(0.6 / slice_rows**0.5, 0.05, 0.15)  # what so few rows are off by chance alone
    if spread:
        margin = spread * _clamp(0.15 / rows**0.5, 0.005, 0.015)
        return {"metric": '"rmse"', "margin": _short(margin), "slice_margin": _short(slice_margin * spread), **counts}
    margins = {
        "margin": _clamp(0.4 / rows**0.5, 0.005, 0.03),
        "slice_margin": slice_margin,
        # What ten bins of so few rows are off by chance alone, and a little more.
        "max_calibration_error": _clamp(0.05 + 1.6 / rows**0.5, 0.1, 0.4),
    }
    return {"metric": '"log_loss"', **{name: _short(margin) for name, margin in margins.items()}, **counts}


def _clamp(value: float, least: float, most: float) -> float:
    return max(least, min(most, value))


def _monitor(outcome: Outcome, rows: int, clock: Clock | None, window: int) -> dict[str, str]:
    """A drift threshold that a window of few rows does not cross by chance alone."""
    policy = {"min_rows": str(max(30, min(200, _round(rows // 20))))}
    if (threshold := _clamp(1.6 / max(window, 1) ** 0.5, 0.1, 0.25)) > 0.1:
        policy["threshold"] = _short(threshold)
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

"""Whether one model may take the place of another: two score columns compared on the same labelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import polars as pl
from prefect import task

from schemas.errors import UsageError
from schemas.usecase import GatePolicy
from schemas.verdicts import GateVerdict, Kind
from tasks.evaluation import gate_challenger
from tasks.features import TARGET, numeric_target
from tasks.standalone.arguments import require_choice
from tasks.standalone.labelled_rows import Labelled, Scores, labelled_rows
from tasks.standalone.task_options import STANDALONE_TASK_OPTIONS

Metric = Literal["log_loss", "auc", "rmse", "mae"]


def gate_scores(
    rows: pl.DataFrame,
    label: str,
    challenger: Scores,
    champion: Scores | None,
    *,
    baseline: Scores | None = None,
    metric: Metric | None = None,
    rule: Literal["superiority", "non_inferiority"] = "non_inferiority",
    margin: float = 0.005,
    alpha: float = 0.05,
    min_rows: int = 500,
    min_blocks: int = 5,
    time: str | None = None,
    block: str | None = None,
    slices: Sequence[str] = (),
    slice_margin: float = 0.05,
    min_slice_rows: int = 200,
    max_calibration_error: float = 0.10,
    calibration_slack: float = 0.02,
    kind: Kind | None = None,
    threshold: float = 0.5,
    seed: int = 2013,
) -> GateVerdict:
    """Compare a challenger's scores with a champion's, block by block, and say whether it may replace the champion.

    The rows must be ones that neither model has seen. The gate fails closed: too few rows, a score that is not finite or no
    number refuses. All checks stand in the verdict with their details: complete, rows, blocks, baseline, the rule, slices,
    calibration. The interval of the gain is that of `evaluate_scores`, two-sided at level 1 - `alpha`.

    Args:
        rows: Labelled rows with the scores of both; rows whose label is null count nowhere.
        label: Column of the outcome: Boolean or 0 and 1; a number; or a class's name.
        challenger: Column of its scores; for several classes {class: column}.
        champion: The same of the champion; None: the baseline takes its place.
        baseline: Scores of a simple model that the challenger must beat. None: the best constant on these very rows, their
            base rate or mean, which is harder to beat than the constant of any earlier rows.
        metric: log_loss or auc; rmse or mae for a regression. None: log_loss or rmse.
        rule: `superiority`: the gain's interval lies above 0. `non_inferiority`: above -`margin`.
        margin: In the metric's unit.
        alpha: One minus the level of the interval.
        min_rows: Rows that a verdict needs.
        min_blocks: Blocks that it needs, at least 2.
        time: Column of the event time, Date or Datetime; its day is the block where no `block` is named.
        block: Column whose values name blocks of rows that depend on each other.
        slices: Columns no value of which may lose more than `slice_margin`.
        slice_margin: In the metric's unit.
        min_slice_rows: Rows that a slice needs to be looked at.
        max_calibration_error: Of the challenger, at most, for classes; or
        calibration_slack: so much above the champion's on the same rows, where that is more.
        kind: binary, multiclass or regression; None: as label and scores say.
        threshold: Probability from which a row counts as positive; no metric of the gate reads it.
        seed: Of the bootstrap in the interval.

    Returns:
        `promoted`, `why` in a sentence, the metric of each side, the `interval` of the gain, `checks`.

    Raises:
        UsageError: For a column that is missing or of a wrong type, a metric that does not fit the label, an unknown rule.
        NotEnoughEvidence: Where there are no rows, or none has a label.
    """
    require_choice("rule", rule, ("superiority", "non_inferiority"))
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is {alpha}; a share between 0 and 1 is wanted")
    policy = GatePolicy(
        metric=metric or "log_loss",
        rule=rule,
        margin=margin,
        alpha=alpha,
        min_rows=min_rows,
        min_blocks=min_blocks,
        slice_margin=slice_margin,
        min_slice_rows=min_slice_rows,
        max_calibration_error=max_calibration_error,
        calibration_slack=calibration_slack,
    )
    score_columns = [scores for scores in (challenger, champion, baseline) if scores is not None]
    labelled = labelled_rows(
        rows, label, score_columns, kind=kind, threshold=threshold, time=time, block=block, slices=slices, gate=policy
    )
    return _verdict(labelled, challenger, champion, baseline, metric, seed)


def _verdict(
    labelled: Labelled,
    challenger: Scores,
    champion: Scores | None,
    baseline: Scores | None,
    metric: Metric | None,
    seed: int,
) -> GateVerdict:
    case, holdout = labelled.use_case, labelled.designed
    fitting: tuple[Metric, Metric] = ("rmse", "mae") if case.target.kind == "regression" else ("log_loss", "auc")
    require_choice("metric", metric or fitting[0], fitting)
    judged = replace(case, gate=replace(case.gate, metric=metric or fitting[0]))
    return gate_challenger(
        judged,
        holdout,
        labelled.scores(challenger),
        labelled.scores(champion) if champion is not None else None,
        labelled.scores(baseline) if baseline is not None else _constant(labelled),
        data_commit=None,
        seed=seed,
        constant_scores=None if baseline is None else _constant(labelled),
    )


def _constant(labelled: Labelled) -> np.ndarray:
    """The constant that fits these rows best: their base rates or their mean."""
    target = labelled.use_case.target
    y = numeric_target(target.kind, labelled.designed[TARGET])
    if target.kind != "multiclass":
        return np.full(y.size, y.mean())
    return np.tile(np.bincount(y.astype(int), minlength=len(target.classes)) / y.size, (y.size, 1))


gate_scores_task = task(**STANDALONE_TASK_OPTIONS)(gate_scores)

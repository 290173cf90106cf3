"""How good scores are, on rows whose labels are known."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from prefect import task

from schemas.errors import UsageError
from schemas.usecase import GatePolicy, Training
from schemas.verdicts import Kind, ScoreEvaluation
from tasks import evaluation
from tasks.evaluation import block_mean, metric_expressions, score_flaw, with_scores
from tasks.standalone.labelled_rows import Labelled, Scores, labelled_rows
from tasks.standalone.task_options import STANDALONE_TASK_OPTIONS


def evaluate_scores(
    rows: pl.DataFrame,
    label: str,
    scores: Scores,
    *,
    time: str | None = None,
    block: str | None = None,
    slices: Sequence[str] = (),
    kind: Kind | None = None,
    threshold: float = 0.5,
    min_slice_rows: int = 200,
    level: float = 0.9,
    seed: int = 2013,
) -> ScoreEvaluation:
    """Metrics of scores on labelled rows, with intervals over blocks of rows that depend on each other.

    binary: auc, log_loss, error_rate, brier, base_rate, calibration_error; multiclass: auc (mean of one against the rest),
    log_loss, accuracy, calibration_error; regression: rmse, mae, r2. Rows of one day share its weather, its prices, its
    outage: an interval over rows would be too narrow, so it is one over blocks (Ibragimov and Müller 2010; Hall 1992;
    Efron and Tibshirani 1993). The calibration error is that of Naeini et al. (AAAI 2015) over ten bins of equal count.

    Args:
        rows: Rows with a label and scores; those whose label is null count nowhere.
        label: Column of the outcome: Boolean or 0 and 1; a number; or a class's name.
        scores: The column of the score, a probability or a predicted value; for several classes {class: column}.
        time: Column of the event time, Date or Datetime; its day is the block where no `block` is named.
        block: Column whose values name the blocks. With neither, 20 random groups of rows stand for them.
        slices: Columns by whose values the metrics are given as well.
        kind: binary, multiclass or regression; None: as label and scores say.
        threshold: Probability from which a row counts as positive, for the error rate.
        min_slice_rows: Rows that a slice needs.
        level: Share of the intervals meant to hold the mean, between 0 and 1.
        seed: Of the bootstrap in the intervals.

    Returns:
        `metrics` over all rows; `block_means` by metric with `value`, `low` and `high`; `slices`; `rows`, `blocks` and
        `window`. A metric that is undefined, such as an AUC of one class, is left out.

    Raises:
        UsageError: For a column that is missing or of a wrong type, and for scores that are not finite or no probabilities.
        NotEnoughEvidence: Where there are no rows, or none has a label.
    """
    if not 0 < level < 1:
        raise UsageError(f"level is {level}; a share between 0 and 1 is wanted")
    labelled = labelled_rows(
        rows,
        label,
        [scores],
        kind=kind,
        threshold=threshold,
        time=time,
        block=block,
        slices=slices,
        gate=GatePolicy(min_slice_rows=min_slice_rows),
        training=Training(seed=seed),
    )
    return _evaluation(labelled, scores, level)


def _evaluation(labelled: Labelled, scores: Scores, level: float) -> ScoreEvaluation:
    case, values = labelled.use_case, labelled.scores(scores)
    if flaw := score_flaw(case, labelled.designed.height, values, f"column {scores!r}"):
        raise UsageError(f"rows: {flaw}")
    evaluated = evaluation.evaluate(case, "", "", labelled.designed, values)
    scored = with_scores(case, labelled.designed, values)
    means = {name: block_mean(case, scored, name, level) for name in metric_expressions(case)}
    return ScoreEvaluation(
        rows=evaluated.rows,
        blocks=evaluated.blocks,
        window=evaluated.window,
        metrics=evaluated.metrics,
        block_means={name: mean for name, mean in means.items() if mean is not None},
        level=level,
        slices=evaluated.slices,
    )


evaluate_scores_task = task(**STANDALONE_TASK_OPTIONS)(evaluate_scores)

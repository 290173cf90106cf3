"""Train XGBoost on anybody's frame, cut by time: fit on the oldest rows, stop by newer ones, measure on the newest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import polars as pl
from prefect import task

from schemas.errors import NotEnoughEvidence, UsageError
from schemas.usecase import Split, Training, UseCase
from schemas.verdicts import Kind
from tasks.features import split_by_time
from tasks.features.splitting import Parts3
from tasks.standalone.arguments import require_choice, require_columns, require_frame, require_share, require_time
from tasks.standalone.evaluate import evaluate_scores
from tasks.standalone.feature_columns import training_features
from tasks.standalone.labelled_rows import ROW, check_labels, designed_rows, frame_use_case, kind_of
from tasks.standalone.task_options import STANDALONE_TASK_OPTIONS
from tasks.standalone.trained_model import TrainedModel, predict_frame
from tasks.training import fit


def train_xgboost(
    rows: pl.DataFrame,
    target: str,
    *,
    time: str | None = None,
    features: Sequence[str] | None = None,
    key: Sequence[str] = (),
    kind: Kind | None = None,
    holdout_days: int = 14,
    stopping_days: int = 14,
    holdout_share: float = 0.2,
    stopping_share: float = 0.15,
    params: Mapping[str, Any] | None = None,
    rounds: int = 400,
    stopping_rounds: int = 20,
    calibration: Literal["none", "sigmoid"] = "none",
    threshold: float = 0.5,
    device: Literal["cpu", "cuda"] = "cpu",
    threads: int | None = None,
    seed: int = 2013,
) -> TrainedModel:
    """Fit a gradient-boosted model and measure it on rows that are newer than all that it was fitted on.

    The rows are cut in [ training | early stopping | holdout ], newest last; with event times a part begins with a whole
    day. Boosting goes on until the loss on the stopping rows has not fallen for `stopping_rounds` rounds. The same rows,
    parameters and seed give the same bytes on one machine, whatever the number of threads; with a `key` in any order of the
    rows. Boosting after Chen and Guestrin, XGBoost: a scalable tree boosting system (2016).

    Args:
        rows: Labelled rows; those whose target is null are left out.
        target: Column of the outcome. A Boolean, or whole numbers that are only 0 and 1: binary. Other numbers: regression.
            Text or categories: multiclass; the classes are an Enum's, or else the values, sorted.
        time: Column of the event time, Date or Datetime. None: the shares count, of the rows by a hash of their key.
        features: Columns that the model reads: numbers, Booleans, text, categories. None: all but target, time and key.
        key: Columns that together name a row. None: its place in the frame.
        kind: binary, multiclass or regression, where the target's type says another.
        holdout_days: The newest days, held out.
        stopping_days: The days before those, which stop the boosting.
        holdout_share: Share of the rows held out, 0 to 1, where there is no time.
        stopping_share: Share that stops the boosting, 0 to 1, where there is no time.
        params: XGBoost's parameters, such as `{"max_depth": 5}`; its objective, seed and device are set here.
        rounds: Most rounds of boosting.
        stopping_rounds: Rounds without a smaller loss before boosting ends.
        calibration: `sigmoid`: a logistic curve fitted on the stopping rows (Platt 1999; for several classes temperature
            scaling, Guo et al. 2017) is built into the model's leaves.
        threshold: Probability from which a row counts as positive, for the error rate.
        device: Where XGBoost computes.
        threads: Of XGBoost; None: all cores, or one where the rows are few.
        seed: Of XGBoost's sampling.

    Returns:
        The model's bytes (UBJSON, which `xgboost.Booster(model_file=...)` loads), `split_rows`, `evaluation` on the holdout,
        `importances` (shares of the gain), and the `holdout` rows with their scores.

    Raises:
        UsageError: For a column that is missing or of a wrong type, or a parameter that XGBoost refuses.
        NotEnoughEvidence: Where there are no rows, none has an outcome, a part of the split is empty, or the training rows
            hold one class only.
    """
    for name, share in (("holdout_share", holdout_share), ("stopping_share", stopping_share)):
        require_share(name, share)
    require_choice("calibration", calibration, ("none", "sigmoid"))
    require_choice("device", device, ("cpu", "cuda"))
    known = _known(rows, target, time, features, key)
    target_kind, classes = _target(known[target], kind)
    names = _features(known, target, time, features, key)
    prepared = known.with_columns(training_features(known, names))
    case = frame_use_case(
        prepared,
        target_kind,
        target,
        classes=classes,
        threshold=threshold,
        features=names,
        time=time,
        key=key,
        split=Split(
            holdout_days=holdout_days,
            stopping_days=stopping_days,
            holdout_share=holdout_share,
            stopping_share=stopping_share,
        ),
        training=Training(
            params=dict(params or {}), rounds=rounds, stopping_rounds=stopping_rounds, seed=seed, calibration=calibration
        ),
    )
    parts = _split(case, prepared)
    fitted = fit.fit_booster(case, parts.train, parts.stopping, device=device, threads=threads)
    return _measured(case, fitted, parts, known)


def _known(
    rows: pl.DataFrame, target: str, time: str | None, features: Sequence[str] | None, key: Sequence[str]
) -> pl.DataFrame:
    """The rows with an outcome, numbered."""
    require_frame(rows, "rows")
    require_columns(rows, [target, time, *(features or ()), *key], "rows")
    require_time(rows, time, "rows")
    known = rows.filter(pl.col(target).is_not_null())
    if known.is_empty():
        raise NotEnoughEvidence(f"rows: none of {rows.height:,} has an outcome in {target!r}")
    return known.drop(ROW, strict=False).with_row_index(ROW)


def _target(outcomes: pl.Series, kind: Kind | None) -> tuple[Kind, tuple[str, ...]]:
    target_kind = kind_of(outcomes, kind)
    classes: tuple[str, ...] = ()
    if target_kind == "multiclass":
        values = outcomes.dtype.categories if isinstance(outcomes.dtype, pl.Enum) else outcomes.unique().sort()
        classes = tuple(pl.Series(values).cast(pl.String))
    check_labels(outcomes, target_kind, classes)
    return target_kind, classes


def _features(
    rows: pl.DataFrame, target: str, time: str | None, features: Sequence[str] | None, key: Sequence[str]
) -> list[str]:
    apart = {target, time, ROW, *key}
    names = list(features) if features is not None else [name for name in rows.columns if name not in apart]
    if not names:
        raise UsageError("features: there is no column to learn from beside target, time and key")
    if target in names:
        raise UsageError(f"features: {target!r} is the target")
    return names


def _split(case: UseCase, rows: pl.DataFrame) -> Parts3:
    parts = split_by_time(case, designed_rows(case, rows).with_columns(rows[ROW]))
    if empty := [name for name, part in parts._asdict().items() if part.is_empty()]:
        sizes = ", ".join(f"{part.height:,} in {name}" for name, part in parts._asdict().items())
        raise NotEnoughEvidence(
            f"cannot train on {rows.height:,} rows: no row falls into {' and '.join(empty)} ({sizes}); give more days, or "
            "smaller holdout_days and stopping_days (without a time: shares)"
        )
    return parts


def _measured(case: UseCase, fitted: fit.Fitted, parts: Parts3, known: pl.DataFrame) -> TrainedModel:
    target = case.target
    bare = TrainedModel(
        model=fitted.model,
        kind=target.kind,
        target=target.name,
        classes=target.classes,
        features=tuple(case.features),
        threshold=target.threshold,
        rounds=fitted.best_rounds,
        importances=dict(fitted.importances),
        calibration=fitted.calibration,
        split_rows={name: part.height for name, part in parts._asdict().items()},
    )
    scored = predict_frame(bare, known[parts.holdout[ROW]].drop(ROW))
    evaluation = evaluate_scores(
        scored, target.name, bare.scores, time=case.time, kind=target.kind, threshold=target.threshold
    )
    return bare.with_holdout(scored, evaluation)


train_xgboost_task = task(**STANDALONE_TASK_OPTIONS)(train_xgboost)

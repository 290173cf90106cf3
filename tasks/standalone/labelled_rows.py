"""Labelled rows of anybody's frame, in the form in which the wings read them: a use case in memory, and designed rows.

What is predicted follows from the label's column and from how the scores are named:

    binary       a Boolean, or whole numbers that are only 0 and 1, and one score column: the probability of true, or 1
    regression   other numbers, and one score column: the predicted value
    multiclass   a score column for each class, {class: column}; labels are the classes' names
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from schemas.errors import NotEnoughEvidence, UsageError
from schemas.usecase import Input, Target, UseCase
from schemas.verdicts import Kind
from tasks.features import BLOCK, design, with_own_outcome
from tasks.standalone.arguments import (
    matrix_of,
    require_choice,
    require_columns,
    require_frame,
    require_numbers,
    require_time,
)

ROW = "_position"  # names the rows of a frame that has no key
NAME = "frame"  # of the use case in memory, in messages
KINDS = ("binary", "multiclass", "regression")

Scores = str | Mapping[str, str]  # one column, or for several classes a column by class


@dataclass(frozen=True)
class Labelled:
    """The rows of a frame that have a label: `source` as they came, `designed` with `_target` and `_block`, row by row.

    With event times both are in their order, which is what an estimator's halves are cut by.
    """

    use_case: UseCase
    source: pl.DataFrame
    designed: pl.DataFrame

    def scores(self, columns: Scores) -> np.ndarray:
        """Score columns as float64, shape (rows,) or (rows, classes). Null is NaN."""
        return matrix_of(self.source, score_columns(columns))


def score_columns(scores: Scores) -> tuple[str, ...]:
    """The names of score columns, in the order of the classes."""
    return (scores,) if isinstance(scores, str) else tuple(scores.values())


def frame_use_case(
    rows: pl.DataFrame,
    kind: Kind,
    label: str,
    *,
    classes: Sequence[str] = (),
    threshold: float = 0.5,
    features: Sequence[str] = (),
    time: str | None = None,
    block: str | None = None,
    key: Sequence[str] = (),
    slices: Sequence[str] = (),
    **policies: Any,
) -> UseCase:
    """A use case in memory that says of a frame's columns what ours say of an input's.

    Args:
        rows: The frame, with `_position` where it has no `key`.
        kind: binary, multiclass or regression.
        label: The column of the outcome.
        classes: Names of the classes, in order; none for other kinds.
        threshold: Of the probability from which a row counts as positive.
        features: Columns that the model reads.
        time: The event time.
        block: A column whose values name blocks of rows that depend on each other; None: see `features.design`.
        key: Columns that name a row.
        slices: Columns by whose values metrics are also given.
        policies: `split`, `training`, `gate` and `monitor` of a use case.

    Returns:
        The use case; its only input is the frame.
    """
    from schemas.pandera_models import contract_of_rows  # Pandera takes a second to import

    keys = [name for name in key or (ROW,) if name in rows.columns]
    contract = contract_of_rows({name: rows.schema[name] for name in (*keys, *([time] if time else []))}, keys)
    target = Target(kind=kind, name=label, value=_outcome(kind, label), classes=tuple(classes), threshold=threshold)
    return UseCase(
        name=NAME,
        question=f"What will {label} be?",
        inputs=(Input(name=NAME, contract=contract, time=time),),
        rows=NAME,
        target=target,
        features={name: pl.col(name) for name in features},
        block=pl.col(block) if block else None,
        slices=tuple(slices),
        **policies,
    )


def labelled_rows(
    rows: pl.DataFrame,
    label: str,
    scores: Sequence[Scores],
    *,
    kind: Kind | None = None,
    threshold: float = 0.5,
    features: Sequence[str] = (),
    time: str | None = None,
    block: str | None = None,
    slices: Sequence[str] = (),
    **policies: Any,
) -> Labelled:
    """The rows that have a label, ready to be measured.

    Args:
        rows: Any frame with the columns that the other arguments name.
        label: The column of the outcome; a row where it is null is left out.
        scores: What the models said, each one column or a column by class; all for the same classes.
        kind: What is predicted; None: as the label and the scores say.
        threshold: Of the probability from which a row counts as positive.
        features: Columns that a model of the loss reads.
        time: The event time; its UTC day is the block of a row where no `block` is named.
        block: A column whose values name blocks of rows that depend on each other.
        slices: Columns by whose values metrics are also given.
        policies: `split`, `training`, `gate` and `monitor` of a use case.

    Returns:
        The labelled rows, by event time where there is one.

    Raises:
        UsageError: For a column that is missing or of a wrong type, and labels that are none of the classes.
        NotEnoughEvidence: Where there are no rows, or none has a label.
    """
    require_frame(rows, "rows")
    names = [name for each in scores for name in score_columns(each)]
    require_columns(rows, [label, *names, time, block, *slices, *features], "rows")
    require_numbers(rows, names, "scores")
    require_time(rows, time, "rows")
    known = rows.filter(pl.col(label).is_not_null())
    if known.is_empty():
        raise NotEnoughEvidence(f"rows: none of {rows.height:,} has a label in {label!r}")
    classes = _classes(scores)
    target_kind = kind_of(known[label], kind or ("multiclass" if classes else None))
    if (target_kind == "multiclass") != bool(classes):
        raise UsageError(
            f"label {label!r} is {target_kind}: name scores as {{class: column}} for several classes, else one column"
        )
    check_labels(known[label], target_kind, classes)
    source = (known.sort(time, maintain_order=True) if time else known).drop(ROW, strict=False).with_row_index(ROW)
    case = frame_use_case(
        source,
        target_kind,
        label,
        classes=classes,
        threshold=threshold,
        features=features,
        time=time,
        block=block,
        slices=slices,
        **policies,
    )
    return Labelled(case, source, designed_rows(case, source))


def designed_rows(use_case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as the wings read them: key, event time, `_block`, slices, features, `_target`; row by row those of `rows`."""
    designed = design(use_case, rows.lazy(), {})
    labelled = with_own_outcome(use_case, designed, rows.lazy()).collect()
    if labelled[BLOCK].null_count():
        raise UsageError(f"rows: the block is missing in {labelled[BLOCK].null_count():,} of them; fill or drop them")
    return labelled


def kind_of(labels: pl.Series, kind: Kind | None) -> Kind:
    """What is predicted, as told or as the labels say. Raises UsageError where they do not say it, or say another thing."""
    dtype = labels.dtype
    flags = dtype == pl.Boolean or (dtype.is_numeric() and bool(((labels == 0) | (labels == 1)).all()))
    if kind is not None:
        require_choice("kind", kind, KINDS)
    if kind == "binary" and not flags:
        raise UsageError(f"label {labels.name!r} is {dtype} and not only 0 and 1; compare it with the positive class")
    if kind == "regression" and not dtype.is_numeric():
        raise UsageError(f"label {labels.name!r} is {dtype}; a regression's is a number")
    if kind is not None:
        return kind
    if flags and not dtype.is_float():
        return "binary"
    if dtype.is_numeric():
        return "regression"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "multiclass"
    raise UsageError(f"label {labels.name!r} is {dtype}; a Boolean, a number or text is wanted")


def check_labels(labels: pl.Series, kind: Kind, classes: Sequence[str]) -> None:
    """Refuse labels that are none of the classes, or no finite numbers. Raises UsageError."""
    if kind == "multiclass":
        unknown = set(labels.cast(pl.String).unique()) - set(classes)
        if unknown:
            raise UsageError(f"label {labels.name!r} holds {sorted(unknown)[0]!r}, which is none of {', '.join(classes)}")
    elif labels.dtype.is_float() and not labels.is_finite().all():
        raise UsageError(f"label {labels.name!r} holds values that are not finite; make them null or drop the rows")


def _classes(scores: Sequence[Scores]) -> tuple[str, ...]:
    named = {tuple(each) for each in scores if not isinstance(each, str)}
    if len(named) > 1 or (named and any(isinstance(each, str) for each in scores)):
        raise UsageError("scores: all models need a column for the same classes, in the same order")
    return named.pop() if named else ()


def _outcome(kind: Kind, label: str) -> pl.Expr:
    return pl.col(label).cast(pl.String) if kind == "multiclass" else pl.col(label)

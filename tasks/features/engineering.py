"""The one feature code: training, batch and online scoring all build their columns here.

A designed frame holds, in this order: the key, the event time, `_block`, slices that are no features, the features.
`labelled` adds `_target`. Names that start with an underscore are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import polars as pl

from schemas.errors import UsageError
from schemas.usecase import Lookup, UseCase
from schemas.verdicts import Kind
from tasks.features.keys import group_hash
from tasks.features.row_values import with_row_key

BLOCK = "_block"
TARGET = "_target"
GROUPS = 20

KNOWN = "_known"


def feature_names(use_case: UseCase) -> list[str]:
    """Names of the features in declared order: the order in which models see them.

    Args:
        use_case: The use case.

    Returns:
        The names.
    """
    return list(use_case.features)


def identity_columns(use_case: UseCase) -> list[str]:
    """The key columns and the event time: what names a row and orders it.

    Args:
        use_case: The use case.

    Returns:
        The names, each once.
    """
    return list(dict.fromkeys([*use_case.key, *([use_case.time] if use_case.time else [])]))


def design(use_case: UseCase, rows: pl.LazyFrame, context: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """Every row of `rows`, in its order, with the columns that models and monitors read.

    `context` holds the looked-up inputs by name. A lookup that finds nothing gives nulls, and so does a category that
    the use case does not list.

    Args:
        use_case: The use case.
        rows: Rows of the use case's rows input.
        context: Rows of the looked-up inputs, by the input's name.

    Returns:
        The key, the event time, `_block`, slices that are no features, and the features. Collecting it raises polars'
            ComputeError where a looked-up key occurs twice.

    Raises:
        UsageError: An input is missing, or names clash.
    """
    _check_names(use_case)
    rows = with_row_key(use_case.input(use_case.rows), rows)
    for lookup in use_case.lookups:
        if lookup.input not in context:
            raise UsageError(f"use case {use_case.name!r}: rows of the input {lookup.input!r} are needed to look up columns")
        rows = _look_up(use_case, lookup, rows, context[lookup.input])
    names = identity_columns(use_case)
    slices = [name for name in use_case.slices if name not in {*use_case.features, *names}]
    features = [expr.alias(name) for name, expr in use_case.features.items()]
    return rows.select(*names, block(use_case).alias(BLOCK), *slices, *features)


def block(use_case: UseCase) -> pl.Expr:
    """Rows of one block may depend on each other; blocks do not.

    Without a declared block: the UTC day of the event; without event times: one of 20 random groups of keys.
    """
    if use_case.block is not None:
        return use_case.block
    if use_case.time is not None:
        return pl.col(use_case.time).dt.date()
    return (group_hash(use_case) % GROUPS).cast(pl.Int64)


def with_labels(
    use_case: UseCase, designed: pl.LazyFrame, labels: pl.LazyFrame, as_of: datetime | None = None
) -> pl.LazyFrame:
    """The designed rows with `_target`: null where no outcome is known.

    Of several labels for a key the newest known by `as_of` counts, whether it brings an outcome or takes one back.
    `_target` is Boolean (binary), Enum of the classes (multiclass) or Float64 (regression). Where the use case has no
    label input, `labels` are the rows themselves.

    Args:
        use_case: The use case.
        designed: Designed rows, as `design` gives them.
        labels: Rows of the label input, in any order.
        as_of: Labels that became known later do not count; None for all.

    Returns:
        The designed rows, in their order, with one column more.
    """
    known_at = use_case.label_input.known_at
    if known_at and as_of is not None:
        labels = labels.filter(pl.col(known_at) <= as_of)
    if known_at:
        labels = labels.sort(known_at).unique(list(use_case.key), keep="last", maintain_order=True)
    outcome = labels.select(*use_case.key, use_case.target.value.cast(target_dtype(use_case)).alias(TARGET))
    return designed.join(outcome, on=list(use_case.key), how="left", maintain_order="left", validate="m:1")


def with_own_outcome(use_case: UseCase, designed: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Designed rows with `_target` where the rows hold their outcome themselves: side by side, no key is looked up.

    Args:
        use_case: The use case.
        designed: Designed rows, as `design` gives them.
        rows: The rows that they were made of, in the same order.

    Returns:
        The designed rows, in their order, with one column more.
    """
    outcome = rows.select(use_case.target.value.cast(target_dtype(use_case)).alias(TARGET))
    return pl.concat([designed, outcome], how="horizontal")


def with_outcome(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that have an outcome; the frame itself where all have one, since a filter would copy it.

    Args:
        frame: Rows with `_target`.

    Returns:
        Rows without null in `_target`.
    """
    return frame.filter(pl.col(TARGET).is_not_null()) if frame[TARGET].null_count() else frame


def _check_names(use_case: UseCase) -> None:
    rows = use_case.input(use_case.rows).contract.dtypes()
    clashes = {name: "is a key or time column" for name in use_case.features if name in identity_columns(use_case)}
    clashes |= {name: "starts with an underscore" for name in use_case.features if name.startswith("_")}
    clashes |= {name: "is a column of the rows" for lookup in use_case.lookups for name in lookup.columns if name in rows}
    for name, why in clashes.items():
        raise UsageError(f"use case {use_case.name!r}: the name {name!r} {why}; give the feature or lookup another one")


def _look_up(use_case: UseCase, lookup: Lookup, rows: pl.LazyFrame, table: pl.LazyFrame) -> pl.LazyFrame:
    dtypes = use_case.input(lookup.input).contract.dtypes()
    if set(lookup.on) != set(use_case.input(lookup.input).key):
        raise UsageError(f"use case {use_case.name!r}: a lookup in {lookup.input!r} must give every key column of it")
    keys = {name: f"_on_{name}" for name in lookup.on}
    right = table.select(
        *[pl.col(name).alias(key) for name, key in keys.items()],
        *[pl.col(source).alias(name) for name, source in lookup.columns.items()],
    )
    left = rows.with_columns(expr.cast(dtypes[name]).alias(keys[name]) for name, expr in lookup.on.items())
    joined = left.join(right, on=list(keys.values()), how="left", maintain_order="left", validate="m:1")
    return joined.drop(list(keys.values()))


def target_dtype(use_case: UseCase) -> pl.DataType:
    """Type of `_target`: Boolean (binary), Enum of the classes (multiclass) or Float64 (regression)."""
    dtypes = {"binary": pl.Boolean(), "multiclass": pl.Enum(use_case.target.classes), "regression": pl.Float64()}
    return dtypes[use_case.target.kind]


def numeric_target(kind: Kind, target: pl.Series) -> np.ndarray:
    """The outcomes as float64, shape (n,): 0 or 1, the class's position, or the value. Null becomes NaN.

    Args:
        kind: binary, multiclass or regression.
        target: Outcomes: Boolean, Enum of the classes, or numbers.

    Returns:
        float64, shape (n,).
    """
    physical = target.to_physical() if kind == "multiclass" else target
    return physical.cast(pl.Float64).to_numpy()


def newest_labels(use_case: UseCase, labels: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """One row a key: `_target` of the newest label, null where it holds no outcome, and `_known`, true.

    Args:
        use_case: The use case.
        labels: All rows of the label input, in any order.

    Returns:
        The key columns, `_target` and `_known`.
    """
    spec = use_case.label_input
    keys, when = list(use_case.key), [spec.known_at] if spec.known_at else []
    outcomes = labels.lazy().select(*keys, *when, use_case.target.value.cast(target_dtype(use_case)).alias(TARGET))
    newest = outcomes.sort([*keys, *when, TARGET]).unique(keys, keep="last", maintain_order=True)
    return newest.select(*keys, TARGET, pl.lit(True).alias(KNOWN)).collect()

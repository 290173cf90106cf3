"""The one feature code: training, batch and online scoring all build their columns here.

A designed frame holds, in this order: the key, the event time, `_block`, slices that are no features, the features.
`labelled` adds `_target`. Names that start with an underscore are ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np
import polars as pl

from schemas.errors import UsageError
from schemas.usecase import Lookup, UseCase

BLOCK = "_block"
TARGET = "_target"
GROUPS = 20
CHUNK = 1 << 16


def feature_names(use_case: UseCase) -> list[str]:
    """Names of the features in declared order: the order in which models see them."""
    return list(use_case.features)


def identity(use_case: UseCase) -> list[str]:
    """The key columns and the event time: what names a row and orders it."""
    return list(dict.fromkeys([*use_case.key, *([use_case.time] if use_case.time else [])]))


def design(use_case: UseCase, rows: pl.LazyFrame, context: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """Every row of `rows`, in its order, with the columns that models and monitors read.

    `context` holds the looked-up inputs by name. A lookup that finds nothing gives nulls, and so does a category that
    the use case does not list. Raises UsageError where an input is missing or names clash; collecting raises where a
    looked-up key occurs twice.
    """
    _check_names(use_case)
    for lookup in use_case.lookups:
        if lookup.input not in context:
            raise UsageError(f"use case {use_case.name!r}: rows of the input {lookup.input!r} are needed to look up columns")
        rows = _look_up(use_case, lookup, rows, context[lookup.input])
    names = identity(use_case)
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
    return (key_hash(use_case) % GROUPS).cast(pl.Int64)


def key_text(use_case: UseCase) -> pl.Expr:
    """The row's key as one string; times as whole numbers, so that no library's formatting enters it."""
    dtypes = use_case.input(use_case.rows).contract.dtypes()
    parts = [pl.col(name).to_physical() if dtypes[name].is_temporal() else pl.col(name) for name in use_case.key]
    return pl.concat_str([part.cast(pl.String) for part in parts], separator="\x1f")


def key_hash(use_case: UseCase) -> pl.Expr:
    """64 bits of the key's BLAKE2b hash: the same in every process and library version."""
    return key_text(use_case).map_batches(_hash, return_dtype=pl.UInt64, is_elementwise=True)


def told_inputs(use_case: UseCase, names: Sequence[str]) -> pl.Expr:
    """These columns of the rows as a receipt may hold them, as the struct `inputs`: private ones hashed or left out."""
    contract = use_case.input(use_case.rows).contract
    hashed = contract.hashed()
    shown = [name for name in names if name not in contract.private() or name in hashed]
    return pl.struct(_pseudonym(name) if name in hashed else pl.col(name) for name in shown).alias("inputs")


def _pseudonym(name: str) -> pl.Expr:
    """64 bits of a hash of each value, in hexadecimal; null stays null."""
    text = pl.col(name).to_physical().cast(pl.String)
    made = text.map_batches(_hashed_text, return_dtype=pl.String, is_elementwise=True)
    return made.alias(name)


def _hashed_text(texts: pl.Series) -> pl.Series:
    digests = [None if text is None else hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in texts]
    return pl.Series(digests, dtype=pl.String)


def labelled(use_case: UseCase, designed: pl.LazyFrame, labels: pl.LazyFrame, as_of: datetime | None = None) -> pl.LazyFrame:
    """The designed rows with `_target`: null where no outcome is known.

    Of several labels for a key the newest known by `as_of` counts, whether it brings an outcome or takes one back.
    `_target` is Boolean (binary), Enum of the classes (multiclass) or Float64 (regression). Where the use case has no
    label input, `labels` are the rows themselves.
    """
    known_at = use_case.label_input.known_at
    if known_at and as_of is not None:
        labels = labels.filter(pl.col(known_at) <= as_of)
    if known_at:
        labels = labels.sort(known_at).unique(list(use_case.key), keep="last", maintain_order=True)
    outcome = labels.select(*use_case.key, use_case.target.value.cast(target_dtype(use_case)).alias(TARGET))
    return designed.join(outcome, on=list(use_case.key), how="left", maintain_order="left", validate="m:1")


def with_own_outcome(use_case: UseCase, designed: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Designed rows with `_target` where the rows hold their outcome themselves: side by side, no key is looked up."""
    outcome = rows.select(use_case.target.value.cast(target_dtype(use_case)).alias(TARGET))
    return pl.concat([designed, outcome], how="horizontal")


def canonical(use_case: UseCase, frame: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """The frame in the order models are fitted in: by event time, then key. A model depends on the order of its rows.

    Collected by the engine whose float sums do not depend on how many threads share them.
    """
    rows = frame.lazy().collect(engine="in-memory")
    return rows if in_order(rows, order(use_case)) else rows.sort(order(use_case))


def with_outcome(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that have an outcome; the frame itself where all have one, since a filter would copy it."""
    return frame.filter(pl.col(TARGET).is_not_null()) if frame[TARGET].null_count() else frame


def order(use_case: UseCase) -> list[str]:
    """The columns that rows are ordered by before a model is fitted on them."""
    return list(dict.fromkeys([*([use_case.time] if use_case.time else []), *use_case.key]))


def in_order(rows: pl.DataFrame, columns: Sequence[str]) -> bool:
    """Whether the rows are sorted by these columns already; asking costs far less than sorting."""
    if rows.height < 2:
        return True
    follows = pl.lit(True)
    for name in reversed(columns):
        here, there = pl.col(name).head(rows.height - 1), pl.col(name).tail(rows.height - 1)
        follows = (here < there) | ((here == there) & follows)
    return bool(rows[columns[0]].is_sorted() and rows.select(follows.fill_null(False).all()).item())


def row_digest(frame: pl.DataFrame) -> str:
    """SHA-256 of the frame's content, whatever the order of its rows; its columns' names and order count.

    Hashed in chunks of the sorted rows: validity, then values as little-endian numbers or as text with lengths, so that
    neither polars' hashes nor its formatting enter. An Enum's values are hashed as text.
    """
    return digest_in_order([frame.select(pl.all().map_batches(_plain)).sort(pl.all(), nulls_last=False)], frame.schema)


def digest_in_order(frames: Iterable[pl.DataFrame], schema: Mapping[str, pl.DataType]) -> str:
    """SHA-256 of rows in the order in which they come, however they are cut into frames; hashed as in `row_digest`."""
    digest = hashlib.sha256(repr([(name, _kind(dtype)) for name, dtype in schema.items()]).encode())
    for chunk in even(frames, CHUNK):
        for column in chunk:
            _feed(digest, _plain(column))
    return digest.hexdigest()


def even(frames: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in the same order in frames of `rows` rows; the last may have fewer."""
    rest: pl.DataFrame | None = None
    for frame in frames:
        joined = frame if rest is None or rest.is_empty() else pl.concat([rest, frame])
        whole = joined.height - joined.height % rows
        yield from joined[:whole].iter_slices(rows)
        rest = joined[whole:]
    if rest is not None and not rest.is_empty():
        yield rest


def _check_names(use_case: UseCase) -> None:
    rows = use_case.input(use_case.rows).contract.dtypes()
    taken = {name: "is a key or time column" for name in use_case.features if name in identity(use_case)}
    taken |= {name: "starts with an underscore" for name in use_case.features if name.startswith("_")}
    taken |= {name: "is a column of the rows" for lookup in use_case.lookups for name in lookup.columns if name in rows}
    for name, why in taken.items():
        raise UsageError(f"use case {use_case.name!r}: the name {name!r} {why}; give the feature or lookup another one")


def _look_up(use_case: UseCase, lookup: Lookup, rows: pl.LazyFrame, found: pl.LazyFrame) -> pl.LazyFrame:
    dtypes = use_case.input(lookup.input).contract.dtypes()
    if set(lookup.on) != set(use_case.input(lookup.input).key):
        raise UsageError(f"use case {use_case.name!r}: a lookup in {lookup.input!r} must give every key column of it")
    keys = {name: f"_on_{name}" for name in lookup.on}
    right = found.select(
        *[pl.col(name).alias(key) for name, key in keys.items()],
        *[pl.col(source).alias(name) for name, source in lookup.columns.items()],
    )
    left = rows.with_columns(expr.cast(dtypes[name]).alias(keys[name]) for name, expr in lookup.on.items())
    joined = left.join(right, on=list(keys.values()), how="left", maintain_order="left", validate="m:1")
    return joined.drop(list(keys.values()))


def _hash(keys: pl.Series) -> pl.Series:
    blake = hashlib.blake2b
    digests = b"".join([blake(key.encode(), digest_size=8).digest() for key in keys])
    return pl.Series(np.frombuffer(digests, dtype="<u8"))


def target_dtype(use_case: UseCase) -> pl.DataType:
    """Type of `_target`: Boolean (binary), Enum of the classes (multiclass) or Float64 (regression)."""
    dtypes = {"binary": pl.Boolean(), "multiclass": pl.Enum(use_case.target.classes), "regression": pl.Float64()}
    return dtypes[use_case.target.kind]


def _kind(dtype: pl.DataType) -> str:
    text = isinstance(dtype, pl.String | pl.Enum | pl.Categorical)
    return "text" if text else "number" if dtype.is_numeric() else "flag" if dtype == pl.Boolean else "time"


def _plain(column: pl.Series) -> pl.Series:
    """Text, or numbers without negative zero: what is sorted and hashed."""
    if _kind(column.dtype) == "text":
        return column.cast(pl.String)
    if column.dtype == pl.Boolean:
        return column.cast(pl.UInt8)
    if column.dtype.is_float():  # adding 0.0 would do, but polars takes that for nothing to do
        return pl.select(pl.when(column == 0).then(0.0).otherwise(column).alias(column.name)).to_series()
    return column.to_physical()


def _feed(digest: hashlib._Hash, column: pl.Series) -> None:
    digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
    if column.dtype == pl.String:
        column = column.fill_null("")
        digest.update(column.str.len_bytes().cast(pl.UInt32).to_numpy().tobytes())
        digest.update(column.str.join("").item().encode())
    else:
        numbers = column.fill_null(0).to_numpy()
        digest.update(numbers.dtype.str.encode() + numbers.tobytes())

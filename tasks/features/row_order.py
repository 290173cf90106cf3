"""The canonical order of rows, and the digest of rows in it: what makes a model a function of its data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from schemas.usecase import UseCase

CHUNK = 1 << 16


def in_canonical_order(use_case: UseCase, frame: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """The frame in the order models are fitted in: by event time, then key. A model depends on the order of its rows.

    Collected by the engine whose float sums do not depend on how many threads share them.
    """
    rows = frame.lazy().collect(engine="in-memory")
    return rows if is_sorted(rows, sort_order(use_case)) else rows.sort(sort_order(use_case))


def sort_order(use_case: UseCase) -> list[str]:
    """The columns that rows are ordered by before a model is fitted on them."""
    return list(dict.fromkeys([*([use_case.time] if use_case.time else []), *use_case.key]))


def is_sorted(rows: pl.DataFrame, columns: Sequence[str]) -> bool:
    """Whether the rows are sorted by these columns already; asking costs far less than sorting."""
    if rows.height < 2:
        return True
    follows = pl.lit(True)
    for name in reversed(columns):
        here, there = pl.col(name).head(rows.height - 1), pl.col(name).tail(rows.height - 1)
        follows = (here < there) | ((here == there) & follows)
    return bool(rows[columns[0]].is_sorted() and rows.select(follows.fill_null(False).all()).item())


def digest_of_sorted(frames: Iterable[pl.DataFrame], schema: Mapping[str, pl.DataType]) -> str:
    """SHA-256 of rows in the order in which they come, however they are cut into frames; its columns' names and order count.

    Hashed in chunks: validity, then values as little-endian numbers or as text with lengths, so that neither polars' hashes
    nor its formatting enter. An Enum's values are hashed as text.
    """
    digest = hashlib.sha256(repr([(name, _kind(dtype)) for name, dtype in schema.items()]).encode())
    for chunk in even_batches(frames, CHUNK):
        for column in chunk:
            _feed(digest, _plain(column))
    return digest.hexdigest()


def even_batches(frames: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in the same order in frames of `rows` rows; the last may have fewer."""
    rest: pl.DataFrame | None = None
    for frame in frames:
        joined = frame if rest is None or rest.is_empty() else pl.concat([rest, frame])
        whole = joined.height - joined.height % rows
        yield from joined[:whole].iter_slices(rows)
        rest = joined[whole:]
    if rest is not None and not rest.is_empty():
        yield rest


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

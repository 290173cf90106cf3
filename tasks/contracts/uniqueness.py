"""Which rows repeat a key, found without holding the rows: hashes first, then the keys of equal hashes, compared exactly.

Two rows with different hashes have different keys, so a source without equal hashes is done after one pass over eight bytes
a row. Rows with equal hashes are read again and compared by value; nothing is decided by a hash alone. Hashes wait on disk,
and are taken up in ranges of some eight million, so that memory does not grow with the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

RANGE = 1 << 23
AT = "_at"

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
Frames = Sequence[Callable[[], pl.DataFrame]]
Stored = Callable[[], Iterator[Hashes]]


@dataclass(frozen=True)
class Repeats:
    """Per row of the source, in order: `duplicate` within the source, `known` from before it."""

    duplicate: Flags
    known: Flags


def find_repeated_keys(
    frames: Frames, key: Sequence[str], first_stays: bool, known: pl.DataFrame | None = None, scratch: Path | None = None
) -> Repeats:
    """Rows whose key occurs twice: every copy, or all but the first where it stays; and rows whose key is known.

    Each of `frames` gives a piece of the source: the key columns, and optionally `_comparable`, false for rows whose key
    could not be typed and therefore equals none. Nulls are equal to each other, as Pandera has it. Without `scratch` the
    hashes stay in memory.

    Args:
        frames: Functions, each of which gives a piece of the source.
        key: Names of the key columns.
        first_stays: Whether the first of several rows with one key is kept.
        known: Keys that are published already.
        scratch: Folder for hashes that do not fit into memory.

    Returns:
        Two flags a row: its key occurs twice, its key is known.

    References:
        Rows are found by a 64-bit hash of their key and then compared by value, so that no collision counts.
    """
    sizes: list[int] = []
    mine = _stored(_hashes(frames, key, sizes), scratch / "hashes" if scratch else None)
    before = _stored(iter([hashed(known, key)] if known is not None else []), None)
    total = sum(sizes)
    repeats = Repeats(np.zeros(total, bool), np.zeros(total, bool))
    ranges = 1 + (total + (known.height if known is not None else 0)) // RANGE
    for number in range(ranges):
        twice = _twice([mine, before], number, ranges)
        if len(twice):
            _compare(frames, sizes, key, known, twice, first_stays, repeats)
    return repeats


def hashed(frame: pl.DataFrame, key: Sequence[str]) -> Hashes:
    """A hash of each row's key; categories by their text, whatever their codes."""
    return frame.select(pl.struct(_comparable(frame, key)).hash()).to_series().to_numpy()


def _comparable(frame: pl.DataFrame, key: Sequence[str]) -> list[pl.Expr]:
    text = [name for name in key if isinstance(frame.schema[name], (pl.Categorical, pl.Enum))]
    return [pl.col(name).cast(pl.String) if name in text else pl.col(name) for name in key]


def _hashes(frames: Frames, key: Sequence[str], sizes: list[int]) -> Iterator[Hashes]:
    for frame in frames:
        hashes = hashed(frame(), key)
        sizes.append(len(hashes))
        yield hashes


def _stored(pieces: Iterator[Hashes], path: Path | None) -> Stored:
    """Keep hashes in memory or in a file, to be gone through as often as need be."""
    if path is None:
        in_memory = list(pieces)
        return lambda: iter(in_memory)
    with path.open("wb") as file:
        for piece in pieces:
            piece.tofile(file)
    return partial(_from_file, path)


def _from_file(path: Path) -> Iterator[Hashes]:
    with path.open("rb") as file:
        while len(piece := np.fromfile(file, np.uint64, RANGE // 8)):
            yield piece


def _twice(stored: Sequence[Stored], number: int, ranges: int) -> Hashes:
    """The hashes of one range of values that occur more than once, sorted."""
    pieces = (piece for source in stored for piece in source())
    if ranges > 1:
        pieces = (piece[piece % np.uint64(ranges) == number] for piece in pieces)
    gathered = np.concatenate([np.empty(0, np.uint64), *pieces])
    gathered.sort()
    return np.unique(gathered[1:][gathered[1:] == gathered[:-1]])


def _compare(
    frames: Frames,
    sizes: Sequence[int],
    key: Sequence[str],
    known: pl.DataFrame | None,
    twice: Hashes,
    first_stays: bool,
    repeats: Repeats,
) -> None:
    """Compare the keys whose hashes occur twice by value, and mark the rows in `found`."""
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1])) if sizes else np.zeros(1, int)
    candidates = pl.concat(
        [
            _with_hash_in(frame(), key, twice).with_columns((pl.col(AT) + int(start)).alias(AT))
            for frame, start in zip(frames, starts, strict=True)
        ]
    )
    same = pl.struct(key)
    repeated = ~same.is_first_distinct() if first_stays else same.is_duplicated()
    repeats.duplicate[candidates.filter(repeated)[AT].to_numpy()] = True
    if known is not None:
        before = _with_hash_in(known, key, twice).drop(AT)
        again = candidates.join(before, on=list(key), how="semi", nulls_equal=True)
        repeats.known[again[AT].to_numpy()] = True


def _with_hash_in(frame: pl.DataFrame, key: Sequence[str], twice: Hashes) -> pl.DataFrame:
    mine = hashed(frame, key)
    at = np.searchsorted(twice, mine)
    equal: Any = twice[np.minimum(at, len(twice) - 1)] == mine
    if "_comparable" in frame.columns:
        equal &= frame["_comparable"].to_numpy()
    return frame.select(_comparable(frame, key)).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(AT)).filter(equal)

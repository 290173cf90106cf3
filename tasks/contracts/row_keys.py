"""The key of rows that have none of their own, made for a parsed source: `penstock_row` and `penstock_occurrence`.

Every row of the source is numbered, those that the audit rejects as well: a row that is mended and delivered again keeps
its number. Memory holds 16 bytes a row, and the hashes of those rows alone that are not the only one of their kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from schemas.row_key import ROW_COLUMNS, ROW_OCCURRENCE, ROW_VALUE, value_columns
from schemas.usecase import Input
from tasks.features import row_value, row_value_of
from tasks.parsing import ROW, UNTYPED, Parsed

SHARED = "_shared"
PREFIX = 16  # hexadecimal digits of a hash by which rows are told apart first


def with_row_keys(parsed: Parsed, spec: Input, folder: Path, published: pl.LazyFrame | None = None) -> Parsed:
    """A parsed source with the key of its rows, as a contract keyed by the row wants it.

    Args:
        parsed: The source as typed parts; parts that have the key stay as they are.
        spec: The input. One that is not keyed by the row gets back what it gave.
        folder: Where the new parts are written.
        published: Key columns of the published rows, where occurrences count on from them (`append`).

    Returns:
        The source, its parts with two columns more.
    """
    if not spec.by_row or set(ROW_COLUMNS) <= set(parsed.columns):
        return parsed
    folder.mkdir(parents=True, exist_ok=True)
    columns = (*parsed.columns, *ROW_COLUMNS)
    values = [_values(spec, path, folder) for path in parsed.parts]
    count = _Occurrences(values, published)
    parts = tuple(folder / path.name for path in parsed.parts)
    for path, hashes, part in zip(parsed.parts, values, parts, strict=True):
        value = pl.read_parquet(hashes).to_series()
        keyed = pl.read_parquet(path).with_columns(value, count.next(value))
        keyed.select(*columns, ROW, UNTYPED).write_parquet(part, compression="lz4", statistics=False)
        hashes.unlink()
    return replace(parsed, parts=parts, columns=columns)


def known_keys_of_rows(parsed: Parsed, spec: Input, known: pl.LazyFrame, published: Iterable[pl.LazyFrame]) -> pl.LazyFrame:
    """The keys that a source must not repeat, with those of its rows that lie on `main` under another hash.

    A column that came or went changes the hash of every row, and so does one that has another type, or is known at the
    prediction by now. So where a published file was hashed otherwise, rows are compared with it by the columns that both
    have: of equal rows as many are known as lie there.

    Args:
        parsed: The source, with the key of its rows.
        spec: The input, keyed by the row.
        known: Key columns of the published rows.
        published: Their files, each with the columns that it has.

    Returns:
        Key columns.
    """
    mine, dtypes = set(parsed.columns) & set(value_columns(spec.contract)), spec.contract.dtypes()
    others: dict[tuple[str, ...], list[pl.DataFrame]] = defaultdict(list)
    for file in published:
        theirs = set(file.collect_schema())
        if mine - theirs or theirs - dtypes.keys() or _is_hashed_otherwise(file, spec):
            shared = tuple(sorted(mine & theirs))
            others[shared].append(_shared_values(file, shared, dtypes))
    for shared, there in others.items():
        rows = pl.concat([_shared_values(pl.scan_parquet(path), shared, dtypes) for path in parsed.parts])
        known = pl.concat([known, _same(rows, pl.concat(there), known.collect()).lazy()])
    return known


def _same(rows: pl.DataFrame, there: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Keys of the rows, none of them known, that equal rows lying `there` which none of the rows has the key of."""
    left = there.join(rows, on=ROW_COLUMNS, how="anti").group_by(SHARED).len("there")
    fresh = rows.join(known, on=ROW_COLUMNS, how="anti", maintain_order="left")
    paired = fresh.join(left, on=SHARED, maintain_order="left")
    return paired.filter(pl.int_range(1, pl.len() + 1).over(SHARED) <= pl.col("there")).select(ROW_COLUMNS)


def _is_hashed_otherwise(file: pl.LazyFrame, spec: Input) -> bool:
    """Whether a file's first row has another hash than today's contract gives it."""
    first = file.head(1).collect()
    return not first.is_empty() and wrong_row_values(first, spec) > 0


def _shared_values(rows: pl.LazyFrame, shared: Sequence[str], dtypes: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The keys of rows, and a hash of the columns that they share with others, in the contract's types."""
    typed = rows.select(*ROW_COLUMNS, *(pl.col(name).cast(dtypes[name], strict=False) for name in shared))
    return typed.select(*ROW_COLUMNS, row_value({name: dtypes[name] for name in shared}).alias(SHARED)).collect()


def wrong_row_values(rows: pl.DataFrame, spec: Input) -> int:
    """How many rows say another `penstock_row` than their values give.

    Args:
        rows: Typed rows with the columns of the contract.
        spec: The input, keyed by the row.

    Returns:
        Their number.
    """
    made = rows.select(row_value_of(spec, rows.schema)).to_series()
    return int(rows[ROW_VALUE].ne_missing(made).sum())


def _values(spec: Input, path: Path, folder: Path) -> Path:
    rows = pl.read_parquet(path).drop(ROW, UNTYPED)
    hashes = folder / f"{path.stem}.hashes"
    rows.select(row_value_of(spec, rows.schema)).write_parquet(hashes, compression="lz4", statistics=False)
    return hashes


class _Occurrences:
    """Numbers equal values from 1, or on from what is published, over parts that come one after the other."""

    def __init__(self, values: Sequence[Path], published: pl.LazyFrame | None) -> None:
        self._counted = pl.DataFrame(schema={ROW_VALUE: pl.String, "before": pl.UInt32})
        if published is not None:
            self._counted = published.group_by(ROW_VALUE).agg(pl.col(ROW_OCCURRENCE).max().alias("before")).collect()
        prefixes = [_prefixes(pl.read_parquet(path).to_series()) for path in values]
        prefixes.append(_prefixes(self._counted[ROW_VALUE]))
        found, times = np.unique(np.concatenate(prefixes), return_counts=True)
        self._repeated = found[times > 1]

    def next(self, values: pl.Series) -> pl.Series:
        """The occurrence of each value of the next part."""
        numbers = np.ones(len(values), np.uint32)
        again = np.flatnonzero(np.isin(_prefixes(values), self._repeated))
        if len(again):
            repeated = values.gather(again).to_frame()
            counted = repeated.join(self._counted, on=ROW_VALUE, how="left", maintain_order="left")
            within = pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over(ROW_VALUE)
            occurrence = counted.select((within + pl.col("before").fill_null(0)).alias("before")).to_series()
            numbers[again] = occurrence.to_numpy()
            self._count(repeated.with_columns(occurrence))
        return pl.Series(ROW_OCCURRENCE, numbers)

    def _count(self, numbered: pl.DataFrame) -> None:
        newest = pl.concat([self._counted, numbered]).group_by(ROW_VALUE).agg(pl.col("before").max())
        self._counted = newest


def _prefixes(values: pl.Series) -> np.ndarray:
    return values.str.head(PREFIX).str.to_integer(base=16, dtype=pl.UInt64).to_numpy()

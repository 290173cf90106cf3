"""The audit: a source split into accepted and rejected rows by its contract, losing none.

rows == accepted + rejected + redelivered, always. A row is rejected with every check it fails: those of the contract, a
value that could not be typed, a repeated key, a key published before, a partition that cannot be named.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from schemas.contract import Contract
from schemas.errors import IntegrityError
from schemas.usecase import Input
from schemas.verdicts import AuditVerdict, Reason
from tasks.contracts.check_descriptions import describe_check
from tasks.contracts.compiler import Compiled, check_types, compile_contract, guarded, run_opaque
from tasks.contracts.failures import Failure, FailureCounts, explain
from tasks.contracts.partition_writer import PARTITION, Part, PartitionWriter
from tasks.contracts.uniqueness import Flags, find_repeated_keys
from tasks.parsing import ROW, UNTYPED, UNTYPED_DTYPE, Parsed

PARTITION_NAME = r"^[A-Za-z0-9][A-Za-z0-9._=+-]{0,100}$"
ELSEWHERE = "unknown"
REDELIVERED = "redelivered"
AT_ONCE = 50_000  # rejected rows explained at once: their texts take far more memory than they do


@dataclass(frozen=True)
class Audited:
    """The verdict on a source and the files of its two halves."""

    verdict: AuditVerdict
    accepted: tuple[Part, ...]
    rejected: tuple[Part, ...]


@dataclass(frozen=True)
class Split:
    """A frame's rows: `accepted` as they were, `rejected` with `_row` from 1, `_untyped`, `_checks` and `_reasons`.

    `reasons` counts the rejected rows by check, the most frequent first.
    """

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class _Whole:
    """What was judged over the whole source: `failures` of all its rows, and which of them are `known` from before."""

    failures: tuple[Failure, ...]
    known: pl.Series

    def piece(self, first: int, rows: int) -> _Whole:
        """The same for some of the rows."""
        return _Whole(tuple(piece_of(f, first, rows) for f in self.failures), self.known.slice(first, rows))


def audit_parts(parsed: Parsed, spec: Input, folder: Path, known_keys: pl.LazyFrame | None = None) -> Audited:
    """Split a parsed source into files of accepted and of rejected rows, one partition a file.

    Accepted files hold the contract's columns; rejected ones also `_row`, `_untyped`, `_checks` and `_reasons`.

    Args:
        parsed: The source as typed parts.
        spec: The input, with its contract, key and partitions.
        folder: Where the files are written.
        known_keys: Key columns of the published rows that this source must not repeat; None for none.

    Returns:
        The files of both halves, and the verdict with counts and reasons.

    Raises:
        Refused: A check cannot be evaluated.
        UsageError: The contract cannot be compiled.
    """
    compiled = compile_contract(spec.contract, parsed.columns or None)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    accepted, rejected = (PartitionWriter(folder / name, parsed.source_sha256) for name in ("accepted", "rejected"))
    tally, dropped, first = FailureCounts(), 0, 0
    whole = _judge_whole(parsed, compiled, known_keys, folder)
    for path in parsed.parts:
        rows = pl.read_parquet(path)
        dropped += _audit_piece(rows, spec, compiled, whole.piece(first, rows.height), accepted, rejected, tally)
        first += rows.height
    verdict = verdict_of(spec, parsed.rows, accepted.rows, rejected.rows, dropped, tally.reasons())
    return Audited(verdict, accepted.close(), rejected.close())


def split(frame: pl.DataFrame, contract: type[Contract], untyped: pl.Series | None = None) -> Split:
    """Split a frame's rows into accepted and rejected ones, in memory.

    Args:
        frame: Exactly the contract's columns, of its types. See `conform` for other frames and other Pandera models.
        contract: What judges the rows.
        untyped: For each row, column and text of the values that could not be typed, as parsing gives them; such a row is
            rejected. None: all were typed.

    Returns:
        The rows, each in one of the two frames, in their order.

    Raises:
        Refused: Where the columns are not the contract's, or a check cannot be evaluated.
        UsageError: Where the contract cannot be compiled.
    """
    compiled = compile_contract(contract, frame.columns)
    check_types(contract, frame)
    rows = frame if untyped is None else frame.with_columns(untyped.alias(UNTYPED))
    failures = []
    for unique in compiled.unique:
        keys = partial(_own_keys, rows, unique.key)
        repeated = find_repeated_keys([keys], unique.key, compiled.first_stays)
        failures.append(_failure(unique.column, unique.check, repeated.duplicate, unique.key))
    failures += _opaque(frame, compiled, by_row=True) + _opaque(frame, compiled, by_row=False)
    good = _passing(frame, compiled, failures)
    bad = ~good if untyped is None else ~(good & (untyped.list.len() == 0))
    rejected = rows.filter(bad).with_columns((bad.arg_true().cast(pl.UInt64) + 1).alias(ROW))
    if untyped is None:
        rejected = rejected.with_columns(pl.lit([], dtype=UNTYPED_DTYPE).alias(UNTYPED))
    counts = FailureCounts()
    explained = _explained(rejected.select(*frame.columns, ROW, UNTYPED), compiled, _among(failures, bad), counts)
    return Split(frame if rejected.is_empty() else frame.filter(~bad), explained, counts.reasons())


def _own_keys(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    return comparable_keys(rows, key) if UNTYPED in rows.columns else rows.select(key)


def failing_rows(rows: pl.DataFrame, compiled: Compiled, failures: Sequence[Failure], tally: FailureCounts) -> int:
    """Count the parsed rows that fail a rule, or one of `failures` that was found over more than these rows.

    Args:
        rows: Parsed rows, with `_row` and `_untyped`.
        compiled: The compiled contract.
        failures: Failures found over the whole source, cut to these rows.
        tally: Where each failed check, its rows and examples are counted.

    Returns:
        How many of the rows fail.
    """
    data = rows.select(*compiled.types)
    rules = [*failures, *_opaque(data, compiled, by_row=True)]
    bad = ~(_passing(data, compiled, rules) & (rows[UNTYPED].list.len() == 0))
    rejected, among = rows.filter(bad), _among(rules, bad)
    for first in range(0, rejected.height, AT_ONCE):
        piece = rejected.slice(first, AT_ONCE)
        _explained(piece, compiled, [piece_of(failure, first, piece.height) for failure in among], tally)
    return rejected.height


def judged_together(data: pl.DataFrame, compiled: Compiled) -> list[Failure]:
    """What fails of the checks that are judged over a whole delivery at once, such as a mean.

    Args:
        data: All rows of the delivery, typed.
        compiled: The compiled contract.

    Returns:
        One failure a check that does not hold; each fails every row.
    """
    return _opaque(data, compiled, by_row=False)


def touched_partitions(parsed: Parsed, spec: Input) -> list[str]:
    """The partitions that the rows of a parsed source lie in, as far as they can be named, sorted.

    Args:
        parsed: The source as typed parts.
        spec: The input, with its contract, key and partitions.

    Returns:
        Names of the partitions.
    """
    partitions: set[str] = set()
    for path in parsed.parts:
        names = _partitions(pl.read_parquet(path).drop(ROW, UNTYPED), spec).unique()
        partitions |= set(names.filter(names.str.contains(PARTITION_NAME).fill_null(False)))
    return sorted(partitions)


def _judge_whole(parsed: Parsed, compiled: Compiled, known_keys: pl.LazyFrame | None, folder: Path) -> _Whole:
    failures: list[Failure] = []
    known = pl.repeat(False, parsed.rows, eager=True)
    for unique in compiled.unique:
        keys = [partial(_keys, path, unique.key) for path in parsed.parts]
        before = known_keys.select(unique.key).collect() if known_keys is not None and unique.column is None else None
        repeated = find_repeated_keys(keys, unique.key, compiled.first_stays, before, folder)
        failures.append(_failure(unique.column, unique.check, repeated.duplicate, unique.key))
        if before is not None:
            known = pl.Series(repeated.known)
    if any(not check.by_row for check in compiled.opaque):
        everything = pl.concat([pl.read_parquet(path, columns=list(compiled.types)) for path in parsed.parts])
        failures += judged_together(everything, compiled)
    return _Whole(tuple(f for f in failures if f.failed.any()), known)


def _keys(path: Path, key: Sequence[str]) -> pl.DataFrame:
    return comparable_keys(pl.read_parquet(path, columns=[*key, UNTYPED]), key)


def comparable_keys(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The key columns of parsed rows, and which rows have a key at all: one that could be typed.

    Args:
        rows: Parsed rows, with `_untyped`.
        key: Names of the key columns.

    Returns:
        The key columns and `_comparable`, Boolean: false where a part of the key could not be typed.
    """
    column = pl.element().struct.field("column")
    blind = pl.col(UNTYPED).list.eval(column.is_null() | column.is_in(key)).list.any()
    return rows.select(*key, (~blind).alias("_comparable"))


def _audit_piece(
    rows: pl.DataFrame,
    spec: Input,
    compiled: Compiled,
    whole: _Whole,
    accepted: PartitionWriter,
    rejected: PartitionWriter,
    tally: FailureCounts,
) -> int:
    """Send each row to its half; returns how many were dropped because they were delivered before."""
    data = rows.select(*compiled.types)
    names = _partitions(data, spec)
    named = names.str.contains(PARTITION_NAME).fill_null(False)
    failures = [*whole.failures, *_opaque(data, compiled, by_row=True)]
    failures.append(Failure(None, "partition", ~named, tuple(spec.partition.meta.root_names())))
    good = _passing(data, compiled, failures) & (rows[UNTYPED].list.len() == 0)
    again = whole.known & good
    good &= ~again
    parted = data.with_columns(names.alias(PARTITION))
    accepted.add(parted if good.all() else parted.filter(good))
    if spec.on_redelivery == "keep_first":
        bad, dropped = ~(good | again), int(again.sum())
    else:
        bad, dropped = ~good, 0
        failures.append(Failure(None, REDELIVERED, again, spec.key))
    if bad.any():
        explained = _explained(rows.filter(bad), compiled, _among(failures, bad), tally)
        where = pl.select(pl.when(named).then(names).otherwise(pl.lit(ELSEWHERE))).to_series()
        rejected.add(explained.with_columns(where.filter(bad).alias(PARTITION)))
    return dropped


def _partitions(data: pl.DataFrame, spec: Input) -> pl.Series:
    with guarded(f"the partition of input {spec.name!r}"):
        return data.with_columns(spec.partition.cast(pl.String).alias(PARTITION))[PARTITION]


def _passing(data: pl.DataFrame, compiled: Compiled, failures: Sequence[Failure]) -> pl.Series:
    good = compiled.passing(data)
    for failure in failures:
        good &= ~failure.failed
    return good


def _opaque(data: pl.DataFrame, compiled: Compiled, *, by_row: bool) -> list[Failure]:
    name = compiled.contract.__name__
    checks = [check for check in compiled.opaque if check.by_row == by_row]
    return [_failure(c.column, c.check, ~run_opaque(c, data, name), c.shows) for c in checks]


def _explained(bad: pl.DataFrame, compiled: Compiled, failures: Sequence[Failure], tally: FailureCounts) -> pl.DataFrame:
    explained = []
    for first in range(0, max(bad.height, 1), AT_ONCE):
        piece = bad.slice(first, AT_ONCE)
        failing = compiled.failing(piece.select(*compiled.types))
        all_failures = [Failure(rule.column, rule.check, failed, rule.shows) for rule, failed in failing]
        all_failures += [piece_of(failure, first, piece.height) for failure in failures]
        explained.append(explain(piece, all_failures, compiled.types, tally))
    return pl.concat(explained)


def _failure(column: str | None, check: str, failed: Flags, shows: Sequence[str]) -> Failure:
    return Failure(column, check, pl.Series(failed), tuple(shows))


def piece_of(failure: Failure, first: int, rows: int) -> Failure:
    """What was found over more rows, for some of them.

    Args:
        failure: What was found over more rows.
        first: Position of the first of these rows.
        rows: How many rows.

    Returns:
        The same failure for these rows alone.
    """
    return replace(failure, failed=failure.failed.slice(first, rows))


def _among(failures: Sequence[Failure], rows: pl.Series) -> list[Failure]:
    return [replace(failure, failed=failure.failed.filter(rows)) for failure in failures if failure.failed.any()]


def verdict_of(
    spec: Input, rows: int, accepted: int, rejected: int, dropped: int, reasons: tuple[Reason, ...]
) -> AuditVerdict:
    """What the counts of an audit come to. Raises IntegrityError where a row was lost."""
    if rows != accepted + rejected + dropped:
        raise IntegrityError(f"input {spec.name!r}: {rows} rows came in, {accepted} + {rejected} + {dropped} went out")
    publishable = rows > 0 and rejected <= spec.max_rejected_share * rows
    counted = f"{accepted} of {rows} rows accepted, {rejected} rejected" + (
        f", {dropped} delivered before" if dropped else ""
    )
    if not rows:
        counted = "the source holds no rows"
    elif not publishable:
        most = reasons[0]
        most_often = f"{most.column}: {describe_check(most.check)}" if most.column else describe_check(most.check)
        counted += f": more than the share of {spec.max_rejected_share:.2%} that may be; most often {most_often}"
    return AuditVerdict(
        input=spec.name,
        contract_version=spec.contract_version(),
        rows=rows,
        accepted=accepted,
        rejected=rejected,
        redelivered=dropped,
        reasons=reasons,
        publishable=publishable,
        why=counted,
    )

"""Published rows judged by a contract as it is now: which of them would fail, with the file and the row of examples.

Files are read one after the other; keys are compared over all of them, and a check over many rows is judged over each
delivery, as it was at its ingest. A value that does not fit a changed type fails as one that cannot be typed. A column that
a file lacks is null where the contract requires it, and is not judged where it is optional.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from schemas.evolution import Recheck
from schemas.refs import CommitId
from schemas.usecase import Input
from tasks import contracts
from tasks.contracts import Compiled, Failure, FailureCounts, compile_contract, find_repeated_keys
from tasks.datasets import data_paths, live_publishes
from tasks.parsing import ROW, Conversion, as_text, conversion, typed
from tasks.versions import MAIN, VersionStore


def revalidate(store: VersionStore, spec: Input, ref: str = MAIN) -> Recheck:
    """Judge every published row of an input at a ref by the input's contract.

    Args:
        store: The repository with the use case's data.
        spec: The input, with its contract, key and partitions.
        ref: Branch, tag or commit.

    Returns:
        How many rows pass, and which checks the others fail.

    Raises:
        NotFound: There is no such ref.
        Refused: A check cannot be evaluated on what is published.
    """
    commit = store.head(ref)
    published = Published(store, commit, spec)
    tally, failing, rows = FailureCounts(), Counter[str](), 0
    repeated, together = published.repeated(), published.judged_together()
    for path in published.paths:
        frame, compiled = published.rows(path)
        failures = [contracts.piece_of(failure, rows, frame.height) for failure in repeated]
        tally.file = path
        failing[path] = contracts.failing_rows(frame, compiled, failures + together.get(path, []), tally)
        rows += frame.height
    total = failing.total()
    return Recheck(
        input=spec.name,
        contract_version=spec.contract_version(),
        commit=commit,
        rows=rows,
        failing=total,
        read=len(published.paths),
        files=tuple((path, count) for path, count in failing.most_common() if count),
        reasons=tally.reasons(),
        why=f"{total:,} of {rows:,} published rows would fail" if total else f"all {rows:,} published rows pass",
    )


class Published:
    """The files of an input at a commit, read as its contract would have them."""

    def __init__(self, store: VersionStore, commit: CommitId, spec: Input) -> None:
        self._store, self._commit, self._spec = store, commit, spec
        self._types = spec.contract.dtypes()
        self._required = {name for name, column in spec.contract.to_schema().columns.items() if column.required}
        self.paths = data_paths(store, commit, spec.name)

    def rows(self, path: str, only: Sequence[str] | None = None) -> tuple[pl.DataFrame, Compiled]:
        """A file's rows, numbered from 1, with what could not be typed, and the contract compiled for its columns."""
        scan = self._store.scan(self._commit, [path])
        schema = scan.collect_schema()
        conversions = {
            name: _conversion(name, schema.get(name, pl.Null()), dtype)
            for name, dtype in self._types.items()
            if (name in only if only is not None else name in schema or name in self._required)
        }
        absent = [pl.lit(None).alias(name) for name in conversions if name not in schema]
        raw = scan.select(name for name in conversions if name in schema).collect()
        numbered = raw.with_columns(*absent, pl.int_range(1, pl.len() + 1, dtype=pl.UInt64).alias(ROW))
        return typed(numbered, conversions), compile_contract(self._spec.contract, list(conversions))

    def repeated(self) -> list[Failure]:
        """Rows of all files, in order, that repeat what is to be unique."""
        compiled, failures = compile_contract(self._spec.contract), []
        for unique in compiled.unique:
            frames = [partial(self._keys, path, unique.key) for path in self.paths]
            with TemporaryDirectory(prefix="penstock-") as scratch:
                flags = find_repeated_keys(frames, unique.key, compiled.first_stays, scratch=Path(scratch)).duplicate
            failures.append(Failure(unique.column, unique.check, pl.Series(flags), unique.key))
        return failures

    def _keys(self, path: str, key: Sequence[str]) -> pl.DataFrame:
        return contracts.comparable_keys(self.rows(path, key)[0], key)

    def judged_together(self) -> dict[str, list[Failure]]:
        """What fails, by file, of the checks that are judged over a whole delivery."""
        if all(check.by_row for check in compile_contract(self._spec.contract).opaque):
            return {}
        return dict(judged for paths in self._deliveries() for judged in self._together(paths))

    def _together(self, paths: Sequence[str]) -> Iterator[tuple[str, list[Failure]]]:
        read = [self.rows(path) for path in paths]
        compiled, first = read[0][1], 0
        failures = contracts.judged_together(pl.concat([frame.select(*compiled.types) for frame, _ in read]), compiled)
        for path, (frame, _) in zip(paths, read, strict=True):
            yield path, [contracts.piece_of(failure, first, frame.height) for failure in failures]
            first += frame.height

    def _deliveries(self) -> Iterator[list[str]]:
        """The files that each publish brought; those of no publish of ours count as deliveries by themselves."""
        left = set(self.paths)
        for record in live_publishes(self._store, self._spec.name, self._commit):
            changes = self._store.diff(record.commit.parents[0], record.commit.id)
            if added := sorted(left & {change.path for change in changes if change.kind == "added"}):
                left -= set(added)
                yield added
        yield from ([path] for path in sorted(left))


def _conversion(name: str, source: pl.DataType, wanted: pl.DataType) -> Conversion:
    """As at an ingest; where one type has no way to another, no value can be typed."""
    converted = conversion(name, source, wanted)
    return converted or Conversion(pl.lit(None, dtype=wanted), as_text(pl.col(name), source))

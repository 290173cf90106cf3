"""A use case drafted from the rows of a file: every decision that the written module shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from deployments.scaffold import source_code
from deployments.scaffold.column_profile import Profile
from deployments.scaffold.contract_columns import CONFIRM, Column, columns_of
from deployments.scaffold.key_detection import Key, find_key
from deployments.scaffold.leaks import repeated
from deployments.scaffold.policy_defaults import Policies, policies_for
from deployments.scaffold.render_reader import drafted_reader
from deployments.scaffold.sampling import Sample
from deployments.scaffold.target_detection import Outcome, find_outcome
from deployments.scaffold.time_detection import Clock, find_clock
from deployments.scaffold.type_inference import Typed, type_column
from schemas.errors import UsageError
from schemas.reader import PLAIN, Reader
from schemas.verdicts import Kind

FEW = 150


@dataclass(frozen=True)
class NewUseCaseOptions:
    """What the person said on the command line; the rest is guessed."""

    target: str
    kind: Kind | None = None
    key: tuple[str, ...] = ()
    time: str | None = None
    reader: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """One use case, decided but not yet written."""

    name: str
    source: str
    rows: int
    whole: bool
    outcome: Outcome
    key: Key
    clock: Clock | None
    columns: tuple[Column, ...]
    policies: Policies
    reader: Reader = PLAIN
    seen: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())

    @property
    def module(self) -> str:
        """Name of the module."""
        return self.name.replace("-", "_")

    @property
    def constant(self) -> str:
        """Name of the use case in its module."""
        return source_code.constant(self.name)

    @property
    def contract(self) -> str:
        """Name of the contract's class."""
        return source_code.class_name(self.name)

    @property
    def features(self) -> list[tuple[str, str]]:
        """Names and code of the features, in contract order."""
        return [feature for column in self.columns if column.role != CONFIRM for feature in column.features]


def draft(name: str, source: str, sample: Sample, options: NewUseCaseOptions) -> Draft:
    """Decide everything. Raises UsageError, one line, where the rows or the options do not allow a use case."""
    profiles = profile(sample)
    outcome = find_outcome(profiles, options.target, options.kind)
    if len(profiles) == 1:
        raise UsageError(f"{source!r}: {options.target!r} is its only column; a prediction is made from others")
    clock = find_clock(profiles, outcome.column, options.time)
    frame = pl.DataFrame([p.values for p in profiles])
    key = find_key(frame, profiles, outcome.column, clock.column if clock else None, options.key)
    columns = columns_of(profiles, outcome, key, clock, (source_code.constant(name), source_code.class_name(name)))
    if not any(column.features for column in columns if column.role != CONFIRM):
        why = ", ".join(f"{column.name}: {column.role}" for column in columns[:8])
        raise UsageError(f"{source!r}: no column can be a feature ({why}); bring numbers, dates or texts that repeat")
    policies = policies_for(outcome, clock, columns, frame.height)
    notes = _notes(outcome, key, clock, columns, sample)
    reader = drafted_reader(sample.reader, profiles, frozenset(options.reader))
    parts = (name, source, frame.height, sample.whole, outcome, key, clock, columns, policies)
    return Draft(*parts, reader=reader, seen=sample.seen, left_out=sample.left_out, notes=notes)


def profile(sample: Sample) -> list[Profile]:
    """Facts of every column of a sample."""

    def of(series: pl.Series) -> Profile:
        return Profile(type_column(series, sample.form, sample.reader))

    with ThreadPoolExecutor() as pool:  # polars works on one column in one thread, and without the interpreter's lock
        return list(pool.map(of, sample.frame.get_columns()))


def _confirm(typed: Sequence[Typed]) -> list[str]:
    """What can be read in two ways; a number that stands for "no value" in several columns is said once."""
    sentinels: dict[float, list[str]] = {}
    for each in typed:
        if each.sentinel is not None:
            sentinels.setdefault(each.sentinel, []).append(each.name)
    several = {value: names for value, names in sentinels.items() if len(names) > 2}
    said = [f"{each.name}: {each.confirm}" for each in typed if each.confirm and each.sentinel not in several]
    return [
        *said,
        *(
            f"{value:g} stands for no value in {', '.join(names)}, and is read as missing"
            for value, names in several.items()
        ),
    ]


def _notes(outcome: Outcome, key: Key, clock: Clock | None, columns: Sequence[Column], sample: Sample) -> tuple[str, ...]:
    """What a person should look at, most important first."""
    rows, named = sample.frame.height, ", ".join(key.columns) or "of the row"
    times = ", ".join(column.name for column in columns if column.profile.is_time and column.profile.nulls == 0)
    ids = {*key.columns, *(column.name for column in columns if column.role == "id")}
    repeats = "" if key.by_row else repeated([column.profile for column in columns], ids)
    notes = [
        outcome.note and f"target {outcome.column}: {outcome.note}",
        key.note and f"key {named}: {key.note}",
        key.broken(rows) and f"key {named}: {key.broken(rows)}",
        times and not clock and f"time: none, for {times} may or may not be the event time; --time COLUMN tells",
        clock and clock.note and f"time {clock.column}: {clock.note}",
        *(f"{column.name}: {column.note}" for column in columns if column.note),
        *_confirm([column.profile.typed for column in columns]),
        *(f"{name}: left out, {why}" for name, why in sample.left_out.items()),
        repeats and f"rows: {repeats}",
        not sample.whole and f"only the first {rows:,} rows were read; later ones may break the ranges",
        rows < FEW and f"{rows} rows are few: the gate may refuse for want of evidence",
    ]
    return tuple(str(note) for note in notes if note)

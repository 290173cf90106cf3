"""Ranges of partitions: which dated files there are to ingest, and which publishes of rows to score."""

from __future__ import annotations

import re
from pathlib import PurePath

from schemas.errors import UsageError
from schemas.replaying import Unit
from schemas.usecase import UseCase, resolve
from tasks import datasets
from tasks.datasets import PublishRecord
from tasks.ingestion import locate
from tasks.versions import VersionStore, open_store

DATE = re.compile(r"(?<!\d)\d{4}-\d{2}(-\d{2})?(?!\d)")


def partition_files(use_case: str, source: str, since: str, until: str, input: str | None = None) -> list[Unit]:
    """Files of a glob whose name's first date lies in the range, by date: lookups first, then rows, then labels.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        source: A path or a glob.
        since: First partition or day, like `2013-04` or `2013-04-05`.
        until: Last partition or day, included.
        input: Name of the input; told by a file's folder or name where it is left out.

    Returns:
        One unit of work a file.

    Raises:
        UsageError: A file's name holds no date or does not tell its input, or the range cannot be read.
    """
    _check_range(since, until)
    case, units = resolve(use_case), []
    for path in locate(source):
        date = DATE.search(path.name)
        if date is None:
            raise UsageError(f"{path.name}: no date like 2013-04 or 2013-04-05 in its name; ingest it by itself")
        spec = case.choose_input(input, str(path))
        unit = Unit(name=path.name, dates=(date[0],), place=str(path), input=spec.name)
        units += [unit] if in_range(unit, since, until) else []
    return sorted(units, key=lambda unit: (unit.dates, _rank(case, unit.input), unit.name))


def list_publishes(use_case: str, store_url: str, since: str, until: str) -> list[Unit]:
    """Live publishes of rows on main that brought rows to a partition in the range.

    Args:
        use_case: Name of the use case.
        store_url: URL of its data repository.
        since: First partition or day, e.g. 2013-04.
        until: Last partition or day, included.

    Returns:
        A unit a publish, oldest first; its place is the commit.

    Raises:
        UsageError: An end of the range cannot be read, or the first of them is the later one.
    """
    _check_range(since, until)
    case, store = resolve(use_case), open_store(store_url)
    records = list(datasets.live_publishes(store, case.rows)) if store.exists() else []
    units = (_publish_unit(store, record) for record in reversed(records))
    return [unit for unit in units if in_range(unit, since, until)]


def _publish_unit(store: VersionStore, record: PublishRecord) -> Unit:
    commit = record.commit.id
    dates = sorted({PurePath(path).parts[2] for path in datasets.paths_added_by(store, commit, record.input)})
    return Unit(name=record.source or commit[:12], dates=tuple(dates), place=commit, input=record.input)


def in_range(unit: Unit, since: str, until: str) -> bool:
    """Whether a date of the unit lies in the range, both ends included, compared as far as both are told."""
    return any(_cut(date, since) >= _cut(since, date) and _cut(date, until) <= _cut(until, date) for date in unit.dates)


def _cut(text: str, other: str) -> str:
    return text[: len(other)]


def _check_range(since: str, until: str) -> None:
    for end in (since, until):
        if not DATE.fullmatch(end):
            raise UsageError(f"cannot read {end!r}: write a partition like 2013-04 or a day like 2013-04-05")
    if _cut(since, until) > _cut(until, since):
        raise UsageError(f"nothing lies between {since} and {until}: the first of them is the later one")


def _rank(case: UseCase, input: str) -> int:
    labels = bool(case.labels) and input == case.label_input.name
    return 1 if input == case.rows else 2 if labels else 0

"""Tables that rows are completed from, held in memory by key: what `design` joins, found for one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from schemas.errors import IntegrityError
from schemas.refs import CommitId
from schemas.usecase import Lookup, UseCase
from tasks.inference.online.expression_compiler import Expressions
from tasks.inference.online.expression_operators import Declined, Evaluate, NotInVocabulary, Row, physical

Tables = Mapping[str, "Table"]


@dataclass(frozen=True)
class Table:
    """One looked-up input at a commit: its frame for the frame path, its rows by key for one row at a time.

    `rows` is None where only frames hold the types; then every row takes the frame path.
    """

    commit: CommitId
    frame: pl.DataFrame
    rows: Mapping[tuple[Any, ...], tuple[Any, ...]] | None


def build_table(use_case: UseCase, input: str, frame: pl.DataFrame, commit: CommitId) -> Table:
    """An input's accepted rows as a table; a row's values are the columns of all lookups in it, in declared order.

    Args:
        use_case: The use case.
        input: Name of the input, for example `labels`.
        frame: The input's accepted rows.
        commit: Id of a commit of `main`.

    Returns:
        The table.

    Raises:
        IntegrityError: A key occurs twice.
    """
    key = use_case.input(input).key
    columns = lookup_columns(use_case, input)
    kept = frame.select(*dict.fromkeys([*key, *columns]))
    if kept.select(key).is_duplicated().any():
        raise IntegrityError(f"the input {input!r} of {use_case.name!r} at {commit[:12]} has a key twice: {', '.join(key)}")
    try:
        keys = zip(*(physical(frame[name]) for name in key), strict=True)
        values = zip(*(physical(frame[name]) for name in columns), strict=True)
        return Table(commit, kept, dict(zip(keys, values, strict=True)))
    except NotInVocabulary:
        return Table(commit, kept, None)


def table_schema(use_case: UseCase, input: str) -> dict[str, pl.DataType]:
    """Columns that a table of a looked-up input holds, with their types: its key and what lookups read.

    Args:
        use_case: The use case.
        input: Name of the input.

    Returns:
        Types, by column.
    """
    spec = use_case.input(input)
    dtypes = spec.contract.dtypes()
    return {name: dtypes[name] for name in [*spec.key, *lookup_columns(use_case, input)]}


def lookup_columns(use_case: UseCase, input: str) -> list[str]:
    """Columns of an input that lookups read."""
    sources = [source for lookup in use_case.lookups if lookup.input == input for source in lookup.columns.values()]
    return list(dict.fromkeys(sources))


class Finder:
    """One lookup, compiled: appends its columns to a row. Raises NotInVocabulary."""

    def __init__(self, use_case: UseCase, lookup: Lookup, schema: Mapping[str, pl.DataType]) -> None:
        spec = use_case.input(lookup.input)
        dtypes = pl.Schema(spec.contract.dtypes())
        expressions = Expressions(schema)
        self._input = lookup.input
        self._key: list[Evaluate] = [expressions.compile(lookup.on[name].cast(dtypes[name])).evaluate for name in spec.key]
        columns = lookup_columns(use_case, lookup.input)
        self._places = [columns.index(source) for source in lookup.columns.values()]
        self._nothing = [None] * len(self._places)
        self.added = {name: dtypes[source] for name, source in lookup.columns.items()}

    def find(self, row: Row, tables: Tables) -> list[Any]:
        """The looked-up values of a row; nulls where its key is not there or has a null, as in a join."""
        rows = tables[self._input].rows
        if rows is None:
            raise Declined
        key = tuple([part(row) for part in self._key])
        values = rows.get(key)
        if values is None or None in key:
            return self._nothing
        return [values[at] for at in self._places]

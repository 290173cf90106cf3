"""The looked-up inputs of the versions that answer, loaded from the lake and renewed when it moves."""

from __future__ import annotations

import json
from typing import Any
from weakref import WeakValueDictionary

import polars as pl

from schemas.errors import Refused
from schemas.model_design import Design
from schemas.refs import CommitId, DataRef
from schemas.row_key import value_columns
from schemas.usecase import UseCase
from tasks import datasets
from tasks.inference.online import Table, Tables, build_table, table_schema
from tasks.versions import MAIN, VersionStore

SAMPLE = 200


class Loader:
    """Loads tables, and only those whose objects have changed since they were last loaded.

    Versions that look up the same columns share a table, for as long as one of them holds it.
    """

    def __init__(self, use_case: UseCase, store: VersionStore) -> None:
        self._case, self._store = use_case, store
        self.head: CommitId | None = None
        self._objects: dict[str, frozenset[str]] = {}
        self._loaded: WeakValueDictionary[Any, Table] = WeakValueDictionary()

    def refresh(self) -> CommitId:
        """Look at the head of main, by which tables are loaded from then on. Raises the store's errors."""
        head = self._store.head(MAIN)
        if head != self.head:
            self.head, self._objects = head, {}
        return head

    def tables(self, case: UseCase, design: Design | None) -> Tables:
        """The tables that a version looks up, at the head that was last seen; columns and types are those of its use case.

        Raises Refused where the newest rows of an input lack a column that the version needs, and the store's errors.
        """
        head = self.head or self.refresh()
        wanted = {name: self._what(case, name, head) for name in sorted({lookup.input for lookup in case.lookups})}
        tables = {name: table for name, what in wanted.items() if (table := self._loaded.get(what))}
        if design and tables.keys() != wanted.keys():
            self._check(case, design, head)
        frames = datasets.inputs_at(self._store, head, case) if tables.keys() != wanted.keys() else {}
        for name in wanted.keys() - tables.keys():
            frame = frames[name].select(*table_schema(case, name)).collect()
            tables[name] = self._loaded[wanted[name]] = build_table(case, name, frame, head)
        return tables

    def _what(self, case: UseCase, name: str, head: CommitId) -> Any:
        """Input, columns, types and objects: what tells tables apart."""
        if name not in self._objects:
            self._objects[name] = frozenset(each.path for each in self._store.objects(head, f"data/{name}/"))
        return name, tuple(table_schema(case, name).items()), self._objects[name]

    def _check(self, case: UseCase, design: Design, head: CommitId) -> None:
        """A column that newer rows lack would be null without a word."""
        if absent := datasets.absent_columns(design, DataRef(store=self._store.url, commit=head), []):
            raise Refused(f"{case.name}: the newest rows lack {', '.join(absent)}, which the model needs; train another one")

    def sample(self) -> pl.DataFrame:
        """Some rows of the newest object of the input that is predicted; none where there are none."""
        contract = self._case.input(self._case.rows).contract
        paths = [stored.path for stored in self._store.objects(MAIN, f"data/{self._case.rows}/")]
        frame = self._store.scan(MAIN, paths[-1:], contract.dtypes())
        return frame.select(*value_columns(contract)).head(SAMPLE).collect()


def commits(tables: Tables) -> str:
    """Input -> commit, as JSON: what a receipt says of looked-up values."""
    return json.dumps({name: each.commit for name, each in sorted(tables.items())})

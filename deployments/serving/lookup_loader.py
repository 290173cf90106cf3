"""The looked-up inputs of a use case, loaded from the lake and renewed when it moves."""

from __future__ import annotations

import json

import polars as pl

from schemas.refs import CommitId
from schemas.usecase import UseCase
from tasks import datasets
from tasks.inference.online import Table, Tables, build_table
from tasks.versions import MAIN, VersionStore

SAMPLE = 200


class Loader:
    """Loads tables, and only those whose objects have changed since it last did."""

    def __init__(self, use_case: UseCase, store: VersionStore) -> None:
        self._case, self._store = use_case, store
        self._head: CommitId | None = None
        self._objects: dict[str, frozenset[str]] = {}
        self.tables: Tables | None = None

    def refresh(self) -> bool:
        """Look at the head of main; returns whether tables are new. Raises the store's errors."""
        head = self._store.head(MAIN)
        if head == self._head:
            return False
        inputs = sorted({lookup.input for lookup in self._case.lookups})
        paths = {name: frozenset(each.path for each in self._store.objects(head, f"data/{name}/")) for name in inputs}
        changed = [name for name in inputs if self.tables is None or paths[name] != self._objects.get(name)]
        tables = dict(self.tables or {})
        frames = datasets.inputs_at(self._store, head, self._case)
        for name in changed:
            tables[name] = self._load(name, frames[name], head)
        renewed = bool(changed) or self.tables is None
        self.tables, self._objects, self._head = tables, paths, head
        return renewed

    def _load(self, name: str, frame: pl.LazyFrame, head: CommitId) -> Table:
        columns = dict.fromkeys([*self._case.input(name).key, *_sources(self._case, name)])
        return build_table(self._case, name, frame.select(*columns).collect(), head)

    def sample(self) -> pl.DataFrame:
        """Some rows of the newest object of the input that is predicted; none where there are none."""
        contract = self._case.input(self._case.rows).contract
        paths = [stored.path for stored in self._store.objects(MAIN, f"data/{self._case.rows}/")]
        frame = self._store.scan(MAIN, paths[-1:], contract.dtypes())
        return frame.select(*contract.known("at_prediction")).head(SAMPLE).collect()


def _sources(use_case: UseCase, name: str) -> list[str]:
    return [source for lookup in use_case.lookups if lookup.input == name for source in lookup.columns.values()]


def commits(tables: Tables) -> str:
    """Input -> commit, as JSON: what a receipt says of looked-up values."""
    return json.dumps({name: each.commit for name, each in sorted(tables.items())})

"""What is published: the one reader of main's log, which knows what was retracted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal

import polars as pl
from pydantic import Field

from schemas.refs import Commit, CommitId, DataRef, Sha256, Source, Value
from schemas.usecase import Input, UseCase
from tasks.versions import MAIN, VersionStore, open_store

SourceState = Literal["published", "retracted"]

INGEST, RETRACT = "ingest", "retract"

DATA, REJECTED, AUDITS = "data", "rejected", "audits"


def source_states(store: VersionStore) -> Mapping[tuple[str, Sha256], SourceState]:
    """What became last of each source that ever reached main, by input and hash."""
    found: dict[tuple[str, Sha256], SourceState] = {}
    if store.exists():
        for entry in store.log(MAIN, first_parent=True):
            told = entry.metadata
            if sha := told.get("source_sha256"):
                fate: SourceState = "published" if told.get("kind") == INGEST else "retracted"
                found.setdefault((told.get("input", ""), sha), fate)
    return found


def data_at(store_url: str, commit: str | None) -> DataRef:
    """Data at a commit (any ref), or at the head of main. Raises NotFound."""
    return DataRef(store=store_url, commit=open_store(store_url).head(commit or MAIN))


def paths_added_by(store: VersionStore, commit: CommitId, input: str) -> list[str]:
    """Paths of the input's accepted rows that a commit of main brought to its first parent."""
    parents = store.get(commit).parents
    if not parents:
        return []
    added = (change.path for change in store.diff(parents[0], commit) if change.kind == "added")
    return sorted(path for path in added if path.startswith(f"data/{input}/"))


def newest_publish(store: VersionStore, input: str, commit: CommitId = "main") -> CommitId | None:
    """The newest commit of main, at or before `commit`, that published rows of an input."""
    for entry in store.log(commit, first_parent=True):
        if entry.metadata.get("kind") == "ingest" and entry.metadata.get("input") == input:
            return entry.id
    return None


def source_history(store: VersionStore, source_sha256: str, input: str) -> list[Commit]:
    """What happened to a source on main, newest first: its publishes and retractions."""
    wanted = {"source_sha256": source_sha256, "input": input}
    return [c for c in store.log(MAIN, first_parent=True) if wanted.items() <= dict(c.metadata).items()]


def published_commit(store: VersionStore, source_sha256: str, input: str) -> Commit | None:
    """The commit of main that published a source, unless it was retracted since."""
    newest = next(iter(source_history(store, source_sha256, input)), None)
    return newest if newest is not None and newest.metadata.get("kind") == INGEST else None


def retraction_count(store: VersionStore, source: Source, input: str) -> int:
    """How often a source was retracted."""
    return sum(c.metadata.get("kind") == RETRACT for c in source_history(store, source.sha256, input))


def data_paths(
    store: VersionStore, ref: str, input: str, partitions: Collection[str] | None = None, kind: str = DATA
) -> list[str]:
    """Paths of an input's rows at a ref, in some partitions or all."""
    paths = (found.path for found in store.objects(ref, f"{kind}/{input}/"))
    return [path for path in paths if partitions is None or path.split("/")[2] in partitions]


def watermark(store: VersionStore, spec: Input, commit: CommitId = MAIN) -> datetime | None:
    """The newest event time of an input that was published and not retracted, at a commit."""
    gone: set[str] = set()
    newest: list[datetime] = []
    for entry in store.log(commit, first_parent=True):
        told = entry.metadata
        if told.get("input") != spec.name:
            continue
        if told.get("kind") == RETRACT:
            gone.add(told["source_sha256"])
        elif told.get("kind") == INGEST and told.get("watermark"):
            if told["source_sha256"] not in gone:
                newest.append(datetime.fromisoformat(told["watermark"]))
            gone.discard(told["source_sha256"])
    return max(newest, default=None)


def inputs_at(store: VersionStore, commit: CommitId, case: UseCase) -> dict[str, pl.LazyFrame]:
    """Every input's accepted rows at a commit, by the input's name."""
    return {s.name: store.scan(commit, data_paths(store, commit, s.name), s.contract.dtypes()) for s in case.inputs}


class Publish(Value):
    """The newest publish of a source."""

    source: str
    input: str
    commit: str
    time: datetime
    accepted: int = Field(ge=0)
    rejected: int = Field(ge=0)


def last_publish(store: VersionStore) -> Publish | None:
    """The newest publish on main that was not a retraction."""
    for entry in store.log(MAIN, first_parent=True):
        told = entry.metadata
        if told.get("kind") == INGEST:
            rows = {name: int(told.get(name, 0)) for name in ("accepted", "rejected")}
            return Publish(source=told["source_name"], input=told["input"], commit=entry.id, time=entry.time, **rows)
    return None

"""What is published: the one reader of main's log that knows which publishes were retracted since.

Everything that asks what is live, what became of a source, or how far an input has come is a line over `publish_log`. No
other module reads the kinds of main's commits; only the writers of them spell the kinds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from schemas.refs import Commit, CommitId, DataRef, Sha256
from schemas.usecase import Input, UseCase
from tasks.versions import MAIN, VersionStore, open_store

SourceState = Literal["published", "retracted"]
SourceKey = tuple[str, Sha256]  # (input, SHA-256): the same bytes may be delivered to several inputs

INGEST, RETRACT = "ingest", "retract"  # kinds of commits on main

DATA, REJECTED, AUDITS = "data", "rejected", "audits"


@dataclass(frozen=True)
class PublishRecord:
    """One publish of a source on main. What a commit of an older release does not say is empty, None or 0.

    Attributes:
        commit: Commit of main that published the source.
        retraction: Commit of main that took this publish back since; None while it is live.
    """

    commit: Commit
    retraction: Commit | None = None

    @property
    def live(self) -> bool:
        """Whether the publish was not retracted since."""
        return self.retraction is None

    @property
    def reason(self) -> str:
        """Why it was retracted, as the person who did it said."""
        return self.retraction.metadata.get("reason", "") if self.retraction else ""

    @property
    def key(self) -> SourceKey:
        """Input and SHA-256, by which a source is known."""
        return source_key(self.commit)

    @property
    def input(self) -> str:
        """Input that the source was delivered to."""
        return self.key[0]

    @property
    def sha256(self) -> Sha256:
        """SHA-256 of the source's bytes."""
        return self.key[1]

    @property
    def source(self) -> str:
        """Name that the source was delivered under."""
        return self.commit.metadata.get("source_name", "")

    @property
    def rows(self) -> int:
        """Rows of the source."""
        return self._count("rows")

    @property
    def accepted(self) -> int:
        """Rows that the contract accepted."""
        return self._count("accepted")

    @property
    def rejected(self) -> int:
        """Rows that the contract rejected."""
        return self._count("rejected")

    @property
    def redelivered(self) -> int:
        """Rows that were dropped because an earlier source had brought their keys."""
        return self._count("redelivered")

    @property
    def watermark(self) -> datetime | None:
        """Newest event time of the accepted rows; None where none was accepted or the input has no time."""
        written = self.commit.metadata.get("watermark")
        return datetime.fromisoformat(written) if written else None

    @property
    def contract_version(self) -> str | None:
        """Version of the contract that the source was audited with."""
        return self.commit.metadata.get("contract_version")

    @property
    def flow_run(self) -> str:
        """Id of the flow run that published it."""
        return self.commit.metadata.get("flow_run", "")

    def _count(self, name: str) -> int:
        return int(self.commit.metadata.get(name) or 0)


def source_key(commit: Commit) -> SourceKey:
    """Input and SHA-256 that a publish or a retraction names."""
    return commit.metadata.get("input", ""), commit.metadata.get("source_sha256", "")


def publish_log(store: VersionStore, ref: str = MAIN) -> Iterator[PublishRecord]:
    """Every publish in the first-parent log of a ref, newest first: one walk, which ends where the caller stops.

    A retraction takes back the newest publish before it of the same source to the same input. Retractions that came after
    `ref` do not count: the log says what was live then.

    Args:
        store: Data repository of a use case.
        ref: Branch, tag or commit where the walk begins.

    Yields:
        A record a publish.

    Raises:
        NotFound: There is no such ref, or no such repository.
    """
    retractions: dict[SourceKey, Commit] = {}
    for commit in store.log(ref, first_parent=True):
        kind = commit.metadata.get("kind")
        if kind == RETRACT:
            retractions.setdefault(source_key(commit), commit)
        elif kind == INGEST:
            yield PublishRecord(commit, retractions.pop(source_key(commit), None))


def live_publishes(store: VersionStore, input: str | None = None, ref: str = MAIN) -> Iterator[PublishRecord]:
    """Publishes that were not retracted as of a ref, newest first.

    Args:
        store: Data repository of a use case.
        input: Only publishes of this input; of all inputs where it is left out.
        ref: Branch, tag or commit where the walk begins.

    Yields:
        A record a publish. Raises NotFound for an unknown ref.
    """
    return (record for record in publish_log(store, ref) if record.live and input in (None, record.input))


def newest_publish(store: VersionStore, input: str | None = None, ref: str = MAIN) -> PublishRecord | None:
    """The newest publish that was not retracted as of a ref, of an input or of any; None where there is none.

    Args:
        store: The repository with the use case's data.
        input: Name of the input; None for any.
        ref: Branch, tag or commit.

    Returns:
        The record, or None.
    """
    return next(live_publishes(store, input, ref), None)


def newest_by_source(store: VersionStore, ref: str = MAIN) -> dict[SourceKey, PublishRecord]:
    """The newest publish of each source that ever reached a ref, live or retracted, by input and SHA-256.

    Args:
        store: The repository with the use case's data.
        ref: Branch, tag or commit.

    Returns:
        One record a source.
    """
    newest: dict[SourceKey, PublishRecord] = {}
    for record in publish_log(store, ref):
        newest.setdefault(record.key, record)
    return newest


def source_states(store: VersionStore) -> Mapping[SourceKey, SourceState]:
    """What became last of each source that ever reached main, by input and SHA-256. Empty without a repository.

    Args:
        store: The repository with the use case's data.

    Returns:
        `published` or `retracted`, by input and SHA-256.
    """
    records = newest_by_source(store) if store.exists() else {}
    return {key: "published" if record.live else "retracted" for key, record in records.items()}


def source_history(store: VersionStore, source_sha256: Sha256, input: str) -> list[PublishRecord]:
    """Every publish of a source to an input on main, newest first; each but the newest was retracted.

    Args:
        store: The repository with the use case's data.
        source_sha256: SHA-256 of the source's bytes, in hexadecimal.
        input: Name of the input, for example `labels`.

    Returns:
        The records.
    """
    return [record for record in publish_log(store) if record.key == (input, source_sha256)]


def published_source(store: VersionStore, source_sha256: Sha256, input: str) -> PublishRecord | None:
    """The newest publish of a source to an input on main, unless it was retracted since.

    Args:
        store: The repository with the use case's data.
        source_sha256: SHA-256 of the source's bytes, in hexadecimal.
        input: Name of the input, for example `labels`.

    Returns:
        The record, or None.
    """
    record = next((record for record in publish_log(store) if record.key == (input, source_sha256)), None)
    return record if record and record.live else None


def published_commit(store: VersionStore, source_sha256: Sha256, input: str) -> Commit | None:
    """The commit of main that published a source, unless it was retracted since.

    Args:
        store: The repository with the use case's data.
        source_sha256: SHA-256 of the source's bytes, in hexadecimal.
        input: Name of the input, for example `labels`.

    Returns:
        The commit, or None.
    """
    record = published_source(store, source_sha256, input)
    return record.commit if record else None


def retracted_commits(store: VersionStore, ref: str = MAIN) -> set[CommitId]:
    """Ids of the publishes whose rows were taken back as of a ref.

    Args:
        store: The repository with the use case's data.
        ref: Branch, tag or commit.

    Returns:
        The ids.
    """
    return {record.commit.id for record in publish_log(store, ref) if not record.live}


def watermarks(records: Iterable[PublishRecord]) -> dict[str, datetime]:
    """The newest event time of some publishes, by input; an input without one is left out.

    Args:
        records: The publishes.

    Returns:
        Moments, by the input's name.
    """
    newest: dict[str, datetime] = {}
    for record in records:
        if at := record.watermark:
            newest[record.input] = max(at, newest.get(record.input, at))
    return newest


def watermark(store: VersionStore, spec: Input, commit: CommitId = MAIN) -> datetime | None:
    """The newest event time of an input that was published and not retracted, at a commit.

    Args:
        store: The repository with the use case's data.
        spec: The input, with its contract, key and partitions.
        commit: Id of a commit of `main`.

    Returns:
        The moment, or None.
    """
    return watermarks(live_publishes(store, spec.name, commit)).get(spec.name)


def data_at(store_url: str, commit: str | None) -> DataRef:
    """Data at a commit (any ref), or at the head of main.

    Args:
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        commit: Any ref; None for the head of main.

    Returns:
        The repository and the commit's id.

    Raises:
        NotFound: There is no such ref.
    """
    return DataRef(store=store_url, commit=open_store(store_url).head(commit or MAIN))


def paths_added_by(store: VersionStore, commit: CommitId, input: str) -> list[str]:
    """Paths of the input's accepted rows that a commit of main brought to its first parent.

    Args:
        store: The repository with the use case's data.
        commit: Id of a commit of `main`.
        input: Name of the input, for example `labels`.

    Returns:
        Paths of the objects, sorted.
    """
    parents = store.get(commit).parents
    if not parents:
        return []
    added = (change.path for change in store.diff(parents[0], commit) if change.kind == "added")
    return sorted(path for path in added if path.startswith(f"data/{input}/"))


def data_paths(
    store: VersionStore, ref: str, input: str, partitions: Collection[str] | None = None, kind: str = DATA
) -> list[str]:
    """Paths of an input's rows at a ref, in some partitions or all.

    Args:
        store: The repository with the use case's data.
        ref: Branch, tag or commit.
        input: Name of the input, for example `labels`.
        partitions: Names of partitions; None for all.
        kind: `data` for accepted rows, `rejected` for the others.

    Returns:
        Paths of the objects.
    """
    paths = (stored.path for stored in store.objects(ref, f"{kind}/{input}/"))
    return [path for path in paths if partitions is None or path.split("/")[2] in partitions]


def inputs_at(store: VersionStore, commit: CommitId, case: UseCase) -> dict[str, pl.LazyFrame]:
    """Every input's accepted rows at a commit, by the input's name.

    Args:
        store: The repository with the use case's data.
        commit: Id of a commit of `main`.
        case: The use case.

    Returns:
        Lazy frames by the input's name; nothing is read until they are collected.
    """
    return {s.name: store.scan(commit, data_paths(store, commit, s.name), s.contract.dtypes()) for s in case.inputs}

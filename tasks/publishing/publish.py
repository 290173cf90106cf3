"""Write, audit, publish: an audited source on a branch of its own, one commit, one guarded merge into `main`.

Every step looks before it acts: a source that is published is found by its hash, a staged one by its commit. The head of
`main` is read before the keys are checked, and the merge holds only while the touched partitions are as they were then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from schemas.digests import sha256, sorted_json
from schemas.errors import NotFound, NothingToCommit, Refused, StaleCheck
from schemas.refs import Commit, CommitId, Guard, Source
from schemas.row_key import value_columns
from schemas.usecase import Input
from schemas.verdicts import AuditVerdict
from tasks.datasets import AUDITS, DATA, INGEST, REJECTED, PublishRecord, data_paths, published_commit, source_history
from tasks.fault_injection import fault_point
from tasks.timestamps import moment
from tasks.versions import MAIN, VersionStore

if TYPE_CHECKING:
    from tasks.contracts import Audited

FORMAT = "1"
BRANCH_PREFIX = "ingest/"


def branch_name(source: Source, retractions: int = 0) -> str:
    """The branch of a source; after a retraction another one, since a merged branch brings nothing a second time.

    Args:
        source: The file, with its size in bytes and its SHA-256.
        retractions: How often the source was retracted.

    Returns:
        The branch's name.
    """
    return f"{BRANCH_PREFIX}{source.sha256}" + (f"-{retractions}" if retractions else "")


def _next_branch(source: Source, history: Sequence[PublishRecord]) -> str:
    """The branch of a source that was published, and retracted, as its history says."""
    return branch_name(source, sum(not record.live for record in history))


def known_keys(store: VersionStore, commit: CommitId, spec: Input, partitions: Collection[str]) -> pl.LazyFrame:
    """The published keys that rows of these partitions must not repeat, at a commit.

    Those of the same partitions, where the key tells the partition, else all; without those about to be replaced.

    Args:
        store: The repository with the use case's data.
        commit: Id of a commit of `main`.
        spec: The input, with its contract, key and partitions.
        partitions: Partitions that the source touches.

    Returns:
        The key columns; nothing is read until it is collected.
    """
    paths = _known_paths(store, commit, spec, partitions)
    return store.scan(commit, paths, spec.contract.dtypes()).select(spec.key)


def known_files(store: VersionStore, commit: CommitId, spec: Input, partitions: Collection[str]) -> Iterator[pl.LazyFrame]:
    """The files that hold the keys of `known_keys`, each with the columns that it has.

    Args:
        store: The repository with the use case's data.
        commit: Id of a commit of `main`.
        spec: The input, with its contract, key and partitions.
        partitions: Partitions that the source touches.

    Yields:
        A lazy frame a file.
    """
    return (store.scan(commit, [path]) for path in _known_paths(store, commit, spec, partitions))


def _known_paths(store: VersionStore, commit: CommitId, spec: Input, partitions: Collection[str]) -> list[str]:
    paths = data_paths(store, commit, spec.name, partitions if key_tells_partition(spec) else None)
    if spec.on_redelivery == "replace_partition":
        paths = [path for path in paths if path.split("/")[2] not in partitions]
    return paths


def key_tells_partition(spec: Input) -> bool:
    """Whether rows with one key lie in one partition."""
    told = value_columns(spec.contract) if spec.by_row else spec.key
    return set(spec.partition.meta.root_names()) <= set(told)


def stage(
    store: VersionStore, spec: Input, source: Source, audited: Audited, flow_run: str, checked_at: CommitId
) -> tuple[str, CommitId]:
    """Commit both halves of an audited source, and its verdict, on its branch.

    A branch that holds just this content is taken as it is; one that holds other content (from before `main` moved) is made
    anew.

    Args:
        store: The repository with the use case's data.
        spec: The input, with its contract, key and partitions.
        source: The file, with its size in bytes and its SHA-256.
        audited: The files of both halves, and the verdict.
        flow_run: Id of the flow run that does it; it is kept with the commit. May be empty.
        checked_at: Head of main that the keys were checked against.

    Returns:
        Branch and commit.

    Raises:
        StaleCheck: Another run of the same source got in between.
    """
    branch = _next_branch(source, source_history(store, source.sha256, spec.name))
    wanted = _wanted(spec, source, audited)
    content = hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest()
    replaced = _replaced(store, spec, audited, checked_at)
    head = store.get(store.branch(branch, checked_at))
    if head.metadata.get("content") == content and _holds(store, head.parents[0], head.id, wanted, replaced):
        return branch, head.id
    if head.id != checked_at:
        store.delete_branch(branch)
        store.branch(branch, checked_at)
    try:
        _bring(store, branch, checked_at, wanted, replaced)
        metadata = _metadata(spec, source, audited, flow_run) | {"content": content}
        commit = store.commit(branch, f"stage {source.name} for {spec.name}", metadata).id
    except (NothingToCommit, NotFound):  # another run of this source committed, or published and cleaned up
        commit = store.branch(branch, checked_at)
    if not _holds(store, checked_at, commit, wanted, replaced):
        raise StaleCheck(f"another run staged {source.name} at the same time; audit it again")
    return branch, commit


def _wanted(spec: Input, source: Source, audited: Audited) -> dict[str, Path | bytes]:
    """What the branch is to hold, by path. The verdict makes a commit even of a source that brings no new row."""
    files: dict[str, Path | bytes] = {}
    for kind, parts in ((DATA, audited.accepted), (REJECTED, audited.rejected)):
        files |= {f"{kind}/{spec.name}/{part.partition}/{part.sha256}.parquet": part.path for part in parts}
    document = {
        "format_version": FORMAT,
        "source": source.model_dump(exclude={"path"}),
        **audited.verdict.model_dump(mode="json"),
        "contract": spec.described(),
    }
    verdict = sorted_json(document).encode()
    return {**files, f"{AUDITS}/{spec.name}/{sha256(verdict)}.json": verdict}


def _replaced(store: VersionStore, spec: Input, audited: Audited, checked_at: CommitId) -> set[str]:
    """Published paths that give way to this source."""
    if spec.on_redelivery != "replace_partition":
        return set()
    return set(data_paths(store, checked_at, spec.name, {part.partition for part in audited.accepted}))


def _bring(
    store: VersionStore, branch: str, base: CommitId, wanted: Mapping[str, Path | bytes], replaced: Collection[str]
) -> None:
    """Upload what the branch lacks, and remove what gives way and what a run that was killed has left."""
    before = {stored.path for stored in store.objects(base)}
    staged = {stored.path for stored in store.objects(branch, staged=True)}
    for path in sorted((staged - before | set(replaced)) & staged - wanted.keys()):
        store.remove(branch, path)
    for path in sorted(wanted.keys() - staged):
        store.upload(branch, path, wanted[path])
        fault_point("publishing.after_upload")


def _holds(
    store: VersionStore, base: CommitId, commit: CommitId, wanted: Collection[str], replaced: Collection[str]
) -> bool:
    """Whether a commit changes just these paths."""
    changes = store.diff(base, commit)
    written = {change.path for change in changes if change.kind != "removed"}
    removed = {change.path for change in changes if change.kind == "removed"}
    return written == set(wanted) and removed == set(replaced) - set(wanted)


def publish_commit(
    store: VersionStore,
    spec: Input,
    source: Source,
    branch: str,
    commit: CommitId,
    checked_at: CommitId,
    partitions: Collection[str],
) -> Commit:
    """Merge a staged commit into main; a source that another run published is found. The branch stays until it is reported.

    The commit is merged, not whatever the branch holds by now: it is what the keys were checked for.

    Args:
        store: The repository with the use case's data.
        spec: The input, with its contract, key and partitions.
        source: The file, with its size in bytes and its SHA-256.
        branch: The source's branch.
        commit: The staged commit.
        checked_at: Head of main that the keys were checked against.
        partitions: Partitions that the source touches.

    Returns:
        The commit of main.

    Raises:
        StaleCheck: A touched partition changed since `checked_at`: audit again.
        Refused: The source was retracted since it was staged.
    """
    history = source_history(store, source.sha256, spec.name)
    if history and history[0].live:
        return history[0].commit
    if branch != _next_branch(source, history):
        raise Refused(f"{source.name} was retracted while it was being published: deliver it again if it is right after all")
    try:
        described = store.get(commit).metadata
        message = f"ingest {source.name}: {described['accepted']} rows accepted, {described['rejected']} rejected"
        metadata = {**described, "branch": branch, "checked_at": checked_at}
        merged = store.merge(commit, MAIN, message, metadata, guard=guard(spec, checked_at, partitions))
    except (NotFound, NothingToCommit):
        if done := published_commit(store, source.sha256, spec.name):
            return done
        raise StaleCheck(f"the branch of {source.name} went away while it was being published") from None
    fault_point("publishing.after_publish")
    return merged


def unnotified_publish(store: VersionStore, commit: Commit) -> AuditVerdict | None:
    """The verdict of a publish that nobody was told of: its branch is still there, since its run died or is at it.

    Args:
        store: The repository with the use case's data.
        commit: The commit of main.

    Returns:
        The verdict, or None where the publish was reported.
    """
    if commit.metadata.get("branch") not in store.branches():
        return None
    changed = (change.path for change in store.diff(commit.parents[0], commit.id) if change.kind != "removed")
    path = next(path for path in changed if path.startswith(f"{AUDITS}/{commit.metadata['input']}/"))
    document = json.loads(store.read(commit.id, path))
    return AuditVerdict.model_validate({name: document[name] for name in AuditVerdict.model_fields if name in document})


def delete_published_branch(store: VersionStore, commit: Commit) -> None:
    """Remove the branch of a publish that was told of.

    Args:
        store: The repository with the use case's data.
        commit: The commit of main.
    """
    if branch := commit.metadata.get("branch"):
        store.delete_branch(branch)


def guard(spec: Input, checked_at: CommitId, partitions: Collection[str]) -> Guard:
    """What a publish relies on: the partitions whose keys were checked are as they were then."""
    names = [f"{name}/" for name in sorted(partitions)] if key_tells_partition(spec) else [""]
    return Guard(commit=checked_at, prefixes=tuple(f"{DATA}/{spec.name}/{name}" for name in names))


def _metadata(spec: Input, source: Source, audited: Audited, flow_run: str) -> dict[str, str]:
    verdict = audited.verdict
    newest = _newest((part.path for part in audited.accepted), spec.time)
    return {
        "format_version": FORMAT,
        "kind": INGEST,
        "input": spec.name,
        "source_sha256": source.sha256,
        "source_name": source.name,
        "rows": str(verdict.rows),
        "accepted": str(verdict.accepted),
        "rejected": str(verdict.rejected),
        "redelivered": str(verdict.redelivered),
        "contract_version": verdict.contract_version,
        "watermark": newest.isoformat() if newest else "",
        "flow_run": flow_run,
    }


def _newest(files: Iterable[Path], time: str | None) -> datetime | None:
    paths = list(files)
    return moment(pl.scan_parquet(paths).select(pl.col(time).max()).collect().item()) if paths and time else None

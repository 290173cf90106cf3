"""Write, audit, publish: an audited source on a branch of its own, one commit, one guarded merge into `main`.

Every step looks before it acts: a source that is published is found by its hash, a staged one by its commit. The head of
`main` is read before the keys are checked, and the merge holds only while the touched partitions are as they were then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from schemas.errors import NotFound, NothingToCommit, Refused, StaleCheck
from schemas.refs import Commit, CommitId, Guard, Source
from schemas.usecase import Input, UseCase
from tasks.audit_output import Part
from tasks.contracts import Audited
from tasks.killpoints import reach
from tasks.versions import MAIN, VersionStore

FORMAT = "1"
INGEST, RETRACT = "ingest", "retract"
DATA, REJECTED = "data", "rejected"


def history(store: VersionStore, source_sha256: str, input: str) -> list[Commit]:
    """What happened to a source on main, newest first: its publishes and retractions."""
    wanted = {"source_sha256": source_sha256, "input": input}
    return [c for c in store.log(MAIN, first_parent=True) if wanted.items() <= dict(c.metadata).items()]


def published(store: VersionStore, source_sha256: str, input: str) -> Commit | None:
    """The commit of main that published a source, unless it was retracted since."""
    newest = next(iter(history(store, source_sha256, input)), None)
    return newest if newest is not None and newest.metadata.get("kind") == INGEST else None


def branch_name(source: Source, retractions: int = 0) -> str:
    """The branch of a source; after a retraction another one, since a merged branch brings nothing a second time."""
    return f"ingest/{source.sha256}" + (f"-{retractions}" if retractions else "")


def retractions(store: VersionStore, source: Source, input: str) -> int:
    """How often a source was retracted."""
    return sum(c.metadata.get("kind") == RETRACT for c in history(store, source.sha256, input))


def known_keys(store: VersionStore, commit: CommitId, spec: Input, partitions: Collection[str]) -> pl.LazyFrame:
    """Key columns of the input's rows in some partitions at a commit; none where they are about to be replaced."""
    paths = [] if spec.on_redelivery == "replace_partition" else data_paths(store, commit, spec.name, partitions)
    return store.scan(commit, paths, spec.contract.dtypes()).select(spec.key)


def data_paths(
    store: VersionStore, ref: str, input: str, partitions: Collection[str] | None = None, kind: str = DATA
) -> list[str]:
    """Paths of an input's rows at a ref, in some partitions or all."""
    paths = (found.path for found in store.objects(ref, f"{kind}/{input}/"))
    return [path for path in paths if partitions is None or path.split("/")[2] in partitions]


def stage(
    store: VersionStore, spec: Input, source: Source, audited: Audited, flow_run: str, checked_at: CommitId
) -> tuple[str, CommitId]:
    """Commit both halves of an audited source on its branch; returns branch and commit.

    A branch that holds just this content is taken as it is; one that holds other content (from before `main` moved, or
    from a run that was killed) is brought to it.
    """
    branch = branch_name(source, retractions(store, source, spec.name))
    wanted = {_path(DATA, spec, part): part for part in audited.accepted}
    wanted |= {_path(REJECTED, spec, part): part for part in audited.rejected}
    content = hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest()
    if spec.on_redelivery == "replace_partition":
        store.delete_branch(branch)
    head = store.get(store.branch(branch, checked_at))
    if head.metadata.get("content") == content:
        return branch, head.id
    _bring(store, branch, wanted)
    if spec.on_redelivery == "replace_partition":
        _drop_replaced(store, branch, spec, wanted)
    metadata = _metadata(spec, source, audited, flow_run) | {"content": content}
    try:
        return branch, store.commit(branch, f"stage {source.name} for {spec.name}", metadata).id
    except NothingToCommit:
        return branch, store.head(branch)


def _bring(store: VersionStore, branch: str, wanted: dict[str, Part]) -> None:
    """Upload what the branch lacks, and remove what it holds of an earlier attempt."""
    on_main = {found.path for found in store.objects(MAIN)}
    on_branch = {found.path for found in store.objects(branch, staged=True)}
    for path in sorted(on_branch - on_main - wanted.keys()):
        store.remove(branch, path)
    for path in sorted(wanted.keys() - on_branch):
        store.upload(branch, path, wanted[path].path, {"sha256": wanted[path].sha256})
        reach("publishing.after_upload")


def _drop_replaced(store: VersionStore, branch: str, spec: Input, wanted: dict[str, Part]) -> None:
    partitions = {part.partition for path, part in wanted.items() if path.startswith(f"{DATA}/")}
    for path in data_paths(store, branch, spec.name, partitions):
        if path not in wanted:
            store.remove(branch, path)


def publish(
    store: VersionStore, spec: Input, source: Source, branch: str, checked_at: CommitId, partitions: Sequence[str]
) -> Commit:
    """Merge a staged source into main, and remove its branch; a source that another run published is found.

    Raises StaleCheck where a touched partition changed since `checked_at` (audit again), Refused where the source was
    retracted since it was staged.
    """
    if done := published(store, source.sha256, spec.name):
        return done
    if branch != branch_name(source, retractions(store, source, spec.name)):
        raise Refused(f"{source.name} was retracted while it was being published: deliver it again if it is right after all")
    try:
        staged = store.get(branch)
        metadata = {**staged.metadata, "branch": branch, "checked_at": checked_at}
        message = f"ingest {source.name}: {metadata['accepted']} rows accepted, {metadata['rejected']} rejected"
        guard = Guard(commit=checked_at, prefixes=tuple(f"{DATA}/{spec.name}/{name}/" for name in partitions))
        merged = store.merge(branch, MAIN, message, metadata, guard=guard)
    except (NotFound, NothingToCommit):
        if done := published(store, source.sha256, spec.name):
            return done
        raise StaleCheck(f"the branch of {source.name} went away while it was being published") from None
    reach("publishing.after_publish")
    store.delete_branch(branch)
    return merged


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
    paths = [found.path for found in store.objects(commit, f"{DATA}/")]
    return {
        spec.name: store.scan(commit, [p for p in paths if p.startswith(f"{DATA}/{spec.name}/")], spec.contract.dtypes())
        for spec in case.inputs
    }


def _path(kind: str, spec: Input, part: Part) -> str:
    return f"{kind}/{spec.name}/{part.partition}/{part.sha256}.parquet"


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


def _newest(files: Iterable[Path], time: str | None) -> Any:
    paths = list(files)
    return pl.scan_parquet(paths).select(pl.col(time).max()).collect().item() if paths and time else None

"""Tasks of ingestion: a source is hashed, looked up, audited on a branch of its own, published, and taken back."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prefect import task

from schemas.errors import NotFound, UsageError
from schemas.refs import Commit, CommitId, Source
from schemas.replaying import Unit
from schemas.results import Retraction, Staged
from schemas.usecase import Input, UseCase, resolve
from schemas.verdicts import AuditVerdict
from tasks import datasets, parsing, publishing
from tasks.orchestration import TASK_OPTIONS
from tasks.registry import open_registry
from tasks.temp_files import scratch
from tasks.versions import MAIN, VersionStore, open_store


@task(**TASK_OPTIONS, tags={"ingest"})
def fingerprint(path: Path) -> Source:
    """Name, size and SHA-256 of a regular file. Raises UsageError for anything else."""
    return parsing.fingerprint(path)


@task(**TASK_OPTIONS, tags={"ingest"})
def partition_files(use_case: str, source: str, since: str, until: str, input: str | None = None) -> list[Unit]:
    """Files of a glob whose name's first date lies in the range, by date: lookups first, then rows, then labels.

    Raises UsageError where a file's name holds no date or does not tell its input.
    """
    return publishing.partition_files(use_case, source, since, until, input)


@task(**TASK_OPTIONS, tags={"lake"})
def list_publishes(use_case: str, store_url: str, since: str, until: str) -> list[Unit]:
    """Live publishes of rows on main, oldest first, that brought rows to a partition in the range."""
    return publishing.list_publishes(use_case, store_url, since, until)


@task(**TASK_OPTIONS, tags={"ingest", "lake"})
def already_published(store_url: str, input: str, sha256: str) -> Commit | None:
    """The commit of main that published this source, unless it was retracted since. Makes the repository if need be."""
    store = open_store(store_url)
    store.create()
    return datasets.published_commit(store, sha256, input)


@task(**TASK_OPTIONS, tags={"ingest", "lake"})
def audit_on_branch(
    use_case: str, input: str, source: Source, store_url: str, flow_run: str, limits: parsing.Limits
) -> Staged:
    """Parse and audit a source and commit both halves on its branch.

    Raises Refused for a source that cannot be read, StoreError where the disk is full.
    """
    spec = resolve(use_case).input(input)
    store = open_store(store_url)
    with scratch("penstock-") as folder:
        return _audit(store, spec, source, flow_run, limits, folder)


def _audit(store: VersionStore, spec: Input, source: Source, flow_run: str, limits: parsing.Limits, folder: Path) -> Staged:
    from tasks import contracts

    parsed = parsing.parse_source(source, spec.contract, folder / "parsed", limits)
    checked_at = store.head(MAIN)
    partitions = contracts.touched_partitions(parsed, spec)
    known = publishing.known_keys(store, checked_at, spec, partitions)
    audited = contracts.audit_parts(parsed, spec, folder / "audited", known)
    branch, commit = None, None
    if audited.verdict.rows:
        branch, commit = publishing.stage(store, spec, source, audited, flow_run, checked_at)
    return Staged(
        branch=branch or publishing.branch_name(source),
        commit=commit,
        checked_at=checked_at,
        partitions=tuple(partitions),
        verdict=audited.verdict,
    )


@task(**TASK_OPTIONS, tags={"ingest", "lake"})
def publish(use_case: str, input: str, source: Source, staged: Staged, store_url: str) -> Commit:
    """Publish a staged delivery. Raises StaleCheck where the touched partitions moved since the keys were checked."""
    spec = resolve(use_case).input(input)
    store = open_store(store_url)
    if staged.commit is None:
        raise UsageError(f"{source.name} was not staged: there is nothing to publish")
    return publishing.publish_commit(store, spec, source, staged.branch, staged.commit, staged.checked_at, staged.partitions)


@task(**TASK_OPTIONS, tags={"ingest", "lake"})
def unnotified_publish(store_url: str, commit: CommitId) -> AuditVerdict | None:
    """The verdict of a publish that nobody was told of, where its run was killed before it could; else None."""
    store = open_store(store_url)
    return publishing.unnotified_publish(store, store.get(commit))


@task(**TASK_OPTIONS, tags={"ingest", "lake"})
def delete_published_branch(store_url: str, commit: CommitId) -> None:
    """Remove the branch of a publish that was told of."""
    store = open_store(store_url)
    publishing.delete_published_branch(store, store.get(commit))


@task(**TASK_OPTIONS, tags={"lake"})
def retract_source(
    use_case: str, source: str, reason: str, store_url: str, registry_url: str, flow_run: str, input: str | None = None
) -> Retraction:
    """Revert the publish of a source. What it had replaced comes back; the source can be delivered again.

    `source`: a file, the first 8 or more digits of its SHA-256, or the name it was delivered under. A source that was
    retracted before is "already done". Raises NotFound where none was published, UsageError where several match, Refused
    where a later source has changed the same partition.
    """
    case = resolve(use_case)
    store = open_store(store_url)
    if not store.exists():
        raise NotFound(f"{case.name} has no data yet at {store_url}: there is nothing to retract")
    newest = publishing.find_publish(store, case, source, input)
    result = partial(Retraction, use_case=case.name, source=newest.source, sha256=newest.sha256, input=newest.input)
    if newest.retraction:
        why = f"retracted before: {newest.reason or 'no reason given'}"
        return result(status="already done", why=why, commit=newest.retraction.id)
    trained_on = _trained_on(case, store, newest.commit, registry_url)
    made = publishing.revert_publish(store, newest, reason, flow_run)
    why = f"{newest.accepted} rows are gone from {newest.input}: {reason}"
    return result(status="retracted", why=why, commit=made.id, trained_on=trained_on)


def _trained_on(case: UseCase, store: VersionStore, publish: Commit, registry_url: str) -> tuple[int, ...]:
    """Versions whose training commit holds the source."""
    holding = set()
    for entry in store.log(MAIN, first_parent=True):
        holding.add(entry.id)
        if entry.id == publish.id:
            break
    registry = open_registry(registry_url)
    return tuple(m.version for m in registry.versions(case.name) if registry.tags(m).get("data_commit") in holding)

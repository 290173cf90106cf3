"""The steps of one delivery: values in, values out, the store opened here."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import UsageError
from schemas.refs import Commit, CommitId, Source
from schemas.results import Staged
from schemas.usecase import Input, resolve
from schemas.verdicts import AuditVerdict
from tasks import datasets, parsing, publishing
from tasks.temp_files import scratch
from tasks.versions import MAIN, VersionStore, open_store


def already_published(store_url: str, input: str, sha256: str) -> Commit | None:
    """The commit of main that published this source, unless it was retracted since. Makes the repository if need be."""
    store = open_store(store_url)
    store.create()
    return datasets.published_commit(store, sha256, input)


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


def publish(use_case: str, input: str, source: Source, staged: Staged, store_url: str) -> Commit:
    """Publish a staged delivery. Raises StaleCheck where the touched partitions moved since the keys were checked."""
    spec = resolve(use_case).input(input)
    store = open_store(store_url)
    if staged.commit is None:
        raise UsageError(f"{source.name} was not staged: there is nothing to publish")
    return publishing.publish_commit(store, spec, source, staged.branch, staged.commit, staged.checked_at, staged.partitions)


def untold(store_url: str, commit: CommitId) -> AuditVerdict | None:
    """The verdict of a publish that nobody was told of, where its run was killed before it could; else None."""
    store = open_store(store_url)
    return publishing.unnotified_publish(store, store.get(commit))


def tidy(store_url: str, commit: CommitId) -> None:
    """Remove the branch of a publish that was told of."""
    store = open_store(store_url)
    publishing.delete_published_branch(store, store.get(commit))

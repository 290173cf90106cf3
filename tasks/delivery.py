"""The steps of one delivery: values in, values out, the store opened here."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from schemas.errors import UsageError
from schemas.refs import Commit, Source
from schemas.results import Staged
from schemas.usecase import Input, resolve
from tasks import contracts, ingestion, publishing
from tasks.versions import MAIN, VersionStore, open_store


def already_published(store_url: str, input: str, sha256: str) -> Commit | None:
    """The commit of main that published this source, unless it was retracted since. Makes the repository if need be.

    The branch it came from is removed: a run that was killed right after its merge has left it.
    """
    store = open_store(store_url)
    store.create()
    done = publishing.published(store, sha256, input)
    if done and (left := done.metadata.get("branch")):
        store.delete_branch(left)
    return done


def audit_on_branch(
    use_case: str, input: str, source: Source, store_url: str, flow_run: str, limits: ingestion.Limits
) -> Staged:
    """Parse and audit a source and commit both halves on its branch. Raises Refused for a source that cannot be read."""
    spec = resolve(use_case).input(input)
    store = open_store(store_url)
    with TemporaryDirectory(prefix="penstock-") as scratch:
        return _audit(store, spec, source, flow_run, limits, Path(scratch))


def _audit(
    store: VersionStore, spec: Input, source: Source, flow_run: str, limits: ingestion.Limits, scratch: Path
) -> Staged:
    parsed = ingestion.parse(source, spec.contract, scratch / "parsed", limits)
    checked_at = store.head(MAIN)
    partitions = contracts.touched(parsed, spec)
    known = publishing.known_keys(store, checked_at, spec, partitions)
    audited = contracts.audit(parsed, spec, scratch / "audited", known)
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
    return publishing.publish(store, spec, source, staged.branch, staged.commit, staged.checked_at, staged.partitions)

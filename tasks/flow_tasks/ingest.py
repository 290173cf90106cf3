"""Tasks of ingestion: a source is hashed, looked up, audited on a branch of its own, published, and taken back."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from prefect import task

from schemas.errors import NotFound, Refused, UsageError
from schemas.refs import Commit, CommitId, Source
from schemas.replaying import Unit
from schemas.results import Retraction, Staged
from schemas.settings import in_force
from schemas.usecase import Input, UseCase, resolve
from schemas.verdicts import AuditVerdict
from tasks import datasets, parsing, publishing
from tasks.orchestration import TASK_OPTIONS
from tasks.registry import open_registry, wanted_input
from tasks.temp_files import scratch
from tasks.versions import MAIN, VersionStore, open_store


@task(**TASK_OPTIONS, tags={"ingest"})
def fingerprint(path: Path) -> Source:
    """Name, size and SHA-256 of a regular file.

    Args:
        path: Where the file lies; links are followed.

    Returns:
        The source: its real path, name, SHA-256 and size in bytes.

    Raises:
        UsageError: It cannot be read, or is no regular file.
    """
    return parsing.fingerprint(path)


@task(**TASK_OPTIONS, tags={"ingest"})
def partition_files(use_case: str, source: str, since: str, until: str, input: str | None = None) -> list[Unit]:
    """The files of a glob whose name's first date lies in a range, by date: lookups first, then rows, then labels.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        source: A path or a glob.
        since: First partition or day, like `2013-04` or `2013-04-05`.
        until: Last partition or day, included.
        input: Name of the input; told by a file's folder or name where it is left out.

    Returns:
        One unit of work a file, in the order in which they are to be ingested.

    Raises:
        UsageError: A file's name holds no date or does not tell its input, or the range cannot be read.
    """
    return publishing.partition_files(use_case, source, since, until, input)


@task(**TASK_OPTIONS, tags={"lake"})
def list_publishes(use_case: str, store_url: str, since: str, until: str) -> list[Unit]:
    """The live publishes of rows on main, oldest first, that brought rows to a partition in a range.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        since: First partition or day, like `2013-04` or `2013-04-05`.
        until: Last partition or day, included.

    Returns:
        One unit of work a publish; empty where the repository holds nothing.

    Raises:
        UsageError: The range cannot be read.
    """
    return publishing.list_publishes(use_case, store_url, since, until)


@task(**TASK_OPTIONS, tags={"ingest", "lake"})
def already_published(store_url: str, input: str, sha256: str) -> Commit | None:
    """The commit of main that published a source, unless it was retracted since. Makes the repository where it is missing.

    Args:
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        input: Name of the input, for example `labels`.
        sha256: SHA-256 of the source's bytes, in hexadecimal.

    Returns:
        The commit, or None where the source is not on main.

    Raises:
        StoreError: The repository cannot be made or read.
    """
    store = open_store(store_url)
    store.create()
    return datasets.published_commit(store, sha256, input)


@task(**TASK_OPTIONS, tags={"ingest", "lake"})
def audit_on_branch(
    use_case: str, input: str, source: Source, store_url: str, flow_run: str, limits: parsing.Limits
) -> Staged:
    """Parse and audit a source, and commit its accepted and its rejected rows on a branch of its own.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        input: Name of the input, for example `labels`.
        source: The file, with its size in bytes and its SHA-256.
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        flow_run: Id of the flow run that does it; it is kept with the commit. May be empty.
        limits: Memory in MiB and time in seconds that the reading child process may use.

    Returns:
        Branch and commit, the head of main that the keys were checked against, the partitions touched, and the verdict.

    Raises:
        Refused: The source cannot be read as the contract's columns within the limits.
        StoreError: There is no room on the disk.
        StaleCheck: Another run staged the same source at the same time: audit it again.
    """
    case, store = resolve(use_case), open_store(store_url)
    with scratch("penstock-") as folder:
        spec, parsed = _parsed(case, input, source, limits, folder / "parsed")
        return _audit(store, spec, source, parsed, flow_run, folder)


def _parsed(case: UseCase, input: str, source: Source, limits: parsing.Limits, folder: Path) -> tuple[Input, parsing.Parsed]:
    """The source by the code's contract or, where that refuses it, with the columns that a living version still needs."""
    spec = case.input(input)
    try:
        return spec, parsing.parse_source(source, spec.delivered, folder, limits, spec.reader)
    except Refused:
        wider = wanted_input(case, input, open_registry(in_force().registry_url))
        if wider is spec:
            raise
    return wider, parsing.parse_source(source, wider.delivered, folder, limits, wider.reader)


def _audit(store: VersionStore, spec: Input, source: Source, parsed: parsing.Parsed, flow_run: str, folder: Path) -> Staged:
    from tasks import contracts

    checked_at = store.head(MAIN)
    partitions = contracts.touched_partitions(parsed, spec)
    known = publishing.known_keys(store, checked_at, spec, partitions)
    if spec.by_row:
        appended = spec.on_redelivery == "append"
        parsed = contracts.with_row_keys(parsed, spec, folder / "keyed", known if appended else None)
        files = () if appended else publishing.known_files(store, checked_at, spec, partitions)
        known = contracts.known_keys_of_rows(parsed, spec, known, files)
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
    """Merge a staged source into main. One that another run published meanwhile is found and not repeated.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        input: Name of the input, for example `labels`.
        source: The file, with its size in bytes and its SHA-256.
        staged: What `audit_on_branch` gave.
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.

    Returns:
        The commit of main that holds the source's rows.

    Raises:
        StaleCheck: The touched partitions moved since the keys were checked: audit again.
        Refused: The source was retracted since it was staged.
        UsageError: Nothing was staged.
    """
    spec = resolve(use_case).input(input)
    store = open_store(store_url)
    if staged.commit is None:
        raise UsageError(f"{source.name} was not staged: there is nothing to publish")
    return publishing.publish_commit(store, spec, source, staged.branch, staged.commit, staged.checked_at, staged.partitions)


@task(**TASK_OPTIONS, tags={"ingest", "lake"})
def unnotified_publish(store_url: str, commit: CommitId) -> AuditVerdict | None:
    """The verdict of a publish whose run was killed before it said so.

    Args:
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        commit: Id of a commit of `main`.

    Returns:
        The audit's verdict, or None where the publish was reported.

    Raises:
        NotFound: There is no such commit.
    """
    store = open_store(store_url)
    return publishing.unnotified_publish(store, store.get(commit))


@task(**TASK_OPTIONS, tags={"ingest", "lake"})
def delete_published_branch(store_url: str, commit: CommitId) -> None:
    """Remove the branch of a publish that was reported.

    Args:
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        commit: Id of a commit of `main`.

    Raises:
        NotFound: There is no such commit.
    """
    store = open_store(store_url)
    publishing.delete_published_branch(store, store.get(commit))


@task(**TASK_OPTIONS, tags={"lake"})
def retract_source(
    use_case: str, source: str, reason: str, store_url: str, registry_url: str, flow_run: str, input: str | None = None
) -> Retraction:
    """Revert the publish of a source. What it had replaced comes back, and the source can be delivered again.

    A source that was retracted before is "already done".

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        source: A file, the first 8 or more digits of its SHA-256, or the name that it was delivered under.
        reason: Why, in a person's words; it is kept in the history.
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        registry_url: URL of the model registry.
        flow_run: Id of the flow run that does it; it is kept with the commit. May be empty.
        input: Name of the input, where the source was delivered to several.

    Returns:
        What became of it, and the model versions that were trained on it.

    Raises:
        NotFound: No such source was published.
        UsageError: Several sources match.
        Refused: A later source has changed the same partition.
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
    revert_commit = publishing.revert_publish(store, newest, reason, flow_run)
    why = f"{newest.accepted} rows are gone from {newest.input}: {reason}"
    return result(status="retracted", why=why, commit=revert_commit.id, trained_on=trained_on)


def _trained_on(case: UseCase, store: VersionStore, publish: Commit, registry_url: str) -> tuple[int, ...]:
    """Versions whose training commit holds the source."""
    holding = set()
    for entry in store.log(MAIN, first_parent=True):
        holding.add(entry.id)
        if entry.id == publish.id:
            break
    registry = open_registry(registry_url)
    return tuple(m.version for m in registry.versions(case.name) if registry.tags(m).get("data_commit") in holding)

"""Take a published source back: one commit of main that undoes its publish, with the reason, found before it is repeated."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from schemas.errors import Conflict, NotFound, NothingToCommit, Refused, UsageError
from schemas.refs import Commit
from schemas.results import Retraction
from schemas.usecase import UseCase, resolve
from tasks import datasets, parsing
from tasks.fault_injection import fault_point
from tasks.registry import open_registry
from tasks.versions import MAIN, VersionStore, open_store

HASH = re.compile(r"[0-9a-f]{8,64}")
CARRIED = ("format_version", "source_sha256", "source_name", "input", "accepted", "contract_version")


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
    newest = find_publish(store, case, source, input)
    told = newest.metadata
    result = partial(
        Retraction, use_case=case.name, source=told["source_name"], sha256=told["source_sha256"], input=told["input"]
    )
    if told["kind"] == datasets.RETRACT:
        why = f"retracted before: {told.get('reason', 'no reason given')}"
        return result(status="already done", why=why, commit=newest.id)
    trained_on = _trained_on(case, store, newest, registry_url)
    made = revert_publish(store, newest, reason, flow_run)
    why = f"{told['accepted']} rows are gone from {told['input']}: {reason}"
    return result(status="retracted", why=why, commit=made.id, trained_on=trained_on)


def find_publish(store: VersionStore, case: UseCase, source: str, input: str | None) -> Commit:
    """The newest publish or retraction of the source that is meant. Raises NotFound, UsageError."""
    newest: dict[tuple[str, str], Commit] = {}
    for entry in store.log(MAIN, first_parent=True):
        told = entry.metadata
        if told.get("kind") in (datasets.INGEST, datasets.RETRACT) and input in (None, told["input"]):
            newest.setdefault((told["input"], told["source_sha256"]), entry)
    wanted = _matching(newest, source)
    if not wanted:
        raise NotFound(f"{case.name} has no published source {source!r}: give a file, its SHA-256 or the name it came under")
    if len(wanted) > 1:
        several = ", ".join(f"{c.metadata['input']} {c.metadata['source_sha256'][:12]}" for c in wanted[:5])
        raise UsageError(f"{source!r} means {len(wanted)} sources ({several}): give the SHA-256, or --input")
    return wanted[0]


def _matching(newest: dict[tuple[str, str], Commit], source: str) -> list[Commit]:
    if Path(source).is_file():
        sha256 = parsing.fingerprint(Path(source)).sha256
        return [entry for (_, digest), entry in newest.items() if digest == sha256]
    if HASH.fullmatch(source) and (by_hash := [e for (_, digest), e in newest.items() if digest.startswith(source)]):
        return by_hash
    return [entry for entry in newest.values() if entry.metadata.get("source_name") == Path(source).name]


def revert_publish(store: VersionStore, publish: Commit, reason: str, flow_run: str) -> Commit:
    """Revert a publish on main, once. Raises Refused where a later source has changed the same partitions."""
    told = publish.metadata
    carried = {key: told[key] for key in CARRIED if key in told}
    metadata = {**carried, "kind": datasets.RETRACT, "retracts": publish.id, "reason": reason, "flow_run": flow_run}
    try:
        made = store.revert(MAIN, publish.id, f"retract {told['source_name']}: {reason}", metadata)
    except NothingToCommit:  # another run was faster
        newest = datasets.source_history(store, told["source_sha256"], told["input"])[0]
        if newest.metadata["kind"] != datasets.RETRACT:
            raise
        return newest
    except Conflict:
        raise Refused(
            f"cannot retract {told['source_name']}: a later source has changed the same partitions of {told['input']};"
            " retract that one first"
        ) from None
    fault_point("retraction.after_revert")
    return made


def _trained_on(case: UseCase, store: VersionStore, publish: Commit, registry_url: str) -> tuple[int, ...]:
    """Versions whose training commit holds the source."""
    holding = set()
    for entry in store.log(MAIN, first_parent=True):
        holding.add(entry.id)
        if entry.id == publish.id:
            break
    registry = open_registry(registry_url)
    return tuple(m.version for m in registry.versions(case.name) if registry.tags(m).get("data_commit") in holding)

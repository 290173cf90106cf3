"""Take a published source back: one commit of main that undoes its publish, with the reason, found before it is repeated."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.errors import Conflict, NotFound, NothingToCommit, Refused, UsageError
from schemas.refs import Commit
from schemas.usecase import UseCase
from tasks import datasets, parsing
from tasks.fault_injection import fault_point
from tasks.versions import MAIN, VersionStore

HASH = re.compile(r"[0-9a-f]{8,64}")
CARRIED = ("format_version", "source_sha256", "source_name", "input", "accepted", "contract_version")


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

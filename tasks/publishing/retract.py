"""Take a published source back: one commit of main that undoes its publish, with the reason, found before it is repeated."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.errors import Conflict, NotFound, NothingToCommit, Refused, UsageError
from schemas.refs import Commit
from schemas.usecase import UseCase
from tasks import parsing
from tasks.datasets import RETRACT, PublishRecord, newest_by_source, source_history
from tasks.fault_injection import fault_point
from tasks.versions import MAIN, VersionStore

HASH = re.compile(r"[0-9a-f]{8,64}")
CARRIED = ("format_version", "source_sha256", "source_name", "input", "accepted", "contract_version")


def find_publish(store: VersionStore, case: UseCase, source: str, input: str | None) -> PublishRecord:
    """The newest publish, live or retracted, of the source that is meant.

    Args:
        store: Data repository of the use case.
        case: The use case.
        source: A file, the first 8 or more digits of its SHA-256, or the name it was delivered under.
        input: Input it was delivered to; any where it is None.

    Returns:
        Its record.

    Raises:
        NotFound: No such source was ever published.
        UsageError: Several sources match.
    """
    wanted = _matching([each for each in newest_by_source(store).values() if input in (None, each.input)], source)
    if not wanted:
        raise NotFound(f"{case.name} has no published source {source!r}: give a file, its SHA-256 or the name it came under")
    if len(wanted) > 1:
        several = ", ".join(f"{each.input} {each.sha256[:12]}" for each in wanted[:5])
        raise UsageError(f"{source!r} means {len(wanted)} sources ({several}): give the SHA-256, or --input")
    return wanted[0]


def _matching(newest: list[PublishRecord], source: str) -> list[PublishRecord]:
    if Path(source).exists():
        sha256 = parsing.fingerprint(Path(source)).sha256
        return [record for record in newest if record.sha256 == sha256]
    if HASH.fullmatch(source) and (by_hash := [record for record in newest if record.sha256.startswith(source)]):
        return by_hash
    return [record for record in newest if record.source == Path(source).name]


def revert_publish(store: VersionStore, publish: PublishRecord, reason: str, flow_run: str) -> Commit:
    """Revert a publish on main, once.

    Args:
        store: Data repository of the use case.
        publish: What is taken back.
        reason: Why, in a sentence; it is kept with the commit.
        flow_run: Id of the flow run that does it.

    Returns:
        The retraction: ours, or that of another run that was faster.

    Raises:
        Refused: A later source has changed the same partitions.
    """
    commit = publish.commit
    carried = {key: commit.metadata[key] for key in CARRIED if key in commit.metadata}
    metadata = {**carried, "kind": RETRACT, "retracts": commit.id, "reason": reason, "flow_run": flow_run}
    try:
        reverted = store.revert(MAIN, commit.id, f"retract {publish.source}: {reason}", metadata)
    except NothingToCommit:  # another run was faster
        retraction = source_history(store, publish.sha256, publish.input)[0].retraction
        if retraction is None:
            raise
        return retraction
    except Conflict:
        raise Refused(
            f"cannot retract {publish.source}: a later source has changed the same partitions of {publish.input};"
            " retract that one first"
        ) from None
    fault_point("retraction.after_revert")
    return reverted

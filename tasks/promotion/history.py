"""A use case's history in its log repository: entries of which each names the hash of the one before.

    history/<number, 8 digits>-<SHA-256 of the entry>.json

A changed, removed or reordered entry breaks the chain. What the chain alone cannot show is an end that was cut off; for
that the registry keeps an anchor, the number and hash of the newest entry, outside the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

import stamina
from pydantic import ValidationError

from schemas.digests import canonical_json
from schemas.errors import IntegrityError, NotFound, StaleCheck
from schemas.history import ChampionState, Entry, HistoryEntry, Move
from tasks import versions
from tasks.versions import MAIN, VersionStore

FOLDER = "history/"
HISTORY_KIND = "history"
ATTEMPTS = 10
HELD = ("freeze", "thaw")


def stored(log: VersionStore, ref: str = MAIN) -> list[tuple[str, bytes]]:
    """Paths and bytes of the entries at a ref, by path; nothing where there is no log yet."""
    if not log.exists():
        return []
    return [(each.path, log.read(ref, each.path)) for each in log.objects(ref, FOLDER)]


def read_history(log: VersionStore, ref: str = MAIN) -> list[HistoryEntry]:
    """The history, oldest first.

    Args:
        log: The use case's log repository.
        ref: Branch or commit of the log repository.

    Returns:
        The entries with their hashes.

    Raises:
        IntegrityError: The history was rewritten.
    """
    entries, problems = check_chain(stored(log, ref))
    if problems:
        raise IntegrityError(f"the history in {log.url} was rewritten: {problems[0]}; restore that repository from a backup")
    return entries


def check_chain(files: Sequence[tuple[str, bytes]]) -> tuple[list[HistoryEntry], list[str]]:
    """The entries that can be read, and what is wrong with the chain, one sentence each."""
    links: list[HistoryEntry] = []
    problems: list[str] = []
    for path, data in files:
        digest = hashlib.sha256(data).hexdigest()
        try:
            entry = Entry.model_validate_json(data)
        except ValidationError:
            problems.append(f"{path} is no entry")
            continue
        number, previous = (links[-1].entry.number + 1, links[-1].sha256) if links else (1, None)
        if path != _path(entry, digest):
            problems.append(f"{path} was changed: its name and its content differ")
        elif entry.number != number:
            problems.append(f"entry {number} is missing before {path}")
        elif entry.previous != previous:
            problems.append(f"{path} does not follow the entry before it")
        links.append(HistoryEntry(entry, digest))
    return links, problems


def append(log: VersionStore, move: Move) -> HistoryEntry:
    """Write a move down at the end, once: the same move again finds its entry. Raises IntegrityError, StaleCheck."""
    log.create()
    for attempt in stamina.retry_context(on=StaleCheck, attempts=ATTEMPTS, wait_initial=0.05):
        with attempt:
            return _append(log, move)
    raise AssertionError("unreachable")


def _append(log: VersionStore, move: Move) -> HistoryEntry:
    checked_at = log.head(MAIN)
    links = read_history(log, checked_at)
    if known := next((link for link in links if link.entry.move == move), None):
        return known
    previous = links[-1].sha256 if links else None
    entry = Entry(**dict(move), number=len(links) + 1, previous=previous)
    data = entry_bytes(entry)
    digest = hashlib.sha256(data).hexdigest()
    path = _path(entry, digest)
    metadata = {"format_version": "1", "kind": HISTORY_KIND, "path": path, "move": move.kind}
    versions.commit_and_merge(
        log, _branch(digest), FOLDER, checked_at, {path: data}, f"history {entry.number}: {move.kind} {_to(move)}", metadata
    )
    return HistoryEntry(entry, digest)


def delete_merged_branches(log: VersionStore, links: Sequence[HistoryEntry]) -> None:
    """Remove the branches of entries that were merged by processes that died before they could do it."""
    merged = {_branch(sha256) for _, sha256 in links}
    for branch in log.branches(f"{HISTORY_KIND}/") if links else ():
        if branch in merged:
            log.delete_branch(branch)


def entry_bytes(entry: Entry) -> bytes:
    """The one JSON text of an entry."""
    document = entry.model_dump(mode="json", by_alias=True)
    return canonical_json(document)


def _branch(digest: str) -> str:
    return f"{HISTORY_KIND}/{digest[:32]}"


def _path(entry: Entry, digest: str) -> str:
    return f"{FOLDER}{entry.number:08d}-{digest}.json"


def _to(move: Move) -> str:
    return f"v{move.after.version}" if move.after else "no version"


# What it says


def recorded_champion(links: Sequence[HistoryEntry]) -> ChampionState | None:
    """The champion according to the history."""
    return links[-1].entry.after if links else None


def freeze_entry(links: Sequence[HistoryEntry]) -> Entry | None:
    """Since when and why nothing may move, or None.

    Args:
        links: The history, oldest first.

    Returns:
        The entry that froze it, or None.
    """
    since: Entry | None = None
    for entry, _ in links:
        if entry.kind in HELD:
            since = (since or entry) if entry.kind == "freeze" else None
    return since


def entry_at(links: Sequence[HistoryEntry], moment: datetime) -> Entry | None:
    """The newest entry at a moment, or None before the first.

    Entries are ordered by the chain: one whose clock was slow counts as no older than those before it.
    """
    newest: Entry | None = None
    for entry, _ in links:
        if entry.when > moment:
            break
        newest = entry
    return newest


def replaced_champion(links: Sequence[HistoryEntry]) -> ChampionState | None:
    """The version that the champion itself had replaced: where a rollback goes back to."""
    now = recorded_champion(links)
    moves = [
        entry for entry, _ in links if entry.after == now and entry.before != now and entry.kind not in (*HELD, "rollback")
    ]
    return moves[-1].before if moves else None


# Whether it is true


def anchor(links: Sequence[HistoryEntry]) -> str:
    """What the registry keeps of a history: number and hash of its newest entry."""
    return f"{links[-1].entry.number} {links[-1].sha256}" if links else ""


def anchor_conflict(links: Sequence[HistoryEntry], anchored: str) -> str | None:
    """How a history contradicts the anchor that the registry kept of it, or None; a later entry contradicts nothing."""
    number, _, digest = anchored.partition(" ")
    if not anchored or any(str(entry.number) == number and sha256 == digest for entry, sha256 in links):
        return None
    what = "another one" if len(links) >= int(number) else "none"
    return f"the registry knows entry {number} as {digest[:12]}, the history has {what}"


def contradictions(
    files: Sequence[tuple[str, bytes]],
    anchored: str,
    now: ChampionState | None,
    known: Mapping[int, str],
    intended: Move | None,
) -> list[str]:
    """All that speaks against a history, one sentence each.

    `anchored` is the registry's anchor, `now` its champion, `known` its versions with their hashes, `intended` the move that
    the champion itself was marked with: a process that died before it wrote that move down is no contradiction.
    """
    links, problems = check_chain(files)
    if cut := anchor_conflict(links, anchored):
        problems.append(cut)
    for (last, _), (entry, _) in pairwise(links):
        if entry.before != last.after:
            problems.append(f"entry {entry.number} begins at {_side(entry.before)}, but {_side(last.after)} was champion")
    for entry, _ in links:
        if entry.after and known.get(entry.after.version) != entry.after.sha256:
            problems.append(f"entry {entry.number} names {_side(entry.after)}, which the registry does not have so")
    if now != recorded_champion(links) and not explains(intended, links, now):
        problems.append(f"the champion is {_side(now)}, the history ends at {_side(recorded_champion(links))}")
    return problems


def explains(intended: Move | None, links: Sequence[HistoryEntry], now: ChampionState | None) -> bool:
    """Whether a move that is not written down yet leads from the end of the history to the champion there is."""
    if intended is None or intended.after != now or intended.before != recorded_champion(links):
        return False
    return all(link.entry.move != intended for link in links)


def _side(side: ChampionState | None) -> str:
    return f"v{side.version} ({side.sha256[:12]})" if side else "no version"


def refuse_rewritten(links: Sequence[HistoryEntry], anchored: str, where: str) -> None:
    """Raise IntegrityError where the registry's anchor is not in the history."""
    if cut := anchor_conflict(links, anchored):
        raise IntegrityError(f"the history in {where} was rewritten: {cut}; restore that repository from a backup")


def refuse_lost(links: Sequence[HistoryEntry], now: ChampionState | None, registry: str) -> None:
    """Raise NotFound where the history names a champion and the registry has none."""
    if now is None and (last := recorded_champion(links)):
        raise NotFound(
            f"the registry {registry} has no champion, but the history says v{last.version}: restore the registry, or"
            " name the right one (PENSTOCK_MLFLOW_URL)"
        )

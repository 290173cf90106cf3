"""What a registry and its history tell about a use case: versions, moves, who was champion when, and whether it is true."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from schemas.errors import PenstockError
from schemas.history import ChampionState, Entry, HistoryEntry
from schemas.refs import ModelRef
from tasks.promotion import history
from tasks.registry import ModelRegistry
from tasks.versions import VersionStore


def version_table(registry: ModelRegistry, name: str) -> list[dict[str, Any]]:
    """The versions, oldest first, with alias and tags.

    Args:
        registry: The model registry.
        name: Name of the use case, which is the model's name.

    Returns:
        One mapping a version.
    """
    champion, challenger = registry.champion(name), registry.challenger(name)
    return [
        {
            "version": ref.version,
            "alias": " ".join(a for a, r in (("champion", champion), ("challenger", challenger)) if r == ref),
            "sha256": ref.sha256,
            **registry.tags(ref),
        }
        for ref in registry.versions(name)
    ]


def history_entries(log: VersionStore) -> tuple[list[HistoryEntry], list[str]]:
    """The history as far as it can be read, and what is wrong with its chain.

    Args:
        log: The use case's log repository.

    Returns:
        The entries, oldest first, and one sentence a problem.
    """
    return history.check_chain(history.stored(log))


def history_problems(registry: ModelRegistry, log: VersionStore, name: str) -> list[str]:
    """All that speaks against the history, one sentence each: its chain, the registry's anchor, aliases and evidence.

    Args:
        registry: The model registry.
        log: The use case's log repository.
        name: Name of the use case, which is the model's name.

    Returns:
        The sentences; empty where everything agrees.
    """
    champion = registry.champion(name)
    refs = {ref.version: ref for ref in registry.versions(name)}
    intended = registry.intended(champion) if champion else None
    files = history.stored(log)
    known = {version: ref.sha256 for version, ref in refs.items()}
    problems = history.contradictions(files, registry.anchor(name), ChampionState.of(champion), known, intended)
    return problems + _without_evidence(registry, refs, history.check_chain(files)[0])


def _without_evidence(registry: ModelRegistry, refs: dict[int, ModelRef], links: Sequence[HistoryEntry]) -> list[str]:
    problems = []
    for entry, _ in links:
        ref = refs.get(entry.after.version) if entry.after else None
        if ref and entry.evidence:
            try:
                registry.verdict(ref, entry.evidence)
            except PenstockError as error:
                problems.append(f"the evidence of entry {entry.number}: {error}")
    return problems


def champion_at(links: Sequence[HistoryEntry], moment: datetime) -> tuple[ChampionState | None, Entry | None]:
    """Who was champion at a moment, and the entry that made it so; a freeze or thaw makes nobody champion.

    Args:
        links: The history, oldest first.
        moment: A moment in UTC.

    Returns:
        The champion of then and the entry, each None where there is none.
    """
    now = history.entry_at(links, moment)
    if now is None or now.after is None:
        return None, None
    reigning = [e for e, _ in links if e.number <= now.number and e.after == now.after and e.kind not in history.HELD]
    return now.after, reigning[-1] if reigning else None

"""Moves of the champion's alias, each with its place in the history; and the order that none may happen for a while.

A move takes three effects: the version is marked with what is about to happen, the alias moves, the history gets its
entry. Whoever dies in between leaves the mark, and the next one writes the entry down from it before anything else.
"""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.errors import NotFound, UsageError
from schemas.history import Entry, Link, Move, Side
from schemas.refs import ModelRef
from schemas.results import Outcome, TrainingStatus
from schemas.verdicts import GateVerdict
from tasks import history
from tasks.registry import CHAMPION, By, ModelRegistry
from tasks.registry.tags import STATE, WHY
from tasks.versions import VersionStore


def caught_up(registry: ModelRegistry, log: VersionStore, name: str, *, lost: bool = False) -> list[Link]:
    """The history, with what a killed process left out written down, and anchored in the registry.

    Hold `registry.exclusive(name)`. Raises IntegrityError where the history was rewritten, NotFound where it names a
    champion and the registry has none, unless that is about to be mended (`lost`).
    """
    links = history.chain(log)
    kept = registry.anchor(name)
    history.refuse_rewritten(links, kept, log.url)
    history.tidy(log, links)
    champion = registry.settle(name)
    now = Side.of(champion)
    if not lost:
        history.refuse_lost(links, now, registry.url)
    if champion and now != history.champion(links):
        intended = registry.intended(champion)
        explained = history.explains(intended, links, now)
        links.append(history.append(log, intended if intended and explained else _found(links, now)))
    if (newest := history.anchor(links)) != kept:
        registry.anchor(name, newest)
    return links


def _found(links: list[Link], now: Side | None) -> Move:
    why = "the alias was moved by something other than Penstock" if links else "it was champion when the history began"
    return Move(kind="found", when=datetime.now(UTC), who="", why=why, before=history.champion(links), after=now)


def promoted(
    registry: ModelRegistry,
    log: VersionStore,
    model: ModelRef,
    verdict: GateVerdict,
    *,
    expected: ModelRef | None,
    by: By,
    override: str | None = None,
) -> Outcome:
    """Move the alias if the verdict (or a person's override) says so and nothing is frozen, and write it down.

    Raises StaleCheck where another champion came in between.
    """
    with registry.exclusive(model.name):
        if held := history.frozen(caught_up(registry, log, model.name)):
            return Outcome(status="skipped", why=freeze_told(held), model=model)
        moved = registry.promote(model, verdict, expected=expected, by=by, override=override)
        caught_up(registry, log, model.name)
    tags = registry.tags(model)
    if moved:
        return Outcome(status="promoted", why=tags[WHY], model=model)
    status: TrainingStatus = "already done" if tags.get(STATE) == CHAMPION else "refused"
    return Outcome(status=status, why=tags.get(WHY, verdict.why), model=model)


def rolled_back(registry: ModelRegistry, log: VersionStore, model: ModelRef, *, by: By, reason: str) -> Outcome:
    """Move the alias to a version that was tried out before, whatever any gate said, and write it down."""
    with registry.exclusive(model.name):
        links = caught_up(registry, log, model.name, lost=True)
        expected = registry.champion(model.name)
        by = By(by.who, hand=True, back=True, before=history.champion(links))
        moved = registry.promote(model, None, expected=expected, by=by, override=reason)
        caught_up(registry, log, model.name)
    why = reason if moved else f"v{model.version} is the champion"
    return Outcome(status="promoted" if moved else "already done", why=why, model=model)


def target(registry: ModelRegistry, log: VersionStore, name: str, version: int | None) -> ModelRef:
    """The version to go back to: the one named, or the one that the champion replaced. Raises NotFound, UsageError."""
    if version is not None:
        return registry.version(name, version)
    with registry.exclusive(name):
        side = history.replaced(caught_up(registry, log, name))
    if side is None:
        raise UsageError(f"the champion of {name} replaced no version: say which one to go back to")
    ref = registry.version(name, side.version)
    if ref.sha256 != side.sha256:
        raise NotFound(f"{name} v{side.version} is another model than the one that the history names: say a version")
    return ref


def held_back(registry: ModelRegistry, log: VersionStore, name: str) -> str | None:
    """Why nothing may be trained or promoted, or None. What a killed process left out is written down first."""
    with registry.exclusive(name):
        held = history.frozen(caught_up(registry, log, name))
    return freeze_told(held) if held else None


def hold(registry: ModelRegistry, log: VersionStore, name: str, *, frozen: bool, who: str, reason: str) -> Entry | None:
    """Freeze or thaw, and write it down. Returns the entry; None where it is so already."""
    with registry.exclusive(name):
        links = caught_up(registry, log, name)
        if (history.frozen(links) is not None) == frozen:
            return None
        champion = history.champion(links)
        kind: str = "freeze" if frozen else "thaw"
        told = {"kind": kind, "who": who, "why": reason, "before": champion, "after": champion}
        link = history.append(log, Move.model_validate({**told, "when": datetime.now(UTC)}))
        registry.anchor(name, history.anchor([link]))
        return link.entry


def freeze_told(entry: Entry) -> str:
    """A freeze in a sentence."""
    return f"frozen since {entry.when:%Y-%m-%d %H:%M} UTC by {entry.who or 'unknown'}: {entry.why}"

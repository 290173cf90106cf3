"""Moves of the champion's alias, each with its place in the history; and the order that none may happen for a while.

A move takes three effects: the version is marked with what is about to happen, the alias moves, the history gets its
entry. Whoever dies in between leaves the mark, and the next one writes the entry down from it before anything else.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from schemas.errors import NotFound, UsageError
from schemas.history import ChampionState, Entry, HistoryEntry, Move
from schemas.refs import ModelRef
from schemas.results import Outcome, TrainingStatus
from schemas.verdicts import GateVerdict
from tasks.promotion import history
from tasks.registry import CHALLENGER, CHAMPION, RECIPE, STATE, WHY, Actor, ModelRegistry
from tasks.registry import fitted_until as manifest_fitted_until
from tasks.versions import VersionStore


def reconcile_history(registry: ModelRegistry, log: VersionStore, name: str, *, lost: bool = False) -> list[HistoryEntry]:
    """The history, with what a killed process left out written down, and anchored in the registry.

    Hold `registry.exclusive(name)`. Raises IntegrityError where the history was rewritten, NotFound where it names a
    champion and the registry has none, unless that is about to be mended (`lost`).
    """
    links = history.read_history(log)
    anchored = registry.anchor(name)
    history.refuse_rewritten(links, anchored, log.url)
    history.delete_merged_branches(log, links)
    champion = registry.repair_aliases(name)
    now = ChampionState.of(champion)
    if not lost:
        history.refuse_lost(links, now, registry.url)
    if champion and now != history.recorded_champion(links):
        intended = registry.intended(champion)
        explained = history.explains(intended, links, now)
        links.append(history.append(log, intended if intended and explained else _outside_move(links, now)))
    if (newest := history.anchor(links)) != anchored:
        registry.anchor(name, newest)
    return links


def _outside_move(links: list[HistoryEntry], now: ChampionState | None) -> Move:
    why = "the alias was moved by something other than Penstock" if links else "it was champion when the history began"
    return Move(kind="found", when=datetime.now(UTC), who="", why=why, before=history.recorded_champion(links), after=now)


def set_champion(
    registry: ModelRegistry,
    log: VersionStore,
    model: ModelRef,
    verdict: GateVerdict,
    *,
    expected: ModelRef | None,
    by: Actor,
    override: str | None = None,
) -> Outcome:
    """Move the alias if the verdict (or a person's override) says so and nothing is frozen, and write it down.

    Args:
        registry: The model registry.
        log: The use case's log repository.
        model: The version that ships.
        verdict: The gate's verdict.
        expected: The champion that the verdict compared it with; None for none.
        by: Who moves the alias.
        override: A person's reason to promote against the verdict.

    Returns:
        What became of the version, and why.

    Raises:
        StaleCheck: Another champion came in between.
    """
    with registry.exclusive(model.name):
        if held := history.freeze_entry(reconcile_history(registry, log, model.name)):
            return Outcome(status="skipped", why=freeze_message(held), model=model)
        moved = registry.promote(model, verdict, expected=expected, by=by, override=override)
        reconcile_history(registry, log, model.name)
    tags = registry.tags(model)
    if moved:
        return Outcome(status="promoted", why=tags[WHY], model=model)
    status: TrainingStatus = "already done" if tags.get(STATE) == CHAMPION else "refused"
    return Outcome(status=status, why=tags.get(WHY, verdict.why), model=model)


def roll_back_champion(registry: ModelRegistry, log: VersionStore, model: ModelRef, *, by: Actor, reason: str) -> Outcome:
    """Move the alias to a version that was tried out before, whatever any gate said, and write it down.

    Args:
        registry: The model registry.
        log: The use case's log repository.
        model: The version to go back to.
        by: Who moves the alias.
        reason: Why, in a person's words; it is kept in the history.

    Returns:
        What became of it, and why.
    """
    with registry.exclusive(model.name):
        links = reconcile_history(registry, log, model.name, lost=True)
        expected = registry.champion(model.name)
        by = Actor(by.who, hand=True, back=True, before=history.recorded_champion(links))
        moved = registry.promote(model, None, expected=expected, by=by, override=reason)
        reconcile_history(registry, log, model.name)
    why = reason if moved else f"v{model.version} is the champion"
    return Outcome(status="promoted" if moved else "already done", why=why, model=model)


def find_rollback_target(registry: ModelRegistry, log: VersionStore, name: str, version: int | None) -> ModelRef:
    """The version to go back to: the one named, or the one that the champion replaced.

    Args:
        registry: The model registry.
        log: The use case's log repository.
        name: Name of the use case, which is the model's name.
        version: Number of the version; None for the one before.

    Returns:
        The version.

    Raises:
        NotFound: There is none to go back to.
        UsageError: It is champion already.
    """
    if version is not None:
        return registry.version(name, version)
    with registry.exclusive(name):
        side = history.replaced_champion(reconcile_history(registry, log, name))
    if side is None:
        raise UsageError(f"the champion of {name} replaced no version: say which one to go back to")
    ref = registry.version(name, side.version)
    if ref.sha256 != side.sha256:
        raise NotFound(f"{name} v{side.version} is another model than the one that the history names: say a version")
    return ref


def hold_reason(registry: ModelRegistry, log: VersionStore, name: str) -> str | None:
    """Why nothing may be trained or promoted, or None. What a killed process left out is written down first.

    Args:
        registry: The model registry.
        log: The use case's log repository.
        name: Name of the use case, which is the model's name.

    Returns:
        The reason, or None where nothing is frozen.

    Raises:
        IntegrityError: The history was rewritten.
        NotFound: The history names a version that the registry does not have.
    """
    with registry.exclusive(name):
        held = history.freeze_entry(reconcile_history(registry, log, name))
    return freeze_message(held) if held else None


def set_hold(registry: ModelRegistry, log: VersionStore, name: str, *, frozen: bool, who: str, reason: str) -> Entry | None:
    """Freeze or thaw a use case, and write it down.

    Args:
        registry: The model registry.
        log: The use case's log repository.
        name: Name of the use case, which is the model's name.
        frozen: True to freeze, False to thaw.
        who: Who asked for it; it is kept in the history.
        reason: Why, in a person's words; it is kept in the history.

    Returns:
        The new entry of the history, or None where it is so already.
    """
    with registry.exclusive(name):
        links = reconcile_history(registry, log, name)
        if (history.freeze_entry(links) is not None) == frozen:
            return None
        champion = history.recorded_champion(links)
        kind: str = "freeze" if frozen else "thaw"
        fields = {"kind": kind, "who": who, "why": reason, "before": champion, "after": champion}
        link = history.append(log, Move.model_validate({**fields, "when": datetime.now(UTC)}))
        registry.anchor(name, history.anchor([link]))
        return link.entry


def freeze_message(entry: Entry) -> str:
    """A freeze in a sentence.

    Args:
        entry: The entry of the history that froze it.

    Returns:
        The sentence.
    """
    return f"frozen since {entry.when:%Y-%m-%d %H:%M} UTC by {entry.who or 'unknown'}: {entry.why}"


def mark_superseded(registry: ModelRegistry, model: ModelRef) -> None:
    """See that the gated challenger in whose place a refit ships says so, where a kill came before it could.

    Args:
        registry: The model registry.
        model: The refit.
    """
    recipe = registry.tags(model).get(RECIPE)
    gated = registry.version(model.name, int(recipe)) if recipe else None
    if gated is None or registry.tags(gated).get(STATE) != CHALLENGER:
        return
    with suppress(NotFound):  # made champion over the gate's head: there is no verdict to keep
        registry.supersede_with_refit(gated, GateVerdict.model_validate(registry.document(model, "verdict")), by=model)


def fitted_until(registry: ModelRegistry, model: ModelRef) -> datetime | None:
    """Event time of the newest row that a version was fitted on.

    Args:
        registry: The model registry.
        model: The version.

    Returns:
        The moment, or None without event times.
    """
    return manifest_fitted_until(registry.document(model, "manifest"))

"""A history in each store, beside a real registry: its chain, what it answers, and how a rewrite shows."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.errors import IntegrityError, NotFound, UsageError
from schemas.history import ChampionState, HistoryEntry, Move
from schemas.refs import ModelRef
from tasks.promotion import champion as promotion
from tasks.promotion import history
from tasks.registry.factory import open_registry
from tasks.registry.protocol import Actor, ModelRegistry
from tasks.versions.protocol import VersionStore
from tests.registry_kit import candidate, verdict

NAME = "flights"
SAM = Actor("sam", hand=True)


def move(version: int, day: int = 1, **changes: object) -> Move:
    told = {"kind": "promoted", "when": datetime(2024, 1, day, tzinfo=UTC), "who": "sam", "why": "better"}
    sides = {"from": side(version - 1) if version > 1 else None, "to": side(version)}
    return Move.model_validate({**told, **sides, **changes})


def side(version: int) -> ChampionState:
    return ChampionState(version=version, sha256=hashlib.sha256(str(version).encode()).hexdigest())


def numbers(links: list[HistoryEntry]) -> list[int]:
    return [link.entry.number for link in links]


def test_each_entry_names_the_one_before(store: VersionStore) -> None:
    links = [history.append(store, move(version, day=version)) for version in (1, 2, 3)]
    assert history.read_history(store) == links
    assert [link.entry.previous for link in links] == [None, links[0].sha256, links[1].sha256]
    stored = json.loads(history.stored(store)[1][1])
    assert {"format_version", "number", "when", "who", "kind", "from", "to", "why", "evidence", "previous"} == stored.keys()
    assert stored["to"] == {"version": 2, "sha256": side(2).sha256}
    assert store.branches("history/") == []


def test_the_same_move_is_written_down_once(store: VersionStore) -> None:
    first = history.append(store, move(1))
    history.append(store, move(2))
    assert history.append(store, move(1)) == first
    assert numbers(history.read_history(store)) == [1, 2]


def test_no_log_yet_is_no_history(uncreated: VersionStore) -> None:
    assert history.read_history(uncreated) == []
    assert (
        history.recorded_champion([]),
        history.freeze_entry([]),
        history.entry_at([], datetime.now(UTC)),
        history.anchor([]),
    ) == (None,) * 3 + ("",)


def test_writers_at_one_moment_each_get_a_place(store: VersionStore) -> None:
    store.create()
    ready = threading.Barrier(3)

    def write(version: int) -> None:
        ready.wait()
        history.append(store, move(version))

    writers = [threading.Thread(target=write, args=(version,)) for version in (1, 2, 3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    links = history.read_history(store)
    assert numbers(links) == [1, 2, 3]
    assert sorted(link.entry.after.version for link in links if link.entry.after) == [1, 2, 3]


def test_who_was_champion_when(store: VersionStore) -> None:
    for version in (1, 2):
        history.append(store, move(version, day=version * 10))
    slow_clock = history.append(store, move(3, day=5))
    links = history.read_history(store)
    assert history.entry_at(links, datetime(2024, 1, 9, tzinfo=UTC)) is None
    assert [history.entry_at(links, datetime(2024, 1, day, tzinfo=UTC)) for day in (10, 19)] == [links[0].entry] * 2
    assert history.entry_at(links, datetime(2024, 1, 20, tzinfo=UTC)) == slow_clock.entry, "the chain orders, not the clock"


def test_frozen_from_the_first_freeze_to_the_thaw(store: VersionStore) -> None:
    kinds = ["freeze", "freeze", "promoted", "thaw"]
    links = [history.append(store, move(1, day=day + 1, kind=kind)) for day, kind in enumerate(kinds)]
    found = [history.freeze_entry(links[:end]) for end in range(1, 5)]
    assert found == [links[0].entry] * 3 + [None]


# Beside a registry


@dataclass(frozen=True)
class Desk:
    """A registry and the log of its moves."""

    registry: ModelRegistry
    log: VersionStore

    def made(self, seed: int) -> ModelRef:
        return self.registry.record(candidate(NAME, seed))

    def promoted(self, seed: int, **changes: object) -> ModelRef:
        ref = self.made(seed)
        done = promotion.set_champion(
            self.registry, self.log, ref, verdict(**changes), expected=self.registry.champion(NAME), by=Actor("run 7")
        )
        assert done.status == "promoted", done
        return ref

    def problems(self) -> list[str]:
        champion = self.registry.champion(NAME)
        known = {ref.version: ref.sha256 for ref in self.registry.versions(NAME)}
        intended = self.registry.intended(champion) if champion else None
        files = history.stored(self.log)
        return history.contradictions(files, self.registry.anchor(NAME), ChampionState.of(champion), known, intended)

    def links(self) -> list[HistoryEntry]:
        return history.read_history(self.log)

    def told(self) -> list[tuple[str, int | None]]:
        return [(e.kind, e.after.version if e.after else None) for e, _ in self.links()]


@pytest.fixture
def desk(uncreated: VersionStore, tmp_path: Path) -> Desk:
    return Desk(open_registry(f"sqlite:///{tmp_path / 'mlflow.db'}"), uncreated)


def test_a_promotion_stands_in_the_history_with_its_evidence(desk: Desk) -> None:
    first, second = desk.promoted(1), desk.promoted(2, why="Better.")
    entry = desk.links()[-1].entry
    assert (entry.kind, entry.who, entry.why) == ("promoted", "run 7", "Better.")
    assert (entry.before, entry.after) == (ChampionState.of(first), ChampionState.of(second))
    assert entry.evidence
    assert desk.registry.verdict(second, entry.evidence)["why"] == "Better."
    assert desk.registry.anchor(NAME) == f"2 {desk.links()[-1].sha256}"
    assert desk.problems() == []


def test_a_refusal_and_a_repetition_leave_no_entry(desk: Desk) -> None:
    first = desk.promoted(1)
    second = desk.made(2)
    no = verdict(promoted=False, why="Worse.")
    assert promotion.set_champion(desk.registry, desk.log, second, no, expected=first, by=Actor()).status == "refused"
    assert (
        promotion.set_champion(desk.registry, desk.log, first, verdict(), expected=None, by=Actor()).status == "already done"
    )
    assert desk.told() == [("promoted", 1)]


def test_an_override_says_so(desk: Desk) -> None:
    first, second = desk.promoted(1), desk.made(2)
    no = verdict(promoted=False, why="Worse.")
    done = promotion.set_champion(desk.registry, desk.log, second, no, expected=first, by=SAM, override="the board wants it")
    assert (done.status, done.why) == ("promoted", "the board wants it")
    entry = desk.links()[-1].entry
    assert (entry.kind, entry.who, entry.why) == ("override", "sam", "the board wants it")


def test_a_rollback_and_what_a_late_training_may_do_after_it(desk: Desk) -> None:
    first, second = desk.promoted(1), desk.promoted(2)
    assert promotion.find_rollback_target(desk.registry, desk.log, NAME, None) == first
    done = promotion.roll_back_champion(desk.registry, desk.log, first, by=SAM, reason="it hurts")
    assert (done.status, desk.registry.champion(NAME)) == ("promoted", first)
    assert [desk.registry.tags(ref)["penstock.state"] for ref in (first, second)] == ["champion", "rolled back"]
    late = promotion.set_champion(desk.registry, desk.log, second, verdict(), expected=first, by=Actor("run 8"))
    assert (late.status, desk.registry.champion(NAME)) == ("refused", first)
    assert "rolled back" in late.why
    third = desk.promoted(3)
    assert desk.registry.champion(NAME) == third
    assert desk.told() == [("promoted", 1), ("promoted", 2), ("rollback", 1), ("promoted", 3)]
    assert desk.problems() == []


def test_a_person_brings_a_version_back_that_was_rolled_back_or_is_old(desk: Desk) -> None:
    first, second = desk.promoted(1), desk.promoted(2)
    promotion.roll_back_champion(desk.registry, desk.log, first, by=SAM, reason="it hurts")
    assert promotion.set_champion(desk.registry, desk.log, second, verdict(), expected=first, by=SAM).status == "promoted"
    old = desk.registry.record(candidate(NAME, 9, until="2013-01-01T00:00:00+00:00"))
    assert promotion.set_champion(desk.registry, desk.log, old, verdict(), expected=second, by=SAM).status == "promoted"


def test_going_back_twice_goes_back_twice(desk: Desk) -> None:
    refs = [desk.promoted(seed) for seed in (1, 2, 3)]
    for expected in (refs[1], refs[0]):
        ref = promotion.find_rollback_target(desk.registry, desk.log, NAME, None)
        assert ref == expected
        promotion.roll_back_champion(desk.registry, desk.log, ref, by=SAM, reason="further back")
    with pytest.raises(UsageError, match="which one"):
        promotion.find_rollback_target(desk.registry, desk.log, NAME, None)


def test_frozen_nothing_is_promoted_but_a_rollback_goes_through(desk: Desk) -> None:
    first, second = desk.promoted(1), desk.promoted(2)
    assert promotion.set_hold(desk.registry, desk.log, NAME, frozen=True, who="sam", reason="year end")
    assert promotion.set_hold(desk.registry, desk.log, NAME, frozen=True, who="kim", reason="again") is None
    third = desk.made(3)
    done = promotion.set_champion(desk.registry, desk.log, third, verdict(), expected=second, by=Actor())
    assert done.status == "skipped"
    assert "by sam: year end" in done.why
    assert desk.registry.champion(NAME) == second
    assert "year end" in (promotion.hold_reason(desk.registry, desk.log, NAME) or "")
    promotion.roll_back_champion(desk.registry, desk.log, first, by=SAM, reason="it hurts")
    assert promotion.set_hold(desk.registry, desk.log, NAME, frozen=False, who="sam", reason="over")
    assert promotion.hold_reason(desk.registry, desk.log, NAME) is None
    assert desk.told()[2:] == [("freeze", 2), ("rollback", 1), ("thaw", 1)]
    assert desk.problems() == []


def test_frozen_before_there_is_any_version(desk: Desk) -> None:
    assert promotion.set_hold(desk.registry, desk.log, NAME, frozen=True, who="sam", reason="not yet")
    assert promotion.hold_reason(desk.registry, desk.log, NAME)
    assert promotion.set_hold(desk.registry, desk.log, NAME, frozen=False, who="sam", reason="now")
    desk.promoted(1)
    assert desk.problems() == []


# Rewrites


def replaced(log: VersionStore, change: Callable[[list[bytes]], list[bytes]], *, rename: bool = False) -> None:
    """Put other entries in the place of those there are; `rename` gives each the name that its content asks for."""
    before = history.stored(log)
    after = change([data for _, data in before])
    log.branch("rewrite")
    for path, _ in before:
        log.remove("rewrite", path)
    paths = [path for path, _ in before] + [f"history/{n:08d}-{'0' * 64}.json" for n in range(50, 60)]
    for path, data in zip(paths, after, strict=False):
        if rename:
            path = f"history/{json.loads(data)['number']:08d}-{hashlib.sha256(data).hexdigest()}.json"
        log.upload("rewrite", path, data)
    log.commit("rewrite", "nothing to see", {})
    log.merge("rewrite", "main", "nothing to see", {})


def retold(data: bytes) -> bytes:
    return data.replace(b"It gains enough.", b"It was all mine.")


def forged(entries: list[bytes]) -> list[bytes]:
    """A chain that is whole in itself, but tells another story."""
    previous, made = None, []
    for data in entries:
        told = json.loads(retold(data)) | {"previous": previous}
        made.append(json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())
        previous = hashlib.sha256(made[-1]).hexdigest()
    return made


REWRITES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], bool, str]] = {
    "one changed": (lambda e: [e[0], retold(e[1]), e[2]], False, "was changed"),
    "one changed and renamed": (lambda e: [e[0], retold(e[1]), e[2]], True, "does not follow"),
    "the first removed": (lambda e: e[1:], True, "entry 1 is missing"),
    "one removed between": (lambda e: [e[0], e[2]], True, "entry 2 is missing"),
    "the last removed": (lambda e: e[:2], True, "the registry knows entry 3"),
    "all removed": (lambda e: [], True, "the registry knows entry 3"),
    "two swapped": (lambda e: [e[1], e[0], e[2]], False, "was changed"),
    "all of it told anew": (forged, True, "the registry knows entry 3"),
    "no JSON": (lambda e: [b"{", *e[1:]], False, "is no entry"),
}


@pytest.mark.parametrize(("change", "rename", "says"), REWRITES.values(), ids=REWRITES)
def test_a_rewrite_shows_and_stops_the_next_move(
    desk: Desk, change: Callable[[list[bytes]], list[bytes]], rename: bool, says: str
) -> None:
    refs = [desk.promoted(seed) for seed in (1, 2, 3)]
    assert desk.problems() == []
    replaced(desk.log, change, rename=rename)
    assert any(says in problem for problem in desk.problems()), desk.problems()
    with pytest.raises(IntegrityError, match="was rewritten"):
        promotion.set_champion(desk.registry, desk.log, desk.made(4), verdict(), expected=refs[-1], by=Actor())
    assert desk.registry.champion(NAME) == refs[-1]


def test_an_alias_that_somebody_else_moved_shows_and_is_written_down_with_the_next_move(desk: Desk) -> None:
    first, second = desk.promoted(1), desk.promoted(2)
    desk.registry._store.set_alias(NAME, "champion", 1)  # type: ignore[attr-defined]
    assert [problem for problem in desk.problems() if "the champion is v1" in problem]
    desk.promoted(3)
    assert desk.told() == [("promoted", 1), ("promoted", 2), ("found", 1), ("promoted", 3)]
    assert desk.problems() == []
    assert (first.version, second.version) == (1, 2)


def test_a_champion_from_before_the_history_is_found(desk: Desk) -> None:
    ref = desk.made(1)
    assert desk.registry.promote(ref, verdict(), expected=None)
    desk.registry._store.tag(NAME, 1, {"penstock.move": ""})  # type: ignore[attr-defined]
    assert promotion.hold_reason(desk.registry, desk.log, NAME) is None
    assert desk.told() == [("found", 1)]
    assert "when the history began" in desk.links()[0].entry.why


def test_a_lost_registry_is_refused(desk: Desk, tmp_path: Path) -> None:
    desk.promoted(1)
    empty = Desk(open_registry(f"sqlite:///{tmp_path / 'other' / 'mlflow.db'}"), desk.log)
    with pytest.raises(NotFound, match="restore the registry"):
        promotion.hold_reason(empty.registry, empty.log, NAME)
    ref = empty.made(2)
    with pytest.raises(NotFound, match="restore the registry"):
        promotion.set_champion(empty.registry, empty.log, ref, verdict(), expected=None, by=Actor())
    assert empty.registry.champion(NAME) is None
    assert timedelta(0) < datetime.now(UTC) - desk.links()[0].entry.when < timedelta(minutes=10)


def test_a_rollback_mends_an_alias_that_was_lost(desk: Desk) -> None:
    first, second = desk.promoted(1), desk.promoted(2)
    desk.registry._store.drop_alias(NAME, "champion")  # type: ignore[attr-defined]
    done = promotion.roll_back_champion(desk.registry, desk.log, first, by=SAM, reason="the alias is gone")
    assert (done.status, desk.registry.champion(NAME)) == ("promoted", first)
    newest = desk.links()[-1].entry
    assert (newest.kind, newest.who, newest.why, newest.before) == (
        "rollback",
        "sam",
        "the alias is gone",
        ChampionState.of(second),
    )
    assert desk.registry.tags(second)["penstock.state"] == "rolled back"
    assert desk.problems() == []

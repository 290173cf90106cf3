"""What a history of moves says, and each way in which it can be wrong: on chains written by hand, without any store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.errors import IntegrityError, NotFound
from schemas.history import ChampionState, HistoryEntry, Move
from tasks.promotion import history
from tasks.versions.local.store import LocalStore

File = tuple[str, bytes]
START = datetime(2024, 1, 1, tzinfo=UTC)


def side(version: int | None) -> ChampionState | None:
    return None if version is None else ChampionState(version=version, sha256=str(version) * 64)


def move(kind: str, before: int | None, after: int | None, day: int = 0) -> Move:
    told = {"kind": kind, "when": START + timedelta(days=day), "who": "sam", "why": "better"}
    return Move.model_validate({**told, "from": side(before), "to": side(after)})


def chain(*moves: Move) -> list[File]:
    """The moves as a history holds them."""
    files: list[File] = []
    previous = None
    for number, each in enumerate(moves, 1):
        entry = {**json.loads(each.model_dump_json(by_alias=True)), "format_version": 1, "number": number}
        data = json.dumps(
            {**entry, "previous": previous}, sort_keys=True, ensure_ascii=False, separators=(",", ":")
        ).encode()
        previous = hashlib.sha256(data).hexdigest()
        files.append((f"history/{number:08d}-{previous}.json", data))
    return files


def links(*moves: Move) -> list[HistoryEntry]:
    found, problems = history.check_chain(chain(*moves))
    assert problems == []
    return found


PROMOTED = (move("promoted", None, 1, 0), move("promoted", 1, 2, 1), move("promoted", 2, 3, 2))
KNOWN = {version: str(version) * 64 for version in (1, 2, 3)}


def test_a_chain_is_read_in_order_and_an_entry_is_one_text() -> None:
    files = chain(*PROMOTED)
    found, problems = history.check_chain(files)
    assert problems == []
    assert [link.entry.number for link in found] == [1, 2, 3]
    assert [link.sha256 for link in found] == [hashlib.sha256(data).hexdigest() for _, data in files]
    assert [history.entry_bytes(link.entry) for link in found] == [data for _, data in files]


def renamed(data: bytes) -> File:
    return f"history/{json.loads(data)['number']:08d}-{hashlib.sha256(data).hexdigest()}.json", data


def changed(file: File) -> File:
    """Another content under a name that fits it."""
    return renamed(file[1].replace(b"better", b"luck"))


def test_each_break_of_a_chain_is_told_where_it_is() -> None:
    one, two, three = chain(*PROMOTED)
    broken: list[tuple[Sequence[File], list[str]]] = [
        ([one, three], [f"entry 2 is missing before {three[0]}"]),
        ([two, three], [f"entry 1 is missing before {two[0]}"]),
        ([changed(one), two, three], [f"{two[0]} does not follow the entry before it"]),
        ([one, (two[0], changed(two)[1]), three], [f"{two[0]} was changed: its name and its content differ",
                                                   f"{three[0]} does not follow the entry before it"]),
        ([one, ("history/x.json", b"{"), two], ["history/x.json is no entry"]),
    ]  # fmt: skip
    for files, problems in broken:
        assert history.check_chain(files)[1] == problems


def against(
    moves: Sequence[Move], *, kept: str | None = None, now: int | None = 3, known: Mapping[int, str] = KNOWN,
    intended: Move | None = None,
) -> list[str]:  # fmt: skip
    anchor = history.anchor(links(*moves)) if kept is None else kept
    return history.contradictions(chain(*moves), anchor, side(now), known, intended)


def test_a_history_that_agrees_with_its_registry_has_no_contradiction() -> None:
    assert against(PROMOTED) == []
    assert against((), now=None) == []


def test_each_move_begins_where_the_one_before_ended() -> None:
    jumped = (move("promoted", None, 1), move("promoted", 1, 2), move("promoted", 1, 3))
    assert against(jumped) == [f"entry 3 begins at v1 ({'1' * 12}), but v2 ({'2' * 12}) was champion"]
    forgot = (move("promoted", None, 1), move("promoted", None, 3))
    assert against(forgot) == [f"entry 2 begins at no version, but v1 ({'1' * 12}) was champion"]


def test_a_version_that_the_registry_does_not_hold_so_is_told() -> None:
    assert against(PROMOTED, known={1: "1" * 64, 3: "3" * 64}) == [
        f"entry 2 names v2 ({'2' * 12}), which the registry does not have so"
    ]
    assert against(PROMOTED, known={**KNOWN, 1: "9" * 64}) == [
        f"entry 1 names v1 ({'1' * 12}), which the registry does not have so"
    ]
    assert against((move("freeze", None, None),), now=None, known={}) == []


def test_a_champion_that_the_history_does_not_end_at_is_told_unless_a_move_was_under_way() -> None:
    two = PROMOTED[:2]
    apart = [f"the champion is v3 ({'3' * 12}), the history ends at v2 ({'2' * 12})"]
    assert against(two) == apart
    assert against(two, intended=move("promoted", 2, 3)) == []
    assert against(two, intended=move("promoted", 1, 3)) == apart  # from elsewhere
    assert against(two, now=1, intended=move("promoted", 2, 3)) != []  # to elsewhere
    assert against(PROMOTED, now=None) == [f"the champion is no version, the history ends at v3 ({'3' * 12})"]
    assert against(PROMOTED, intended=PROMOTED[2]) == []


def test_a_move_that_is_written_down_already_explains_nothing_new() -> None:
    there = (move("promoted", None, 1), move("promoted", 1, 2), move("rollback", 2, 1))
    assert not history.explains(there[1], links(*there), side(2))
    assert history.explains(move("promoted", 1, 2, day=9), links(*there), side(2))
    assert not history.explains(None, links(*there), side(1))


def test_an_anchor_is_contradicted_by_another_entry_or_by_none() -> None:
    found = links(*PROMOTED)
    assert history.anchor(found) == f"3 {found[2].sha256}"
    for kept in ("", history.anchor(found), history.anchor(found[:1])):  # what came later contradicts nothing
        assert history.anchor_conflict(found, kept) is None
    other = "c" * 64
    assert (
        history.anchor_conflict(found, f"3 {other}")
        == f"the registry knows entry 3 as {'c' * 12}, the history has another one"
    )
    assert history.anchor_conflict(found, f"2 {found[2].sha256}") is not None  # the hash of another entry
    assert (
        history.anchor_conflict(found[:2], f"3 {other}") == f"the registry knows entry 3 as {'c' * 12}, the history has none"
    )
    history.refuse_rewritten(found, history.anchor(found), "there")
    with pytest.raises(IntegrityError, match=r"in there was rewritten: the registry knows entry 3"):
        history.refuse_rewritten(found, f"3 {other}", "there")


def test_a_registry_without_the_recorded_champion_is_lost() -> None:
    history.refuse_lost([], None, "there")
    history.refuse_lost(links(*PROMOTED), side(1), "there")
    history.refuse_lost(links(move("freeze", None, None)), None, "there")
    with pytest.raises(NotFound, match="has no champion, but the history says v3"):
        history.refuse_lost(links(*PROMOTED), None, "there")


def test_the_champion_is_where_the_last_move_ended() -> None:
    assert history.recorded_champion([]) is None
    assert history.recorded_champion(links(*PROMOTED)) == side(3)
    assert history.recorded_champion(links(*PROMOTED, move("rollback", 3, 2))) == side(2)


def test_an_entry_counts_from_its_moment_on() -> None:
    found = links(*PROMOTED)
    assert history.entry_at(found, START - timedelta(seconds=1)) is None
    assert history.entry_at(found, START) == found[0].entry
    assert history.entry_at(found, START + timedelta(days=1, seconds=-1)) == found[0].entry
    assert history.entry_at(found, START + timedelta(days=9)) == found[2].entry


def test_a_freeze_holds_from_the_first_one_to_the_thaw() -> None:
    held = [move(kind, 1, 1, day) for day, kind in enumerate(("freeze", "freeze", "thaw", "freeze"))]
    found = links(move("promoted", None, 1), *held)
    assert [history.freeze_entry(found[:end]) for end in range(6)] == [
        None,
        None,
        found[1].entry,
        found[1].entry,
        None,
        found[4].entry,
    ]
    assert history.freeze_entry(links(move("freeze", None, None), move("promoted", None, 1))) is not None


@pytest.mark.parametrize(
    ("moves", "back_to"),
    [
        ((), None),
        ([("promoted", None, 1)], None),
        ([("promoted", None, 1), ("promoted", 1, 2)], 1),
        ([("promoted", None, 1), ("promoted", 1, 2), ("promoted", 2, 3)], 2),
        ([("promoted", None, 1), ("override", 1, 2)], 1),
        ([("promoted", None, 1), ("found", 1, 2)], 1),
        ([("promoted", None, 1), ("promoted", 1, 2), ("freeze", 2, 2), ("thaw", 2, 2)], 1),
        ([("promoted", None, 1), ("promoted", 1, 2), ("promoted", 2, 3), ("rollback", 3, 2)], 1),  # and not to 3 again
        ([("promoted", None, 1), ("promoted", 1, 2), ("rollback", 2, 1)], None),
        ([("promoted", None, 2), ("promoted", 2, 1), ("promoted", 1, 3), ("promoted", 3, 1)], 3),  # what it replaced last
        ([("promoted", None, 1), ("promoted", 1, 2), ("found", 2, 2)], 1),  # a version replaces no version with itself
    ],
)
def test_a_rollback_goes_to_what_the_champion_itself_had_replaced(
    moves: Sequence[tuple[str, int | None, int | None]], back_to: int | None
) -> None:
    assert history.replaced_champion(links(*[move(*each) for each in moves])) == side(back_to)


def test_an_entry_is_one_commit_that_says_what_it_is(tmp_path: Path) -> None:
    log = LocalStore((tmp_path / "log").as_uri())
    written = [history.append(log, each) for each in (move("freeze", None, None), move("promoted", None, 1))]
    assert history.read_history(log) == written
    newest, before = [commit for commit in log.log(first_parent=True) if commit.metadata.get("kind") == "history"]
    assert [commit.message for commit in (before, newest)] == ["history 1: freeze no version", "history 2: promoted v1"]
    path = f"history/00000002-{written[1].sha256}.json"
    assert {name: newest.metadata[name] for name in ("format_version", "path", "move")} == {
        "format_version": "1",
        "path": path,
        "move": "promoted",
    }
    assert log.read("main", path) == history.entry_bytes(written[1].entry)


def test_branches_of_entries_that_are_merged_are_removed_and_no_others(tmp_path: Path) -> None:
    log = LocalStore((tmp_path / "log").as_uri())
    entry = history.append(log, move("promoted", None, 1))
    merged, waiting = f"history/{entry.sha256[:32]}", f"history/{'e' * 32}"
    for branch in (merged, waiting):
        log.branch(branch)
    history.delete_merged_branches(log, [])
    assert set(log.branches("history/")) == {merged, waiting}
    history.delete_merged_branches(log, [entry])
    assert log.branches("history/") == [waiting]


def test_a_rewritten_history_is_not_read(tmp_path: Path) -> None:
    log = LocalStore((tmp_path / "log").as_uri())
    history.append(log, move("promoted", None, 1))
    log.branch("rewrite")
    log.upload("rewrite", f"history/00000002-{'0' * 64}.json", b"{}")
    log.commit("rewrite", "one more", {})
    log.merge("rewrite", "main", "one more", {})
    with pytest.raises(IntegrityError, match=r"was rewritten: history/00000002-0+\.json is no entry"):
        history.read_history(log)

"""Writers that take turns where no hook is installed: one at a time, and none that was only slow spoils it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from schemas.errors import NothingToCommit, StaleCheck
from schemas.refs import Guard
from tasks.versions.lakefs import merge
from tasks.versions.lakefs.lease import MARK, Lease
from tasks.versions.lakefs.store import LakeFSStore
from tests.contract.stores import commit, contents, publish
from tests.faults.children import killed, run
from tests.services.server import Server

MERGE = """
import sys
from schemas.refs import Guard
from tasks.versions import open_store
store = open_store(sys.argv[1])
store.merge("b", "main", "m", {}, guard=Guard(commit=store.head(), prefixes=("data/",)))
"""


def lease(store: LakeFSStore, patience: float = 60.0) -> Lease:
    return Lease(store.lake, store.place.repository, "main", patience)


def turns(store: LakeFSStore) -> list[str]:
    found = store.lake.pages(store.lake.sdk.branches_api.list_branches, store.place.repository, prefix=MARK)
    return [branch.id for branch in found]


def test_the_next_writer_waits_for_the_one_before(store: LakeFSStore) -> None:
    order, entered = [], Event()

    def second() -> None:
        with lease(store).held(store.head()):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with lease(store).held(store.head()) as turn:
            waiting = pool.submit(second)
            entered.wait(0.3)  # long enough for the second to ask several times
            order.append("first")
            assert turns(store) == [turn.branch]
        waiting.result()
    assert order == ["first", "second"]
    assert turns(store) == []


def test_a_turn_stands_at_the_commit_to_be_merged(store: LakeFSStore) -> None:
    head = store.head()
    store.branch("b")
    made = commit(store, "b", data__x=b"1")
    with lease(store).held(made) as turn:
        assert (turn.head, store.lake.sdk.branches_api.get_branch(store.place.repository, turn.branch).commit_id) == (
            head,
            made,
        )
        assert store.branches() == ["b", "main"]


def test_a_turn_that_a_killed_writer_left_is_taken_over(store: LakeFSStore) -> None:
    store.branch("b")
    commit(store, "b", data__x=b"1")
    assert killed(run(MERGE, store.url, kill_point="store.before_merge"))
    assert len(turns(store)) == 1
    store.merger.patience = 0.2
    store.merge("b", "main", "m", {}, guard=Guard(commit=store.head(), prefixes=("data/",)))
    assert turns(store) == []
    assert contents(store) == {"data/x": b"1"}


def test_a_writer_that_was_only_slow_cannot_merge_after_its_turn_was_taken(
    lake: Server, store: LakeFSStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = lake.store(store.place.repository)
    quick.merger.patience = 0.2
    for branch in ("slow", "quick"):
        store.branch(branch)
        commit(store, branch, **{f"data__{branch}": b"1"})
    guard, stalled = Guard(commit=store.head(), prefixes=("data/",)), []

    def stall(point: str) -> None:
        if point == "store.before_merge" and not stalled:
            stalled.append(point)
            quick.merge("quick", "main", "m", {}, guard=guard)

    monkeypatch.setattr(merge, "fault_point", stall)
    with pytest.raises(StaleCheck, match="another writer took over"):
        store.merge("slow", "main", "m", {}, guard=guard)
    assert contents(store) == {"data/quick": b"1"}
    with pytest.raises(StaleCheck, match="'data/quick' has changed"):
        store.merge("slow", "main", "m", {}, guard=guard)
    store.merge("slow", "main", "m", {}, guard=Guard(commit=store.head(), prefixes=("data/",)))
    assert turns(store) == []


def test_of_two_turns_for_one_head_the_later_holds(store: LakeFSStore) -> None:
    head, early = store.head(), lease(store)
    with lease(store).held(head) as first:
        number = len(f"{MARK}{head[:16]}-")
        assert first.branch[number:] == "0"
        later = lease(store)._take(head, 1, head)
        assert later
        assert turns(store) == [later.branch]
        assert early._take(head, 0, head) is None  # it sees that 1 is taken, and leaves 0 again
        assert turns(store) == [later.branch]


def test_a_turn_for_a_head_of_the_past_is_none(store: LakeFSStore) -> None:
    past = store.head()
    publish(store, "a", data__x=b"1")
    assert lease(store)._take(past, 0, past) is None
    assert turns(store) == []


def test_a_merge_that_brings_nothing_takes_no_turn(store: LakeFSStore) -> None:
    publish(store, "b", data__x=b"1")
    with lease(store).held(store.head()), pytest.raises(NothingToCommit):
        store.merge("b", "main", "again", {}, guard=Guard(commit=store.head(), prefixes=("data/",)))

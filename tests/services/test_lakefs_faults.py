"""A lakeFS server whose replies get lost, that errs, is slow, goes away and comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import Conflict, NotFound, PenstockError, ServiceUnavailable
from schemas.refs import Guard
from tasks.versions.lakefs import client
from tasks.versions.lakefs.store import LakeFSStore
from tasks.versions.read_errors import is_lake_gone
from tests.contract.stores import commit, contents, publish
from tests.faults.proxy import Fault, FaultProxy, answer, drop_reply, reset, slow
from tests.services.server import Server, started


def prepare(store: LakeFSStore) -> None:
    """`a` is published; `b` has something to publish and something staged."""
    publish(store, "a", data__a=b"1")
    store.branch("b")
    commit(store, "b", data__b=b"1")
    store.branch("c")
    store.upload("c", "data/c", b"1")


def guarded(store: LakeFSStore) -> object:
    return store.merge("b", "main", "m", {"k": "v"}, guard=Guard(commit=store.head(), prefixes=("data/",)))


# What is done, the requests whose replies get lost, and what is there afterwards.
EFFECTS: dict[str, tuple[Callable[[LakeFSStore], object], str, str, Callable[[LakeFSStore], object]]] = {
    "branch": (lambda s: s.branch("new"), "POST", "/branches$", lambda s: s.head("new") == s.head()),
    "delete": (lambda s: s.delete_branch("b"), "DELETE", "/branches/b$", lambda s: s.branches() == ["a", "c", "main"]),
    "upload": (lambda s: s.upload("b", "data/x", b"2"), "POST", "/objects", lambda s: len(s.objects("b", staged=True)) == 3),
    "remove": (lambda s: s.remove("b", "data/b"), "DELETE", "/objects", lambda s: len(s.objects("b", staged=True)) == 1),
    "commit": (lambda s: s.commit("c", "m", {"k": "v"}), "POST", "/commits$", lambda s: len(list(s.log("c"))) == 4),
    "merge": (lambda s: s.merge("b", "main", "m", {"k": "v"}), "POST", "/merge/", lambda s: history(s) == 3),
    "guarded": (guarded, "POST", "/merge/", lambda s: history(s) == 3 and s.branches() == ["a", "b", "c", "main"]),
    "turn": (guarded, "POST", "/branches$", lambda s: history(s) == 3),
    "revert": (lambda s: s.revert("main", s.head(), "r", {"k": "v"}), "POST", "/revert$", lambda s: history(s) == 3),
    "tag": (lambda s: s.tag("t", "main"), "POST", "/tags$", lambda s: s.tags() == {"t": s.head()}),
    "create": (lambda s: s.create(), "PUT", "/branch_protection", lambda s: s.repository.protected()),
}


def history(store: LakeFSStore) -> int:
    return len(list(store.log(first_parent=True)))


@pytest.mark.parametrize("name", [name for name in EFFECTS if name != "create"])
@pytest.mark.parametrize("fault", [drop_reply, reset, answer(500)], ids=["lost reply", "reset", "error 500"])
def test_an_effect_takes_place_once(
    store: LakeFSStore, spoilt: LakeFSStore, proxy: FaultProxy, name: str, fault: Fault
) -> None:
    act, method, path, there = EFFECTS[name]
    prepare(store)
    rule = proxy.on(fault, method=method, path=path, times=1)
    act(spoilt)
    assert rule.hits == 1
    assert there(store)


@pytest.mark.parametrize("name", ["commit", "merge", "guarded", "revert", "tag", "upload"])
def test_a_server_that_only_errs_is_asked_a_few_times(
    store: LakeFSStore, spoilt: LakeFSStore, proxy: FaultProxy, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, method, path, _ = EFFECTS[name]
    prepare(store)
    before = store.head(), contents(store)
    rule = proxy.on(answer(503), method=method, path=path)
    with pytest.raises(ServiceUnavailable, match="503"):
        act(spoilt)
    assert rule.hits == client.ATTEMPTS
    assert (store.head(), contents(store)) == before
    proxy.clear()
    act(spoilt)


def test_a_slow_server_is_waited_for(store: LakeFSStore, spoilt: LakeFSStore, proxy: FaultProxy) -> None:
    prepare(store)
    rule = proxy.on(slow(1.0), method="POST", path="/merge/", times=1)
    spoilt.merge("b", "main", "m", {})
    assert (rule.hits, history(store)) == (1, 3)


def test_a_server_that_never_replies_is_given_up(
    store: LakeFSStore, lake: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "READ_SECONDS", 0.3)
    prepare(store)
    spoilt = lake.store(store.place.repository, url=proxy.url)
    rule = proxy.on(slow(600.0), method="POST", path="/(merge/|objects)")
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        spoilt.merge("b", "main", "m", {})
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        spoilt.upload("b", "data/x", b"1")
    assert rule.hits == 2 * client.ATTEMPTS


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412])
def test_a_refusal_is_not_repeated(store: LakeFSStore, spoilt: LakeFSStore, proxy: FaultProxy, status: int) -> None:
    prepare(store)
    rule = proxy.on(answer(status), method="POST", path="/merge/")
    with pytest.raises(PenstockError) as raised:
        spoilt.merge("b", "main", "m", {})
    assert not raised.value.transient
    assert rule.hits == 1


def test_a_late_first_try_is_not_done_twice(store: LakeFSStore, spoilt: LakeFSStore, proxy: FaultProxy) -> None:
    """The reply is lost, and the server is not done when the look-up finds nothing: the repetition meets the effect."""
    prepare(store)
    proxy.on(drop_reply, method="POST", path="/merge/", times=1)
    hidden = proxy.on(answer(404), method="GET", path="/refs/main/commits", times=1)
    with pytest.raises(NotFound):
        spoilt.merge("b", "main", "m", {"k": "v"})
    assert hidden.hits == 1
    assert history(store) == 3


def test_a_tag_of_another_commit_stays_a_conflict(store: LakeFSStore, spoilt: LakeFSStore, proxy: FaultProxy) -> None:
    prepare(store)
    store.tag("t", "b")
    proxy.on(drop_reply, method="POST", path="/tags$", times=1)
    with pytest.raises(Conflict):
        spoilt.tag("t", "main")


def test_a_server_that_is_down_and_comes_back(store: LakeFSStore, spoilt: LakeFSStore, proxy: FaultProxy) -> None:
    prepare(store)
    with proxy.refusing(), pytest.raises(ServiceUnavailable, match="does not answer"):
        spoilt.merge("b", "main", "m", {})
    assert spoilt.merge("b", "main", "m", {}).id == store.head()


def test_reading_while_the_server_is_down_fails_in_bounded_time(
    store: LakeFSStore, spoilt: LakeFSStore, proxy: FaultProxy, tmp_path: Path
) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "x")
    store.branch("b")
    store.upload("b", "data/x", tmp_path / "x")
    store.commit("b", "m", {})
    lazy = spoilt.scan("b", ["data/x"])
    with proxy.refusing(), pytest.raises(OSError, match="object-store error") as caught:
        lazy.collect()
    assert is_lake_gone(caught.value)
    assert lazy.collect().item() == 1


def test_a_server_killed_after_a_publish_has_kept_it() -> None:
    server = started()
    try:
        store = server.store()
        store.create()
        for number in range(3):
            merged = publish(store, f"b{number}", **{f"data__{number}": b"1"})
            server.kill()
            with pytest.raises(ServiceUnavailable):
                store.head()
            server.restart()
            assert store.head() == merged
            assert len(contents(store)) == number + 1
    finally:
        server.stop()

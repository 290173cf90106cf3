"""What every version store must do, through the protocol alone."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.errors import (
    Conflict,
    NotFound,
    NothingToCommit,
    PenstockError,
    ProtectedBranch,
    StaleCheck,
    StoreError,
    UsageError,
)
from schemas.refs import Guard
from tasks.versions.factory import open_store
from tasks.versions.protocol import VersionStore
from tests.contract.stores import commit, contents, publish

ABSENT = "0" * 40


def test_a_new_repository_is_empty(uncreated: VersionStore) -> None:
    assert not uncreated.exists()
    with pytest.raises(NotFound):
        uncreated.head()
    uncreated.create()
    head = uncreated.head()
    uncreated.create()
    assert uncreated.exists()
    assert uncreated.branches() == ["main"]
    assert (uncreated.head(), uncreated.objects("main"), uncreated.tags()) == (head, [], {})
    assert isinstance(uncreated, VersionStore)


def test_a_url_opens_the_same_repository(store: VersionStore) -> None:
    publish(store, "b", data__x=b"1")
    assert contents(open_store(store.url)) == {"data/x": b"1"}
    assert open_store(store.url).url == store.url


METADATA = {"kind": "ingest", "rows": "12", "note": "ünï\n\n{\n  code: 1\n}", "empty": ""}


def test_a_commit_keeps_message_metadata_parent_and_time(store: VersionStore) -> None:
    start = datetime.now(UTC)
    parent = store.branch("b")
    store.upload("b", "data/x", b"1")
    made = store.commit("b", "ingest flights\n\nsecond paragraph", METADATA)
    assert (made.message, dict(made.metadata), made.parents) == ("ingest flights\n\nsecond paragraph", METADATA, (parent,))
    assert start - timedelta(seconds=2) <= made.time <= datetime.now(UTC) + timedelta(seconds=2)
    assert store.head("b") == made.id
    assert store.get("b") == store.get(made.id) == made


def test_an_object_keeps_hash_size_metadata_and_path(store: VersionStore, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(bytes(range(256)) * 5000)
    store.branch("b")
    stored = store.upload("b", "data/x/ü 1.bin", source, {"rows": "3"})
    store.commit("b", "one object", {})
    assert stored.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (stored.size, dict(stored.metadata)) == (1_280_000, {"rows": "3", "path": "data/x/ü 1.bin"})
    assert store.objects("b") == [stored]
    assert store.read("b", "data/x/ü 1.bin") == source.read_bytes()


def test_staged_changes_are_seen_by_others_but_not_read_at_the_ref(store: VersionStore) -> None:
    publish(store, "a", data__old=b"1", data__gone=b"1")
    store.branch("b")
    store.upload("b", "data/new", b"2")
    store.upload("b", "data/old", b"3")
    store.remove("b", "data/gone")
    other = open_store(store.url)
    assert [(o.path, o.size) for o in other.objects("b", staged=True)] == [("data/new", 1), ("data/old", 1)]
    assert [o.path for o in other.objects("b", "data/o", staged=True)] == ["data/old"]
    assert contents(other, "b") == {"data/old": b"1", "data/gone": b"1"}
    with pytest.raises(NotFound):
        other.read("b", "data/new")
    assert other.commit("b", "committed by another client", {}).id == store.head("b")
    assert contents(store, "b") == {"data/old": b"3", "data/new": b"2"}
    assert store.objects("b", staged=True) == store.objects("b")


def test_objects_are_sorted_and_picked_by_string_prefix(store: VersionStore) -> None:
    publish(store, "b", data__a__x=b"1", data__ab__x=b"2", data__b=b"3", rejected__a=b"4")
    assert [o.path for o in store.objects("main")] == ["data/a/x", "data/ab/x", "data/b", "rejected/a"]
    assert [o.path for o in store.objects("main", "data/a")] == ["data/a/x", "data/ab/x"]
    assert [o.path for o in store.objects("main", "data/a/")] == ["data/a/x"]
    assert store.objects("main", "nothing/") == []


def test_an_empty_commit_is_refused(store: VersionStore) -> None:
    head = store.branch("b")
    with pytest.raises(NothingToCommit):
        store.commit("b", "nothing", {})
    commit(store, "b", data__x=b"1")
    with pytest.raises(NothingToCommit):
        store.commit("b", "nothing more", {})
    store.upload("b", "data/y", b"2")
    store.remove("b", "data/y")
    with pytest.raises(NothingToCommit):
        store.commit("b", "added and removed", {})
    assert [c.id for c in store.log("b")][1:] == [head]


def test_the_last_staged_change_of_a_path_counts(store: VersionStore) -> None:
    publish(store, "b", data__x=b"1")
    store.remove("b", "data/x")
    with pytest.raises(NotFound):
        store.remove("b", "data/x")
    with pytest.raises(NotFound):
        store.remove("b", "data/absent")
    store.upload("b", "data/x", b"2")
    store.upload("b", "data/x", b"3")
    store.commit("b", "replace", {})
    assert contents(store, "b") == {"data/x": b"3"}


def test_main_takes_merges_only(store: VersionStore) -> None:
    publish(store, "b", data__x=b"1")
    with pytest.raises(ProtectedBranch):
        store.upload("main", "data/y", b"2")
    with pytest.raises(ProtectedBranch):
        store.remove("main", "data/x")
    with pytest.raises(ProtectedBranch):
        store.commit("main", "direct", {})
    with pytest.raises(ProtectedBranch):
        store.delete_branch("main")
    assert contents(store) == {"data/x": b"1"}


def test_branches_are_made_once_and_deleted_with_their_changes(store: VersionStore) -> None:
    root = store.branch("work/b")
    made = commit(store, "work/b", data__x=b"1")
    assert store.branch("work/b") == made
    assert store.branch("c", "work/b") == store.branch("d", made) == made
    assert store.branches() == ["c", "d", "main", "work/b"]
    assert store.branches("work/") == ["work/b"]
    store.upload("work/b", "data/y", b"2")
    store.delete_branch("work/b")
    store.delete_branch("work/b")
    with pytest.raises(NotFound):
        store.head("work/b")
    assert store.branch("work/b", root) == root
    assert store.objects("work/b", staged=True) == []
    assert store.get(made).parents == (root,)


def test_the_log_shows_every_commit_before_its_parents(store: VersionStore) -> None:
    root = store.head()
    merges = [publish(store, f"b{i}", **{f"data__{i}": b"1"}) for i in range(3)]
    assert [c.id for c in store.log(first_parent=True)] == [*reversed(merges), root]
    everything = list(store.log())
    place = {c.id: i for i, c in enumerate(everything)}
    assert len(everything) == 7
    assert all(place[c.id] < place[parent] for c in everything for parent in c.parents)
    assert [c.id for c in store.log(merges[0])] == [merges[0], store.head("b0"), root]


def test_a_diff_is_seen_from_the_left(store: VersionStore) -> None:
    old = publish(store, "a", data__same=b"1", data__changed=b"1", data__removed=b"1")
    store.branch("b")
    commit(store, "b", data__changed=b"2", data__removed=b"", data__added=b"3")
    seen = {change.path: change.kind for change in store.diff(old, "b")}
    assert seen == {"data/added": "added", "data/changed": "changed", "data/removed": "removed"}
    assert list(seen) == sorted(seen)
    assert store.diff("b", old)[0].kind == "removed"
    assert store.diff("b", "b") == []


def test_a_merge_brings_the_changes_of_both_sides_together(store: VersionStore) -> None:
    publish(store, "a", data__kept=b"1", data__ours=b"1", data__theirs=b"1", data__gone=b"1")
    store.branch("b")
    commit(store, "b", data__theirs=b"2", data__gone=b"", data__added=b"2")
    ours = publish(store, "c", data__ours=b"3")
    made = store.merge("b", "main", "both", METADATA)
    assert (made.parents, made.message, dict(made.metadata)) == ((ours, store.head("b")), "both", METADATA)
    assert store.get("main") == made
    expected = {"data/kept": b"1", "data/ours": b"3", "data/theirs": b"2", "data/added": b"2"}
    assert contents(store) == expected
    assert contents(store, made.id) == expected


def test_a_branch_takes_over_what_main_has_got(store: VersionStore) -> None:
    store.branch("b")
    commit(store, "b", data__b=b"1")
    publish(store, "a", data__a=b"1")
    store.merge("main", "b", "update", {})
    assert contents(store, "b") == {"data/a": b"1", "data/b": b"1"}
    store.merge("b", "main", "back", {})
    assert contents(store) == {"data/a": b"1", "data/b": b"1"}


CLASHES = [
    pytest.param({"data__x": b"2"}, {"data__x": b"3"}, id="changed twice"),
    pytest.param({"data__x": b"2"}, {"data__x": b""}, id="changed and removed"),
    pytest.param({"data__x": b""}, {"data__x": b"2"}, id="removed and changed"),
    pytest.param({"data__new": b"2"}, {"data__new": b"3"}, id="added twice"),
    pytest.param({"data__new": b"2", "data__y": b"1"}, {"data__new": b"3", "data__z": b"1"}, id="one path of several"),
    # The next path of the base holds what one side adds: a merge that knows objects by content alone misses the clash.
    pytest.param({"data__a": b"1"}, {"data__a": b"2"}, id="added twice, ours like the next path"),
    pytest.param({"data__a": b"2"}, {"data__a": b"1"}, id="added twice, theirs like the next path"),
]


@pytest.mark.parametrize(("ours", "theirs"), CLASHES)
def test_a_clash_is_refused_whole(store: VersionStore, ours: dict[str, bytes], theirs: dict[str, bytes]) -> None:
    publish(store, "a", data__x=b"1")
    store.branch("b")
    commit(store, "b", **theirs)
    head = publish(store, "c", **ours)
    before = contents(store)
    with pytest.raises(Conflict):
        store.merge("b", "main", "clash", {})
    assert (store.head(), contents(store)) == (head, before)


@pytest.mark.parametrize(
    "both", [{"data__new": b"2"}, {"data__x": b"2"}, {"data__x": b""}], ids=["added", "changed", "removed"]
)
def test_the_same_change_on_both_sides_is_no_clash(store: VersionStore, both: dict[str, bytes]) -> None:
    publish(store, "a", data__x=b"1")
    store.branch("b")
    commit(store, "b", data__other=b"1", **both)
    publish(store, "c", **both)
    store.merge("b", "main", "agree", {})
    assert contents(store) == contents(store, "b")


def test_a_merge_that_brings_nothing_is_refused(store: VersionStore) -> None:
    store.branch("empty")
    publish(store, "b", data__x=b"1")
    head = store.head()
    for source in ("b", "empty", "main", head):
        with pytest.raises(NothingToCommit):
            store.merge(source, "main", "again", {})
    assert store.head() == head


def test_a_merge_into_a_branch_with_uncommitted_changes_is_refused(store: VersionStore) -> None:
    store.branch("b")
    store.upload("b", "data/y", b"2")
    publish(store, "a", data__x=b"1")
    with pytest.raises(StoreError):
        store.merge("main", "b", "update", {})
    store.commit("b", "commit first", {})
    store.merge("main", "b", "update", {})
    assert contents(store, "b") == {"data/x": b"1", "data/y": b"2"}


@pytest.mark.parametrize(
    ("prefixes", "stale"),
    [
        (("data/f/2013-01/",), True),
        (("data/f/2013-02/", "data/f/2013-01/"), True),
        (("",), True),
        (("data/f/2013-0/", "data/f/2013-011/"), False),
        (("rejected/",), False),
        ((), False),
    ],
)
def test_a_guard_stops_a_merge_whose_check_is_stale(store: VersionStore, prefixes: tuple[str, ...], *, stale: bool) -> None:
    checked_at = store.head()
    guard = Guard(commit=checked_at, prefixes=prefixes)
    store.branch("b")
    commit(store, "b", data__f__other=b"1")
    head = publish(store, "a", **{"data__f__2013-01__x": b"1"})
    if stale:
        with pytest.raises(StaleCheck):
            store.merge("b", "main", "stale", {}, guard=guard)
        assert store.head() == head
        guard = Guard(commit=head, prefixes=prefixes)
    made = store.merge("b", "main", "fresh", {}, guard=guard)
    assert store.head() == made.id


def test_a_guarded_merge_that_was_done_is_recognised(store: VersionStore) -> None:
    guard = Guard(commit=store.head(), prefixes=("data/",))
    store.branch("b")
    commit(store, "b", data__x=b"1")
    store.merge("b", "main", "first", {}, guard=guard)
    with pytest.raises(NothingToCommit):
        store.merge("b", "main", "the reply was lost", {}, guard=guard)


def test_a_revert_undoes_a_merge_and_keeps_what_came_later(store: VersionStore) -> None:
    publish(store, "a", data__x=b"1", data__y=b"1")
    undone = publish(store, "b", data__x=b"2", data__y=b"", data__z=b"2")
    head = publish(store, "c", data__later=b"3")
    made = store.revert("main", undone, "retract", METADATA)
    assert (made.parents, dict(made.metadata)) == ((head,), METADATA)
    assert contents(store) == {"data/x": b"1", "data/y": b"1", "data/later": b"3"}
    with pytest.raises(NothingToCommit):
        store.revert("main", undone, "again", {})
    with pytest.raises(NothingToCommit):
        store.merge("b", "main", "a reverted branch is still merged", {})
    store.revert("main", made.id, "bring it back", {})
    assert contents(store) == {"data/x": b"2", "data/z": b"2", "data/later": b"3"}


def test_a_revert_of_a_plain_commit_on_a_branch(store: VersionStore) -> None:
    store.branch("b")
    commit(store, "b", data__x=b"1")
    undone = commit(store, "b", data__x=b"2")
    store.revert("b", undone, "undo", {})
    assert contents(store, "b") == {"data/x": b"1"}


def test_a_revert_over_a_later_change_is_refused(store: VersionStore) -> None:
    undone = publish(store, "a", data__x=b"1", data__y=b"1")
    head = publish(store, "b", data__x=b"2")
    with pytest.raises(Conflict):
        store.revert("main", undone, "retract", {})
    assert store.head() == head


def test_a_tag_names_one_commit_for_good(store: VersionStore) -> None:
    first = publish(store, "a", data__x=b"1")
    store.tag("v1", "main")
    store.tag("v1", first)
    second = publish(store, "b", data__x=b"2")
    with pytest.raises(Conflict):
        store.tag("v1", "main")
    store.tag("w2", "main")
    assert store.tags() == {"v1": first, "w2": second}
    assert store.tags("w") == {"w2": second}
    assert (store.head("v1"), contents(store, "v1")) == (first, {"data/x": b"1"})


@pytest.mark.parametrize("ref", ["absent", ABSENT, "", "a b", "../main", "refs/heads/main", "main~1", "HEAD", "-x"])
def test_an_unknown_ref_is_not_found(store: VersionStore, ref: str) -> None:
    store.branch("b")
    for ask in (
        lambda: store.head(ref),
        lambda: store.get(ref),
        lambda: list(store.log(ref)),
        lambda: store.objects(ref),
        lambda: store.read(ref, "data/x"),
        lambda: store.diff("main", ref),
        lambda: store.branch("new", ref),
        lambda: store.tag("new", ref),
        lambda: store.merge(ref, "main", "m", {}),
        lambda: store.merge("b", ref, "m", {}),
        lambda: store.revert("b", ref, "m", {}),
        lambda: store.upload(ref, "data/x", b"1"),
        lambda: store.commit(ref, "m", {}),
    ):
        with pytest.raises(NotFound):
            ask()
    assert (store.branches(), store.tags()) == (["b", "main"], {})


BAD_PATHS = [
    "", "/etc/passwd", "data/", "data//x", ".", "..", "../x", "data/../x", "data/../../x", "data/..", "./x", "data/./x",
    "data/%2e%2e/x", "data/%2E./x", "%2e%2e%2fx", "data/%252e%252e/x", "data/%2fx", "data/%5cx", "data/%00", "data/x\0.csv",
    "data\\..\\x", "data/\nx", "data/\x7fx", "data/\u202ex", "data/\ud800", "data/" + "x" * 1024, "data/" + "x" * 256,
    ".git/config", "data/.GIT/hooks/x",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS, ids=ascii)
def test_a_path_stays_inside_the_repository(store: VersionStore, path: str, tmp_path: Path) -> None:
    store.branch("b")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError) as refused:
        store.upload("b", path, b"1")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
    assert store.objects("b", staged=True) == []
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(NotFound):
        store.read("b", path)


@pytest.mark.parametrize(
    "path", ["data/..x/y..", "data/a%20b=1.5", "data/x y", "a", "data/~x", "data/@{1}", "x" * 255], ids=ascii
)
def test_an_odd_path_is_kept_as_it_is(store: VersionStore, path: str) -> None:
    store.branch("b")
    store.upload("b", path, b"1")
    store.commit("b", "odd", {})
    assert contents(store, "b") == {path: b"1"}


BAD_NAMES = [
    "", "a b", "..", "a..b", "../x", "/a", "a/", "a//b", ".a", "-a", "a/.b", "a.lock", "a.", "a~1", "a^", "a:b", "a?", "a*",
    "a[", "a\\b", "a\0", "a\n", "@", "a@{1}", "ä", "%2e%2e", "x" * 201, "0" * 40,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_branch_or_tag_name_is_checked(store: VersionStore, name: str) -> None:
    with pytest.raises(UsageError):
        store.branch(name)
    with pytest.raises(UsageError):
        store.tag(name, "main")
    store.delete_branch(name)
    assert (store.branches(), store.tags()) == (["main"], {})


@pytest.mark.parametrize(
    ("message", "metadata"),
    [("", {}), (" \n", {}), ("a\0b", {}), ("\ud800", {}), ("m", {"": "x"}), ("m", {"x": "\ud800"})],
    ids=ascii,
)
def test_a_commit_needs_a_message_and_text_as_metadata(store: VersionStore, message: str, metadata: dict[str, str]) -> None:
    store.branch("b")
    store.upload("b", "data/x", b"1")
    with pytest.raises(UsageError):
        store.commit("b", message, metadata)
    with pytest.raises(UsageError):
        store.merge("b", "main", message, metadata)


def test_a_source_that_is_no_file_is_refused(store: VersionStore, tmp_path: Path) -> None:
    store.branch("b")
    for source in (tmp_path / "absent", tmp_path):
        with pytest.raises(UsageError):
            store.upload("b", "data/x", source)
    assert store.objects("b", staged=True) == []


def test_every_refusal_is_one_line(store: VersionStore) -> None:
    publish(store, "b", data__x=b"1")
    refused = []
    for ask in (
        lambda: store.head("absent"),
        lambda: store.read("main", "absent"),
        lambda: store.commit("b", "nothing", {}),
        lambda: store.merge("b", "main", "again", {}),
        lambda: store.upload("main", "data/x", b"1"),
    ):
        with pytest.raises(PenstockError) as caught:
            ask()
        refused.append(str(caught.value))
    assert all(text and "\n" not in text for text in refused)

"""What is special to the embedded store: its files, its git history, its locks."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import Conflict, IntegrityError, NotFound, ServiceUnavailable, StoreError, UsageError
from tasks.versions.factory import open_store
from tasks.versions.local.files import Drafts
from tasks.versions.local.store import LocalStore
from tests.contract.stores import commit, contents, publish


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore((tmp_path / "lake").as_uri())
    store.create()
    return store


def folder(store: LocalStore) -> Path:
    return Path(store.url.removeprefix("file://"))


def git(store: LocalStore, *arguments: str) -> str:
    command = ["git", "-c", "safe.directory=*", "-C", str(folder(store) / "history.git"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def data_file(store: LocalStore, path: str) -> Path:
    (stored,) = store.objects("main", path)
    return folder(store) / "objects" / stored.sha256[:2] / f"{stored.sha256}{Path(path).suffix}"


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def test_plain_git_reads_the_history(store: LocalStore) -> None:
    store.branch("ingest/1")
    store.upload("ingest/1", "data/f/2013-01/a.parquet", b"1", {"rows": "7"})
    store.commit("ingest/1", "ingest f", {"source_sha256": "abc"})
    store.merge("ingest/1", "main", "publish f", {"source_sha256": "abc"})
    store.tag("v1", "main")
    assert git(store, "log", "--first-parent", "--format=%s").splitlines() == ["publish f", "Repository created"]
    assert '"source_sha256": "abc"' in git(store, "log", "-1")
    assert git(store, "ls-tree", "-r", "--name-only", "v1") == "data/f/2013-01/a.parquet"
    assert '"rows": "7"' in git(store, "show", "main:data/f/2013-01/a.parquet")
    assert git(store, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(store, "fsck", "--full", "--strict") == ""


def test_the_store_goes_on_after_git_has_packed_everything(store: LocalStore) -> None:
    for i in range(3):
        publish(store, f"b{i}", **{f"data__{i}": b"1"})
    before = [c.id for c in store.log()]
    git(store, "gc", "--quiet", "--prune=now")
    assert not list((folder(store) / "history.git" / "refs" / "heads").glob("*"))
    for client in (store, LocalStore(store.url)):
        assert [c.id for c in client.log()] == before
        assert client.branches() == ["b0", "b1", "b2", "main"]
    store.delete_branch("b0")
    publish(store, "b3", data__3=b"1")
    assert (store.branches(), sorted(contents(store))) == (["b1", "b2", "b3", "main"], [f"data/{i}" for i in range(4)])


def test_content_is_stored_once_and_read_in_place(store: LocalStore, tmp_path: Path) -> None:
    source = tmp_path / "x.parquet"
    pl.DataFrame({"a": range(100)}).write_parquet(source)
    store.branch("b")
    for path in ("data/1.parquet", "data/2.parquet"):
        store.upload("b", path, source)
    store.commit("b", "two names", {})
    store.merge("b", "main", "publish", {})
    files = [path for path in (folder(store) / "objects").rglob("*") if path.is_file()]
    assert files == [data_file(store, "data/1.parquet")]
    assert files[0].stat().st_mode & 0o222 == 0
    assert str(files[0]) in store.scan("main", ["data/1.parquet"]).explain()
    assert list((folder(store) / "tmp").iterdir()) == []


DAMAGE = {
    "flipped": lambda path: replace(
        path, path.read_bytes()[:-10] + bytes([path.read_bytes()[-10] ^ 1]) + path.read_bytes()[-9:]
    ),
    "truncated": lambda path: replace(path, path.read_bytes()[:-1]),
    "missing": lambda path: path.unlink(),
    "a link elsewhere": lambda path: (path.rename(path.with_name("aside")), path.symlink_to(path.with_name("aside"))),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
@pytest.mark.parametrize("seen_before", [False, True])
def test_a_damaged_file_is_refused_and_mended_by_the_same_upload(
    store: LocalStore, damage: str, *, seen_before: bool
) -> None:
    frame = pl.DataFrame({"a": range(1000)})
    source = folder(store).parent / "x.parquet"
    frame.write_parquet(source)
    publish(store, "b", **{"data__x.parquet": source.read_bytes()})
    if seen_before:
        store.scan("main", ["data/x.parquet"]).collect()
    DAMAGE[damage](data_file(store, "data/x.parquet"))
    with pytest.raises(IntegrityError):
        store.scan("main", ["data/x.parquet"])
    if damage != "a link elsewhere":
        with pytest.raises(IntegrityError):
            store.read("main", "data/x.parquet")
    store.upload("b", "data/again.parquet", source)
    assert store.scan("main", ["data/x.parquet"]).collect().equals(frame)


def test_a_damaged_history_is_refused(store: LocalStore) -> None:
    made = publish(store, "b", data__x=b"1")
    raw = folder(store) / "history.git" / "objects" / made[:2] / made[2:]
    replace(raw, b"damaged")
    with pytest.raises(IntegrityError, match="fsck"):
        LocalStore(store.url).get(made)


def test_a_tree_or_a_blob_is_no_ref(store: LocalStore) -> None:
    publish(store, "b", data__x=b"1")
    for name in ("main^{tree}", "main:data/x"):
        with pytest.raises(NotFound):
            store.branch("c", git(store, "rev-parse", name))


def test_a_commit_of_another_tool_is_refused_not_misread(store: LocalStore) -> None:
    made = git(store, "-c", "user.name=x", "-c", "user.email=x", "commit-tree", "-m", "by hand", "main^{tree}")
    with pytest.raises(IntegrityError):
        store.get(made)


def test_order_comes_from_ancestry_when_clocks_are_off(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    day, now = 86_400, time.time()
    merges = []
    for turn, offset in enumerate([0, -day, day, -3 * day, 0]):
        monkeypatch.setattr(time, "time", lambda offset=offset: now + offset)
        merges.append(publish(store, f"b{turn}", data__x=str(turn).encode()))
        assert store.get(merges[-1]).time.timestamp() == int(now + offset)
    assert [c.id for c in store.log(first_parent=True)][:-1] == merges[::-1]
    everything = [c.id for c in store.log()]
    assert all(everything.index(c.id) < everything.index(p) for c in store.log() for p in c.parents)
    assert contents(store) == {"data/x": b"4"}


def test_a_merge_base_is_found_when_clocks_are_off(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    store.branch("long")
    for turn in range(6):
        monkeypatch.setattr(time, "time", lambda turn=turn: now + (-1) ** turn * turn * 40_000)
        publish(store, f"b{turn}", data__x=str(turn).encode())
        store.merge("main", "long", "update", {})
        commit(store, "long", data__long=str(turn).encode())
    store.merge("long", "main", "at last", {})
    assert contents(store) == {"data/x": b"5", "data/long": b"5"}


@pytest.mark.parametrize("left", ["refs/heads/main.lock", "refs/heads/b.lock", "packed-refs.lock"])
def test_a_lock_file_that_a_killed_writer_left_is_outwaited(store: LocalStore, left: str) -> None:
    store.branch("b")
    commit(store, "b", data__x=b"1")
    git(store, "pack-refs", "--all")
    (folder(store) / "history.git" / left).touch()
    store.merge("b", "main", "publish", {})
    store.delete_branch("b")
    assert (contents(store), store.branches()) == ({"data/x": b"1"}, ["main"])


def test_what_a_killed_writer_left_half_written_goes_away(store: LocalStore) -> None:
    folder(store).joinpath("tmp", "dead").write_bytes(b"half")
    drafts = Drafts(folder(store) / "tmp")
    with drafts.new(0o444) as (file, alive):
        assert LocalStore(store.url).head() == store.head()
        assert list((folder(store) / "tmp").iterdir()) == [alive]
        file.write(b"still being written")


def test_nothing_staged_stays_on_disk_after_a_commit_or_with_a_deleted_branch(store: LocalStore) -> None:
    for branch in ("a", "b"):
        store.branch(branch)
        store.upload(branch, "data/x", b"1")
    store.commit("a", "c", {})
    store.delete_branch("b")
    assert list((folder(store) / "staging").iterdir()) == []


def test_a_branch_made_anew_has_nothing_of_one_whose_deletion_was_killed_half_way(store: LocalStore) -> None:
    store.branch("b")
    store.upload("b", "data/x", b"1")
    git(store, "update-ref", "-d", "refs/heads/b")
    store.branch("b")
    assert store.objects("b", staged=True) == []


def test_a_lock_that_is_held_for_long_is_reported(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.versions.local.layout._LOCK_SECONDS", 0.05)
    with store._locked(), pytest.raises(ServiceUnavailable, match="lock"):
        LocalStore(store.url).branch("b")
    assert store.branch("b") == store.head()


def test_names_that_git_cannot_keep_side_by_side_are_refused(store: LocalStore) -> None:
    store.branch("work/b")
    for name in ("work", "work/b/c"):
        with pytest.raises(Conflict):
            store.branch(name)
        store.tag(name.replace("work", "tag"), "main") if name == "work" else None
    with pytest.raises(Conflict):
        store.tag("tag/b", "main")
    assert store.branches() == ["main", "work/b"]


def test_a_path_is_an_object_or_a_folder(store: LocalStore) -> None:
    publish(store, "a", data__x=b"1")
    store.branch("b")
    store.upload("b", "data/x/y", b"2")
    with pytest.raises(Conflict):
        store.commit("b", "both", {})
    store.remove("b", "data/x")
    store.commit("b", "from object to folder", {})
    store.upload("b", "data", b"3")
    with pytest.raises(Conflict):
        store.commit("b", "both", {})
    store.remove("b", "data/x/y")
    store.commit("b", "from folder to object", {})
    assert contents(store, "b") == {"data": b"3"}


def test_two_sides_that_add_one_content_keep_the_destination_s_metadata(store: LocalStore) -> None:
    store.branch("a")
    store.branch("b")
    for branch in ("a", "b"):
        store.upload(branch, "data/x", b"1", {"from": branch})
        store.upload(branch, f"data/{branch}", b"1")
        store.commit(branch, "c", {})
        store.merge(branch, "main", "m", {})
    assert store.objects("main", "data/x")[0].metadata["from"] == "a"


@pytest.mark.parametrize("name", ["a b", "ü", "x#y?z", "[1]*", "100%", "%41"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    store = open_store((tmp_path / name).as_uri())
    store.create()
    frame = pl.DataFrame({"a": [1]})
    frame.write_parquet(tmp_path / "x.parquet")
    publish(store, "b", **{"x.parquet": (tmp_path / "x.parquet").read_bytes()})
    assert (tmp_path / name / "history.git").is_dir()
    assert store.scan("main", ["x.parquet"]).collect().equals(frame)


@pytest.mark.parametrize("url", ["file://lake/x", "file:lake", "file:///x%00y", "file:///x?y=1", "file:///x#y", "file://"])
def test_a_url_must_name_a_folder(url: str) -> None:
    with pytest.raises(UsageError):
        open_store(url)


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError):
        LocalStore(tmp_path.as_uri()).create()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot create"):
        LocalStore((tmp_path / "file" / "lake").as_uri()).create()


def test_creating_goes_on_where_a_killed_creator_stopped(tmp_path: Path) -> None:
    half = tmp_path / "lake" / "tmp" / "history.git"
    half.mkdir(parents=True)
    (half / "HEAD").write_text("half")
    store = LocalStore((tmp_path / "lake").as_uri())
    with pytest.raises(NotFound):
        store.head()
    store.create()
    assert store.branches() == ["main"]


def test_a_newer_format_is_refused(store: LocalStore) -> None:
    git(store, "config", "penstock.formatversion", "2")
    with pytest.raises(StoreError, match="format"):
        LocalStore(store.url).head()


def test_another_tool_that_moves_the_destination_is_noticed(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compare-and-swap itself, with no lock of ours in play: git moves main between our reading and our writing."""
    publish(store, "a", data__a=b"1")
    store.branch("b")
    commit(store, "b", data__b=b"1")
    store.branch("theirs")
    commit(store, "theirs", data__theirs=b"1")
    moves = iter([store.head("theirs")])

    def reach(_point: str) -> None:
        for commit_id in moves:
            git(store, "update-ref", "refs/heads/main", commit_id)

    monkeypatch.setattr("tasks.versions.local.store.fault_point", reach)
    store.merge("b", "main", "publish", {})
    assert sorted(contents(store)) == ["data/a", "data/b", "data/theirs"]


def test_reading_needs_no_right_to_write(store: LocalStore) -> None:
    publish(store, "b", data__x=b"1")
    for path in [folder(store), *folder(store).rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        assert contents(LocalStore(store.url)) == {"data/x": b"1"}
        if os.geteuid():
            with pytest.raises(StoreError):
                store.upload("b", "data/y", b"2")
    finally:
        for path in [folder(store), *folder(store).rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)

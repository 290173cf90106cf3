"""A store whose process is killed, or whose disk is full, at every step of a publication."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from schemas.errors import StoreError
from tasks.versions.local.store import LocalStore
from tests.faults.children import ROOT, completed, killed, run, said
from tests.faults.publisher import FILES, SCRIPT, consistent, publish

POINTS = ["store.after_upload", "store.before_commit", "store.after_commit", "store.before_merge", "store.after_merge"]
MEMORY = Path("/dev/shm")  # for what is about the order of steps, not about a disk


REVERT = """
import sys
from tasks.versions import open_store
open_store(sys.argv[1]).revert("main", sys.argv[2], "retract", {})
"""
DIE_EVERYWHERE = """
import pathlib, sys
from tasks.versions.local import git
from tests.faults.publisher import die_everywhere
git._PATIENCE = 0.02  # a lock file left behind is a dead one here
print(die_everywhere(pathlib.Path(sys.argv[1])))
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore((tmp_path / "lake").as_uri())


def main_tree(store: LocalStore) -> str:
    folder = Path(store.url.removeprefix("file://")) / "history.git"
    git = ["git", "-c", "safe.directory=*", "-C", str(folder)]
    assert subprocess.run([*git, "fsck", "--full", "--no-dangling"], check=True, capture_output=True, text=True).stdout == ""
    return subprocess.run([*git, "rev-parse", "main^{tree}"], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_named_point_a_rerun_ends_as_if_nothing_had_been(store: LocalStore, point: str, tmp_path: Path) -> None:
    unfaulted = LocalStore((tmp_path / "unfaulted").as_uri())
    assert publish(unfaulted) == "published"
    assert killed(run(SCRIPT, store.url, kill_point=point))
    assert consistent(store)
    assert bool(store.objects("main")) == (point == "store.after_merge")
    assert said(run(SCRIPT, store.url)) == ("already done" if point == "store.after_merge" else "published")
    assert said(run(SCRIPT, store.url)) == "already done"
    assert main_tree(store) == main_tree(unfaulted)
    assert store.objects("ingest/1", staged=True) == store.objects("main")


def test_what_a_killed_commit_left_staged_never_comes_back(store: LocalStore) -> None:
    """The branch has moved on since, and undoes what was committed: the leftovers must not redo it."""
    assert killed(run(SCRIPT, store.url, kill_point="store.after_commit"))
    store.revert("ingest/1", store.head("ingest/1"), "undo", {})
    assert store.objects("ingest/1", staged=True) == []
    store.upload("ingest/1", "data/other", b"1")
    store.commit("ingest/1", "another file", {})
    assert [stored.path for stored in store.objects("ingest/1")] == ["data/other"]


def test_a_revert_killed_half_way_is_done_or_not_done(store: LocalStore) -> None:
    publish(store)
    undone = store.head()
    assert killed(run(REVERT, store.url, undone, kill_point="store.before_revert"))
    assert store.head() == undone
    assert killed(run(REVERT, store.url, undone, kill_point="store.after_revert"))
    assert store.objects("main") == []
    assert "NothingToCommit" in run(REVERT, store.url, undone).stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_before_any_change_on_disk_a_rerun_finishes(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else tmp_path) as root:
        assert int(said(run(DIE_EVERYWHERE, root))) > 100


def test_all_that_a_ref_stands_on_is_on_disk_before_it_moves(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut only what was fsynced is there: files by content, names by their folder."""
    synced: dict[int, int] = {}
    fsync = os.fsync

    def recording(handle: int) -> None:
        fsync(handle)
        synced[os.fstat(handle).st_ino] = time.time_ns()

    def lost(*kept: str) -> list[Path]:
        paths = [path for name in kept for path in [root / name, *(root / name).rglob("*")]]
        return [
            path for path in paths if synced.get(path.stat().st_ino, -1) < (path.stat().st_mtime_ns if path.is_dir() else 0)
        ]

    checked = []

    def reach(point: str) -> None:
        if point.startswith(("store.before", "store.after")) and "upload" not in point:
            checked.append((point, lost("objects", "history.git/objects", "history.git/refs")))

    root = Path(store.url.removeprefix("file://"))
    monkeypatch.setattr(os, "fsync", recording)
    monkeypatch.setattr("tasks.versions.local.store.fault_point", reach)
    publish(store)
    assert checked == [(point, []) for point in POINTS[1:]]


LIMITED = """
import resource, signal, sys
from schemas.errors import StoreError
from tasks.versions import open_store
from tasks.versions.local import store as local_store
from tests.faults.publisher import consistent, publish
url, full_at = sys.argv[1:]
store = open_store(url)
store.create()
limits = resource.getrlimit(resource.RLIMIT_FSIZE)

def reach(point):
    if point == full_at:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))

local_store.fault_point = reach
if full_at == "start":
    reach("start")
try:
    publish(store)
    outcome = "published"
except StoreError as error:
    outcome = str(error)
finally:
    local_store.fault_point = lambda point: None
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
assert consistent(store)
print(len(store.objects("main")), outcome)
print(publish(store))
"""


@pytest.mark.parametrize(
    "full_at", ["start", "store.after_upload", "store.before_commit", "store.after_commit", "store.before_merge"]
)
def test_a_write_that_fails_leaves_main_alone_and_a_rerun_finishes(store: LocalStore, full_at: str) -> None:
    refused, again = completed(LIMITED, store.url, full_at).splitlines()
    assert refused.startswith("0 cannot ")
    assert "free some space" in refused
    assert again == "published"
    assert run(SCRIPT, store.url).stdout.strip() == "already done"
    assert main_tree(store)


def test_a_large_upload_that_does_not_fit_leaves_nothing(store: LocalStore, tmp_path: Path) -> None:
    store.create()
    store.branch("b")
    (tmp_path / "large").write_bytes(os.urandom(3 << 20))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(StoreError, match="free some space"):
            store.upload("b", "data/large", tmp_path / "large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for name in ("tmp", "objects") for path in (tmp_path / "lake" / name).rglob("*") if path.is_file()]
    store.upload("b", "data/large", tmp_path / "large")
    assert store.commit("b", "large", {}).id == store.head("b")


FULL_DISK = """
import pathlib, shutil, sys
from tests.faults.publisher import publish_on_a_full_disk
root = pathlib.Path(sys.argv[1])
ballast = root / "ballast"

def fill(left):
    free = shutil.disk_usage(root).free
    with ballast.open("wb") as file:
        file.write(bytes(max(0, free - left)))

refused = publish_on_a_full_disk(root, fill, lambda: ballast.unlink(missing_ok=True))
print(len(refused))
"""


def test_a_disk_that_is_really_full_leaves_main_alone(tmp_path: Path) -> None:
    """On a small file system of its own, with ever more room, so that each write in turn is the one that fails."""
    mount = f'mount -t tmpfs -o size=4m tmpfs {tmp_path} && exec {sys.executable} -W error -c "$SCRIPT" {tmp_path}'
    command = [shutil.which("unshare") or "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCRIPT": FULL_DISK}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5


def test_what_is_published_is_what_was_meant(store: LocalStore) -> None:
    publish(store)
    assert {stored.path: store.read("main", stored.path) for stored in store.objects("main")} == FILES

"""Deliveries that are killed at every step, or happen all at once: each source once, each key once."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tasks.versions.local.store import LocalStore
from tests.faults.children import finished, killed, run, said, started
from tests.faults.deliveries import SCRIPT, deliver, main_rows, publishes, write

POINTS = [
    "publishing.after_upload",
    "store.after_upload",
    "store.before_commit",
    "store.after_commit",
    "store.before_merge",
    "store.after_merge",
    "publishing.after_publish",
]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore((tmp_path / "lake").as_uri())


def at_once(store: LocalStore, *writers: list[Path]) -> list[str]:
    """Deliver each writer's files in a process of its own, all started at one moment; what they say."""
    with ExitStack() as stack:
        children = [stack.enter_context(started(SCRIPT, store.url, "wait", *map(str, files))) for files in writers]
        for child in children:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        return [word for child in children for word in said(finished(child)).strip().split("\n")]


@pytest.mark.parametrize("point", POINTS)
def test_a_delivery_killed_anywhere_is_finished_by_a_rerun(store: LocalStore, tmp_path: Path, point: str) -> None:
    path = write(tmp_path / "landing" / "a.csv", range(5))
    assert killed(run(SCRIPT, store.url, "now", str(path), kill_point=point))
    merged = point in ("store.after_merge", "publishing.after_publish")
    assert main_rows(store) == (list(range(5)) if merged else [])
    assert deliver(store.url, str(path)) == ("already done" if merged else "published")
    assert deliver(store.url, str(path)) == "already done"
    assert main_rows(store) == list(range(5))
    assert publishes(store.url) == ["a.csv"]
    whole = LocalStore((tmp_path / "unfaulted").as_uri())
    deliver(whole.url, str(path))
    assert store.branches() == whole.branches() == ["main"]
    assert [(o.path, o.sha256) for o in store.objects("main")] == [(o.path, o.sha256) for o in whole.objects("main")]


def test_a_delivery_killed_before_main_moved_is_audited_against_what_main_is_now(store: LocalStore, tmp_path: Path) -> None:
    first, second = write(tmp_path / "landing" / "a.csv", range(5)), write(tmp_path / "landing" / "b.csv", range(3, 8))
    assert killed(run(SCRIPT, store.url, "now", str(first), kill_point="store.before_merge"))
    assert deliver(store.url, str(second)) == "published"
    assert deliver(store.url, str(first)) == "published"
    assert main_rows(store) == list(range(8))
    newest = next(iter(store.log(first_parent=True)))
    assert (newest.metadata["accepted"], newest.metadata["rejected"]) == ("3", "2")


def test_one_file_delivered_twice_at_once_is_one_commit(store: LocalStore, tmp_path: Path) -> None:
    path = write(tmp_path / "landing" / "a.csv", range(20))
    assert set(at_once(store, [path], [path], [path])) <= {"published", "already done"}
    assert publishes(store.url) == ["a.csv"]
    assert main_rows(store) == list(range(20))


def test_different_files_with_common_keys_delivered_at_once_bring_each_key_once(store: LocalStore, tmp_path: Path) -> None:
    files = [write(tmp_path / "landing" / f"{n}.csv", range(n * 10, n * 10 + 20)) for n in range(4)]
    assert at_once(store, *([path] for path in files)) == ["published"] * 4
    assert sorted(publishes(store.url)) == sorted(path.name for path in files)
    assert main_rows(store) == list(range(50))


@pytest.mark.slow
def test_five_writers_of_three_files_make_fifteen_commits(store: LocalStore, tmp_path: Path) -> None:
    files = [write(tmp_path / "landing" / f"{n}.csv", range(n, n + 1), 1 + n % 12) for n in range(15)]
    assert at_once(store, *(files[first::5] for first in range(5))) == ["published"] * 15
    assert sorted(publishes(store.url)) == sorted(path.name for path in files)
    assert main_rows(store) == list(range(15))

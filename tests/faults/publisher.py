"""One publication as the flows do it, each step looked up before it is repeated; run in children and killed there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.errors import StoreError
from tasks.versions.local.store import LocalStore
from tasks.versions.protocol import VersionStore

SOURCE = "5" * 64
FILES = {f"data/f/2013-0{month}/part": f"rows of {month}".encode() * 50 for month in (1, 2, 3)}
SCRIPT = """
import sys
from tasks.versions import open_store
from tests.faults.publisher import publish
print(publish(open_store(sys.argv[1])))
"""
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.utime"}  # audit events
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def publish(store: VersionStore) -> str:
    """Bring FILES to main once. Returns what a second run would say: published, or already done."""
    store.create()
    if any(commit.metadata.get("source") == SOURCE for commit in store.log(first_parent=True)):
        return "already done"
    store.branch("ingest/1")
    if store.get("ingest/1").metadata.get("source") != SOURCE:
        for path, content in FILES.items():
            store.upload("ingest/1", path, content)
        store.commit("ingest/1", "ingest", {"source": SOURCE})
    store.merge("ingest/1", "main", "publish", {"source": SOURCE})
    return "published"


def consistent(store: VersionStore) -> bool:
    """Whether main holds all of the publication or nothing of it, and the log says which. Raises where it cannot be read."""
    log = list(store.log(first_parent=True))
    found = {stored.path: store.read("main", stored.path) for stored in store.objects("main")}
    return (found, len(log)) in ((FILES, 2), ({}, 1))


def die_before_change(number: int, folder: Path) -> None:
    """Kill this process just before its n-th change of a file's name, or opening of a file to write, below a folder."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if (event in _CHANGES or (event == "open" and arguments[2] & _WRITING)) and str(folder) in str(arguments[0]):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def in_fork(work: Callable[[], object]) -> int:
    """Do something in a forked process. Returns its exit status, negative for a signal."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_everywhere(root: Path) -> int:
    """Publish into folders of `root`, killed before the first change, the second, and so on. Returns how many there are."""
    changes = 0
    while _died_before(changes + 1, root / f"lake-{changes}"):
        changes += 1
    return changes


def _died_before(number: int, folder: Path) -> bool:
    store = LocalStore(folder.as_uri())
    status = in_fork(lambda: (die_before_change(number, folder), publish(store)))
    assert not store.exists() or consistent(store), f"torn when killed before change {number}"
    assert in_fork(lambda: publish(store)) == 0, f"a rerun fails when killed before change {number}"
    again = LocalStore(store.url)
    assert consistent(again), f"torn by the rerun after change {number}"
    assert publish(again) == "already done", f"done twice after change {number}"
    assert not list((folder / "tmp").iterdir()), f"something is left after change {number}"
    return status == -signal.SIGKILL


def publish_on_a_full_disk(root: Path, fill: Callable[[int], None], room: Callable[[], None]) -> list[int]:
    """Publish with ever more bytes left until it works. Returns what was left whenever it was refused."""
    refused, store = [], LocalStore((root / "lake").as_uri())
    store.create()
    for left in range(0, 1 << 20, 4096):
        fill(left)
        try:
            publish(store)
            return refused
        except StoreError:
            refused.append(left)
        finally:
            room()
        assert consistent(store), left
        assert store.objects("main") == [], left
    raise AssertionError("a megabyte was not enough")

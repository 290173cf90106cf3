"""The stores that the behaviour suite runs over, by name. A new adapter adds one entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tasks.versions.local.store import LocalStore
from tasks.versions.protocol import VersionStore
from tests.services.server import server


@contextmanager
def embedded(folder: Path) -> Iterator[VersionStore]:
    """An embedded store that is not created yet."""
    yield LocalStore((folder / "lake" / "flights").as_uri())


@contextmanager
def lakefs(_folder: Path) -> Iterator[VersionStore]:
    """A repository on a real lakeFS server that is not created yet."""
    yield server().store()


STORES: dict[str, Callable[[Path], AbstractContextManager[VersionStore]]] = {"embedded": embedded, "lakefs": lakefs}


def publish(store: VersionStore, branch: str, **paths: bytes) -> str:
    """Commit files (`__` stands for a slash) on a new branch of main and merge it. Returns the merge's id."""
    store.branch(branch)
    commit(store, branch, **paths)
    return store.merge(branch, "main", f"merge {branch}", {}).id


def commit(store: VersionStore, branch: str, **paths: bytes) -> str:
    """Commit files (`__` stands for a slash) on a branch; an empty one is removed. Returns the commit's id."""
    for name, content in paths.items():
        path = name.replace("__", "/")
        if content:
            store.upload(branch, path, content)
        else:
            store.remove(branch, path)
    return store.commit(branch, f"change {', '.join(paths)}", {}).id


def contents(store: VersionStore, ref: str = "main") -> dict[str, bytes]:
    """Every object at a ref."""
    return {stored.path: store.read(ref, stored.path) for stored in store.objects(ref)}

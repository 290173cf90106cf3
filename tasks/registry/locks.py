"""Who else is kept away while a model's versions, aliases and history change.

A registry's own lock excludes the processes of one machine. Whoever shares a server with other machines puts a lock of that
server around a piece of work; every change of a registry within it then takes that one first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

Lock = Callable[[str], AbstractContextManager[Any]]

_outer_lock: ContextVar[Lock | None] = ContextVar("penstock_exclusion", default=None)


@contextmanager
def excluding(lock: Lock) -> Iterator[None]:
    """Within this block `lock`, called with the model's name, is held around each change that a registry makes.

    Args:
        lock: Makes a context manager of a model's name.

    Yields:
        Nothing.
    """
    before = _outer_lock.set(lock)
    try:
        yield
    finally:
        _outer_lock.reset(before)


def outer_lock(name: str) -> AbstractContextManager[Any]:
    """What is held around a change of that model besides the registry's own lock."""
    lock = _outer_lock.get()
    return lock(name) if lock else nullcontext()

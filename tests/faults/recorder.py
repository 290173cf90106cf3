"""One training's end as the flows do it, recorded and promoted, in processes that die, race or run out of disk."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from schemas.errors import PenstockError, StaleCheck
from schemas.refs import ModelRef
from tasks.fault_injection import VARIABLE
from tasks.registry.factory import open_registry
from tasks.registry.mlflow import environment
from tasks.registry.mlflow.client import MlflowStore
from tasks.registry.protocol import ModelRegistry
from tests.faults.publisher import die_before_change, in_fork
from tests.registry_kit import candidate, verdict

T = TypeVar("T")
NAME = "flights"
POINTS = ["registry.after_log", "registry.after_register", "registry.after_alias", "registry.after_promote"]
MODEL = b"a model too large" * 200_000

RACE = """
import sys
from tests.faults.recorder import race
print("ready", flush=True)
input()
print(race(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def trained(registry: ModelRegistry, name: str = NAME, seed: int = 1, **changes: Any) -> ModelRef:
    """Record a candidate and promote it over the champion there is."""
    ref = registry.record(candidate(name, seed, **changes))
    registry.promote(ref, verdict(), expected=registry.champion(name))
    return ref


def race(url: str, name: str, seed: int) -> str:
    """Record what all record, then promote a model of one's own where there was no champion."""
    registry = open_registry(url)
    registry.record(candidate(name, 1))
    own = registry.record(candidate(name, seed))
    try:
        return "promoted" if registry.promote(own, verdict(), expected=None) else "refused"
    except StaleCheck:
        return "stale"


def whole(registry: ModelRegistry, name: str, versions: int) -> None:
    """Check that a name has so many versions, of one run each, and a champion that is proven and settled."""
    found = registry.versions(name)
    assert [ref.version for ref in found] == list(range(1, versions + 1))
    assert len({ref.run_id for ref in found}) == versions
    champion = proven(registry, name)
    assert champion == found[-1]
    assert registry.challenger(name) is None
    assert [registry.tags(ref)["penstock.state"] for ref in found] == ["archived"] * (versions - 1) + ["champion"]
    runs: list[object] = registry._store.call(  # type: ignore[attr-defined]
        "count", lambda client: client.search_runs([client.get_experiment_by_name(name).experiment_id])
    )
    assert len(runs) == versions


def proven(registry: ModelRegistry, name: str) -> ModelRef | None:
    """The champion, whose bytes must be whole and whose evaluation must be its own."""
    champion = registry.champion(name)
    if champion:
        registry.model_bytes(champion)
        assert registry.document(champion, "evaluation")["model_sha256"] == champion.sha256
    return champion


def die_after_exchange(number: int) -> None:
    """Kill this process as soon as the n-th exchange with MLflow from now on has had its effect."""
    call, count = MlflowStore.call, 0

    def counted(self: MlflowStore, what: str, effect: Callable[..., T]) -> T:
        nonlocal count
        result = call(self, what, effect)
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    MlflowStore.call = counted  # type: ignore[method-assign]


def preload() -> None:
    """Import what MLflow imports when it opens a database, so that forks need not."""
    with environment.importing():
        import mlflow.store.model_registry.sqlalchemy_store  # noqa: F401
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def die_at_points(url: str) -> None:
    """Follow a champion with a second one, killed at each named point."""
    preload()
    for number, point in enumerate(POINTS):
        assert _died(url, f"point-{number}", lambda: os.environ.update({VARIABLE: point})), point  # noqa: B023


def die_after_exchanges(url: str, step: int) -> int:
    """Follow a champion with a second one, killed after each `step`-th exchange. Returns after how many at the latest."""
    preload()
    number = 1
    while _died(url, f"exchange-{number}", lambda: die_after_exchange(number)):  # noqa: B023
        number += step
    return number - step


def _died(url: str, name: str, prepare: Callable[[], None]) -> bool:
    assert in_fork(lambda: trained(open_registry(url), name, seed=1)) == 0
    status = in_fork(lambda: (prepare(), trained(open_registry(url), name, seed=2)))
    assert in_fork(lambda: _ends_well(url, name, 2, seed=2)) == 0, f"not the end of an unfaulted run after {name}"
    return status == -signal.SIGKILL


def _ends_well(url: str, name: str, versions: int, **changes: Any) -> None:
    """Check what was left, run it again, and check that it ends as if nothing had been."""
    registry = open_registry(url)
    left = proven(registry, name)
    assert left or versions == 1
    trained(registry, name, **changes)
    whole(registry, name, versions)


def die_while_founding(root: Path) -> None:
    """Kill the first use of a registry at statements of its migrations and before changes of its folder, then use it."""
    preload()
    deaths: list[Callable[[Path], None]] = [lambda _, n=n: die_at_statement(n) for n in (350, 650)]  # type: ignore[misc]
    deaths += [lambda home, n=n: die_before_change(n, home) for n in (3, 5, 7)]  # type: ignore[misc]
    for number, die in enumerate(deaths):
        home = root / str(number)
        home.mkdir()
        url = f"sqlite:///{home / 'mlflow.db'}"
        assert in_fork(lambda: (die(home), trained(open_registry(url)))) == -signal.SIGKILL, number  # noqa: B023
        assert in_fork(lambda: _ends_well(url, NAME, 1)) == 0, number  # noqa: B023
        assert not list(home.glob(".draft-*")), number


def die_at_statement(number: int) -> None:
    """Kill this process at the n-th SQL statement from now on."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    count = 0

    def hook(*_: object) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", hook)


def fill_the_disk(url: str, limits: list[int]) -> None:
    """Follow a champion where no file may grow beyond a limit, bytes: refused in one line, then repeated with room."""
    preload()
    for limit in limits:
        name = f"limit-{limit}"
        assert in_fork(lambda: trained(open_registry(url), name, seed=1)) == 0  # noqa: B023
        assert in_fork(lambda: _refused_below(url, name, limit)) == 0, limit  # noqa: B023
        assert in_fork(lambda: _still_first(url, name)) == 0, limit  # noqa: B023
        assert in_fork(lambda: _ends_well(url, name, 2, seed=2, model=MODEL)) == 0, limit  # noqa: B023


def _refused_below(url: str, name: str, limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        trained(open_registry(url), name, seed=2, model=MODEL)
    except PenstockError as error:
        print(limit, error, flush=True)
    else:
        raise AssertionError(f"{limit} bytes were enough")


def _still_first(url: str, name: str) -> None:
    champion = proven(open_registry(url), name)
    assert champion
    assert champion.version == 1

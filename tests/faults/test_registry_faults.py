"""A registry whose process is killed, raced or out of disk, and whose server is down, slow, broken or unheard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ServiceUnavailable, StaleCheck, UsageError
from schemas.refs import ModelRef
from tasks.registry.factory import open_registry
from tasks.registry.mlflow import client
from tasks.registry.mlflow.registry import MlflowRegistry
from tests.faults.children import completed, said, together
from tests.faults.proxy import Exchange, FaultProxy, answer, drop_reply, reset, slow
from tests.faults.recorder import RACE, proven, trained, whole
from tests.registry_kit import candidate, server, unique, verdict

SCRIPT = "import pathlib, sys; from tests.faults.recorder import *; print({call})"


def test_killed_at_a_named_point_a_rerun_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    completed(SCRIPT.format(call="die_at_points(sys.argv[1])"), f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_killed_after_any_exchange_a_rerun_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    last = completed(SCRIPT.format(call="die_after_exchanges(sys.argv[1], 2)"), f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert int(last) > 10  # local reads are no exchanges


def test_killed_while_the_database_is_made_the_next_one_makes_it(tmp_path: Path) -> None:
    completed(SCRIPT.format(call="die_while_founding(pathlib.Path(sys.argv[1]))"), str(tmp_path))


def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    limits = {1 << 16: "the disk fails", 1 << 21: "File too large"}
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    said_why = completed(SCRIPT.format(call=f"fill_the_disk(sys.argv[1], {list(limits)})"), url)
    for line, (limit, why) in zip(said_why.splitlines(), limits.items(), strict=False):
        assert line.startswith(f"{limit} cannot")
        assert why in line


@pytest.mark.parametrize("backend", ["sqlite", "server"])
def test_two_trainings_race_for_one_champion(tmp_path: Path, backend: str) -> None:
    url = server().url if backend == "server" else f"sqlite:///{tmp_path / 'mlflow.db'}"
    name = unique()
    outcomes = [said(done) for done in together(RACE, [[url, name, "2"], [url, name, "3"]])]
    assert sorted(line.splitlines()[-1] for line in outcomes) == ["promoted", "stale"]
    registry = open_registry(url)
    assert len(registry.versions(name)) == 3
    assert proven(registry, name)


def test_a_promotion_waits_for_the_one_that_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    refs = [MlflowRegistry(url).record(candidate("flights", seed)) for seed in (1, 2)]
    decided, go_on, outcomes = threading.Event(), threading.Event(), []
    keep = MlflowRegistry._keep

    def pausing(self: MlflowRegistry, ref: ModelRef, *rest: Any) -> None:
        if ref == refs[0]:
            decided.set()
            assert go_on.wait(60)
        keep(self, ref, *rest)

    def promote(ref: ModelRef) -> None:
        try:
            outcomes.append(MlflowRegistry(url).promote(ref, verdict(), expected=None))
        except StaleCheck:
            outcomes.append("stale")

    monkeypatch.setattr(MlflowRegistry, "_keep", pausing)
    first, second = (threading.Thread(target=promote, args=(ref,)) for ref in refs)
    first.start()
    assert decided.wait(60)
    second.start()
    second.join(1.5)  # without a lock it would be through by now
    go_on.set()
    first.join()
    second.join()
    assert outcomes == [True, "stale"]
    assert MlflowRegistry(url).champion("flights") == refs[0]


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy(server().url) as between:
        yield between


STEPS = {
    "POST": ["runs/create", "logged-models$", "log-batch", "log-inputs", "outputs", "registered-models/create",
             "model-versions/create", "registered-models/alias", "model-versions/set-tag"],
    "PATCH": ["logged-models"],
    "PUT": ["mlflow-artifacts"],
    "DELETE": ["registered-models/alias"],
    "GET": ["model-versions/search", "registered-models/get", "mlflow-artifacts"],
}  # fmt: skip


@pytest.mark.parametrize("fault", [drop_reply, reset, answer(503)], ids=["lost reply", "reset", "503"])
def test_faults_that_pass_leave_no_trace(
    proxy: FaultProxy, fault: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAUSE", 0.01)
    rules = {
        (method, path): proxy.on(fault, method=method, path=path, times=1) for method in STEPS for path in STEPS[method]
    }
    registry, name = MlflowRegistry(proxy.url, timeout=60, attempts=8), unique()
    trained(registry, name)
    assert [step for step, rule in rules.items() if rule.hits != 1] == []
    whole(registry, name, 1)


@pytest.mark.parametrize("fault", [reset, answer(500)], ids=["reset", "500"])
@pytest.mark.parametrize("path", ["runs/create", "mlflow-artifacts", "model-versions/create", "registered-models/alias"])
def test_a_fault_that_stays_ends_in_one_line(proxy: FaultProxy, fault: Callable[..., None], path: str) -> None:
    name = unique()
    healthy = open_registry(server().url)
    first = trained(healthy, name)
    rule = proxy.on(fault, path=path)
    with pytest.raises(ServiceUnavailable, match="does not answer") as caught:
        trained(MlflowRegistry(proxy.url, timeout=60, attempts=2), name, seed=2)
    assert rule.hits == 2
    assert "\n" not in str(caught.value)
    assert healthy.champion(name) == first


def test_a_registration_that_comes_through_late_leaves_one_version(proxy: FaultProxy) -> None:
    name, through = unique(), threading.Semaphore(0)

    def late(exchange: Exchange) -> None:
        try:
            slow(20)(exchange)
        finally:
            through.release()

    rule = proxy.on(late, path="model-versions/create")
    with pytest.raises(ServiceUnavailable, match="no answer in time"):
        MlflowRegistry(proxy.url, timeout=10, attempts=2).record(candidate(name))
    assert rule.hits == 2
    assert through.acquire(timeout=120)
    assert through.acquire(timeout=120)
    registry = open_registry(server().url)
    trained(registry, name)  # whatever has come through by now
    whole(registry, name, 1)


def test_a_server_that_is_down_and_comes_back(proxy: FaultProxy) -> None:
    registry, name = MlflowRegistry(proxy.url, attempts=2), unique()
    with proxy.refusing(), pytest.raises(ServiceUnavailable, match="connection refused"):
        registry.champion(name)
    trained(registry, name)
    whole(registry, name, 1)


def test_no_server_at_all(proxy: FaultProxy) -> None:
    with proxy.refusing(), pytest.raises(ServiceUnavailable, match="PENSTOCK_MLFLOW_URL"):
        MlflowRegistry(proxy.url, attempts=1).record(candidate(unique()))


@pytest.mark.parametrize(
    ("content", "says"), [(b"not a database at all, whatever its name", "not a database"), (None, "unable")]
)
def test_a_file_that_is_no_registry(tmp_path: Path, content: bytes | None, says: str) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(content) if content else database.mkdir()
    with pytest.raises(UsageError, match=says):
        MlflowRegistry(f"sqlite:///{database}").champion("flights")


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("in the way")
    with pytest.raises(UsageError, match="must be writable"):
        MlflowRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}").record(candidate("flights"))


def test_a_lock_of_ones_own(tmp_path: Path) -> None:
    from contextlib import contextmanager

    held: list[str] = []

    @contextmanager
    def lock(name: str) -> Iterator[None]:
        held.append(name)
        yield
        held.append(f"{name} free")

    registry = MlflowRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", lock=lock)
    ref = registry.record(candidate("flights"))
    assert registry.promote(ref, verdict(), expected=None)
    assert held == ["flights", "flights free"] * 2

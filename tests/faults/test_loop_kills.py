"""The worker, its child and Prefect's server are killed: one commit, nothing stays Running, what was missed is found."""

import time
from collections.abc import Iterator

import pytest

from tests.loop_kit import Run, System, system

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]
SILENT = 90  # s after which a dead run is marked


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with system(tmp_path_factory.mktemp("loop"), range(1, 3)) as running:
        yield running


def published(loop: System, name: str) -> int:
    return sum(told["source_name"].startswith(name) for told in loop.publishes())


def under_way(loop: System, name: str) -> Run:
    """The run, once its process is at work."""
    return loop.until(lambda: [r for r in loop.runs("lifecycle", name) if r["state_type"] == "RUNNING"])[0]


def test_worker_and_child_are_killed(loop: System) -> None:
    loop.land("flights", 1)
    run = under_way(loop, "flights-2013-01")
    loop.kill([*loop.pids("worker"), *loop.children_of_runs()])
    killed = time.monotonic()
    loop.until(lambda: [r for r in loop.runs("lifecycle") if r["id"] == run["id"] and r["state_type"] == "CRASHED"], SILENT)
    print(f"marked Crashed after {time.monotonic() - killed:.0f} s")
    runs = loop.ended("lifecycle", "flights-2013-01", 2, seconds=300)
    assert [r["state_type"] for r in runs] == ["CRASHED", "COMPLETED"]
    assert [r["idempotency_key"].rpartition("/")[2] for r in runs] == ["1", "2"]
    assert published(loop, "flights-2013-01") == 1
    stuck = [r["name"] for r in loop.ask("flow_runs/filter") if r["state_type"] == "RUNNING"]
    assert loop.until(lambda: not [r for r in loop.ask("flow_runs/filter") if r["state_type"] == "RUNNING"], SILENT), stuck


def test_the_child_alone_is_killed(loop: System) -> None:
    landed = loop.land("weather", 1)
    run = under_way(loop, landed.name)
    loop.kill(loop.children_of_runs())
    runs = loop.ended("lifecycle", landed.name, 2, seconds=400)
    assert [r["state_type"] for r in runs] == ["CRASHED", "COMPLETED"], [r["state"]["message"] for r in runs]
    assert runs[0]["id"] == run["id"]
    assert [r["idempotency_key"].rpartition("/")[2] for r in runs] == ["1", "2"]
    assert published(loop, landed.name) == 1


def test_the_worker_alone_is_killed_while_another_run_is_asked_for(loop: System) -> None:
    landed = loop.land("labels", 1)
    run = under_way(loop, landed.name)
    loop.kill(loop.pids("worker"))
    loop.emit("penstock.data.landed", source=f"labels/{landed.name}", input="labels")  # a replacement beside its child
    loop.until(lambda: finished(loop, landed.name), seconds=500)
    runs = loop.ended("lifecycle", landed.name, 2, seconds=400)
    for each in runs:
        print(each["id"] == run["id"], each["state_type"], each["state"]["message"])
    told = [each["state"]["message"] for each in runs if each["state_type"] == "COMPLETED"]
    assert told
    assert sum(message.startswith("already done") for message in told) >= len(told) - 1, told
    assert published(loop, landed.name) == 1


def finished(loop: System, name: str) -> bool:
    return any(run["state_type"] == "COMPLETED" for run in loop.runs("lifecycle", name))


def test_the_server_is_killed_and_what_landed_meanwhile_is_found(loop: System) -> None:
    loop.kill([*loop.pids("prefect"), *loop.pids("landing")])
    loop.land("weather", 2)
    runs = loop.ended("lifecycle", "weather-2013-02", seconds=400)
    assert runs[-1]["state_type"] == "COMPLETED", runs[-1]["state"]
    assert published(loop, "weather-2013-02") == 1


def test_rescan_finds_what_no_watcher_saw(loop: System) -> None:
    loop.stop("landing")
    landed = loop.land("flights", 2)
    assert loop.run("rescan")["state"]["message"].endswith("1 started, 0 runs taken up again")
    runs = loop.ended("lifecycle", landed.name, seconds=400)
    assert [run["state_type"] for run in runs] == ["COMPLETED"], runs[-1]["state"]
    assert published(loop, landed.name) == 1
    assert loop.run("rescan")["state"]["message"].endswith("0 started, 0 runs taken up again")

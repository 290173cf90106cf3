"""The deployed system as a person starts it: `penstock up` in a home of its own, months of flights to land in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deployments.prefect_server.in_process import KEPT, OURS
from schemas.refs import Commit
from schemas.settings import Settings
from tasks.registry.factory import open_registry
from tasks.replay.nycflights13 import land_flights
from tasks.versions.factory import open_store
from tasks.versions.protocol import MAIN

ROOT = Path(__file__).parents[1]
UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING")
INPUTS = ("weather", "flights", "labels")
Run = dict[str, Any]


@dataclass(frozen=True)
class System:
    """A running system and what a test asks of it."""

    process: subprocess.Popen[str]
    home: Path
    addresses: dict[str, str]
    months: Path

    @property
    def settings(self) -> Settings:
        """Settings that see what its parts see."""
        return Settings(home=self.home, mlflow_url=f"sqlite:///{self.home}/mlflow/mlflow.db")

    @property
    def api(self) -> str:
        """Prefect's API."""
        return f"{self.addresses['prefect']}/api"

    def ask(self, path: str, **body: Any) -> Any:
        """POST to Prefect's API."""
        return httpx.post(f"{self.api}/{path}", json=body, timeout=60).raise_for_status().json()

    def told(self, path: str) -> Any:
        """GET from Prefect's API."""
        return httpx.get(f"{self.api}/{path}", timeout=60).raise_for_status().json()

    def runs(self, flow: str, name: str = "") -> list[Run]:
        """Runs of a flow whose name holds a text, oldest first."""
        asked = {"flows": {"name": {"any_": [flow]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return [run for run in self.ask("flow_runs/filter", **asked) if name in run["name"] and run["deployment_id"]]

    def ended(self, flow: str, name: str, count: int = 1, seconds: float = 240) -> list[Run]:
        """Wait until so many runs have ended and none is under way."""

        def done() -> list[Run] | None:
            runs = self.runs(flow, name)
            busy = [run for run in runs if run["state_type"] in UNFINISHED]
            return runs if len(runs) >= count and not busy else None

        return self.until(done, seconds)

    def until(self, condition: Callable[[], Any], seconds: float = 240) -> Any:
        """Wait for a condition and return what it says; a server that is restarted or says 503 is waited for."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if found := condition():
                    return found
            except httpx.HTTPError:
                pass
            assert self.process.poll() is None, "the system has ended"
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.tail()}"
            time.sleep(0.2)

    def tail(self) -> str:
        """The end of each log."""
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-800:]}" for log in self.logs())

    def logs(self) -> list[Path]:
        """The log files."""
        return sorted((self.home / "up" / "logs").glob("*.log"))

    def file(self, input: str, month: int) -> Path:
        """One month's file, before it lands."""
        return next((self.months / "flights" / input).glob(f"*-{month:02d}.*"))

    def land(self, input: str, month: int) -> Path:
        """Copy one month's file to where it lands."""
        folder = self.home / "landing" / "flights" / input
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(self.file(input, month), folder))

    def land_month(self, month: int) -> None:
        """Weather, flights and labels of a month, and all that follows from them."""
        for name in INPUTS:
            self.land(name, month)
        for name in INPUTS:
            for run in self.ended("lifecycle", f"{name}-2013-{month:02d}"):
                assert run["state_type"] == "COMPLETED", run["state"]

    def emit(self, event: str, use_case: str = "flights", **payload: Any) -> None:
        """Tell Prefect's events API of an event, as anybody may."""
        told = {
            "event": event,
            "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "resource": {"prefect.resource.id": f"penstock.use-case.{use_case}"},
            "payload": payload,
            "id": os.urandom(16).hex(),
        }
        self.until(lambda: httpx.post(f"{self.api}/events", json=[told], timeout=60).raise_for_status())

    def publishes(self) -> list[dict[str, str]]:
        """What is said of each publish to main, newest first."""
        return [dict(entry.metadata) for entry in self.published()]

    def published(self) -> list[Commit]:
        """The publishes to main, newest first."""
        store = open_store(self.settings.store_url("flights"))
        return [entry for entry in store.log(MAIN, first_parent=True) if entry.metadata.get("kind") == "ingest"]

    def scorings(self) -> list[dict[str, str]]:
        """What was published to the log, newest first."""
        log = open_store(self.settings.store_url("flights-log"))
        found = [dict(entry.metadata) for entry in log.log(MAIN, first_parent=True)] if log.exists() else []
        return [told for told in found if told.get("kind") == "score"]

    def champion(self) -> int:
        """The champion's version, 0 without one."""
        ref = open_registry(self.settings.registry_url).champion("flights")
        return ref.version if ref else 0

    def versions(self) -> int:
        """How many model versions there are."""
        return len(open_registry(self.settings.registry_url).versions("flights"))

    def pids(self, part: str) -> list[int]:
        """The processes of a part: its own, which circus may have replaced, and their children."""
        named = {"worker": "--work-queue default", "prefect": "server start", "landing": "watch --ready-file"}[part]
        return [pid for pid, line in self.processes() if named in line]

    def processes(self) -> list[tuple[int, str]]:
        """Processes whose environment names this home, with their command lines."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"PENSTOCK_HOME={self.home}\0".encode() in (folder / "environ").read_bytes():
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found.append((int(folder.name), line))
            except OSError:
                continue
        return found

    def children_of_runs(self) -> list[int]:
        """The processes in which flow runs run."""
        return [pid for pid, line in self.processes() if re.search(r"prefect\.(flow_)?engine|flow-run execute", line)]

    def stop(self, part: str) -> None:
        """Stop a part for good."""
        from circus.client import CircusClient

        state = json.loads((self.home / "up" / "state.json").read_text())
        client = CircusClient(endpoint=state["circus"], timeout=60)
        assert client.send_message("stop", name=part, waiting=True)["status"] == "ok"
        client.stop()

    def run(self, flow: str, **parameters: Any) -> Run:
        """Run a deployment to its end."""
        deployment = self.until(lambda: self.told(f"deployments/name/{flow}/penstock"))["id"]
        made = self.until(lambda: self.ask(f"deployments/{deployment}/create_flow_run", parameters=parameters))

        def ended() -> Run | None:
            told: Run = self.told(f"flow_runs/{made['id']}")
            return None if told["state_type"] in UNFINISHED else told

        found: Run = self.until(ended)
        return found

    def kill(self, pids: list[int]) -> None:
        """kill -9."""
        assert pids, self.processes()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


@contextmanager
def system(folder: Path, months: range) -> Iterator[System]:
    """`penstock up` with the embedded lake and MLflow's SQLite file; ends with the block, and nothing of it stays."""
    home, project = folder / "home", folder / "project"
    project.mkdir(parents=True)
    land_flights(folder / "months", months)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS) or name in KEPT}
    told = {
        "PENSTOCK_HOME": str(home),
        "PENSTOCK_LAKE_URL": (home / "lake").as_uri(),
        "PENSTOCK_MLFLOW_URL": f"sqlite:///{home}/mlflow/mlflow.db",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", "from deployments.cli import main; main()", "up", "--any-port", "--json"]
    process = subprocess.Popen(
        command,
        cwd=project,
        env={**environment, **told},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        running = System(process, home, json.loads(line), folder / "months")
        yield running
        process.send_signal(signal.SIGINT)
        process.wait(120)
        assert [line for _, line in running.processes()] == []
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(120)
        process.communicate()

"""The parts of the local system: what each is started with, and where it listens."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.prefect_server.in_process import QUIET
from schemas.settings import Settings

HOST = "127.0.0.1"
STATE = "state.json"  # of the system that is up, in the home's folder up/

PREFECT, MLFLOW, LAKEFS, HOOK, API = 4200, 5000, 8001, 8008, 8000  # ports, where they are free

ARRIVALS = 8  # runs at once; one that waits for its turn costs memory only

PENSTOCK = (sys.executable, "-P", "-c", "from deployments.cli import main; main()")

# Set for everybody: a part that does not know a name ignores it.
FOR_ALL = {
    **{name: value for name, value in QUIET.items() if "LOGGING" not in name},
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "LAKEFS_STATS_ENABLED": "false",
    "LAKEFS_SECURITY_CHECK_LATEST_VERSION": "false",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # The slots that runs hold outlive the server; in memory they would stay taken for ever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # Statements wait for SQLite's lock and do not fail.
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class Part:
    """One process: its command, where it answers, and the path that says that it is ready."""

    name: str
    command: tuple[str, ...]
    address: str = ""
    health: str = ""
    seconds: float = 180.0
    ready_file: Path | None = None

    @property
    def cmd(self) -> str:
        """The command as one line for a shell."""
        return shlex.join(self.command)


@dataclass(frozen=True)
class Plan:
    """What is to run, in the order of its start, and the environment that all of it shares."""

    parts: tuple[Part, ...]
    environment: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())


class Ports:
    """Ports of loopback: the usual one where it is free, else any. None is given out twice."""

    def __init__(self, usual: bool = True) -> None:
        self._usual, self._taken = usual, set[int]()

    def take(self, usual: int) -> int:
        """A free port."""
        for wanted in (*range(usual, usual + 1 if self._usual else usual), *[0] * 20):
            with socket.socket() as probe:
                try:
                    probe.bind((HOST, wanted))
                except OSError:
                    continue
                port = int(probe.getsockname()[1])
            if port not in self._taken:
                self._taken.add(port)
                return port
        raise OSError("no free port on loopback")


def binary(name: str) -> str | None:
    """A server's binary, where it was installed or where lakeFS's Python package puts it."""
    return shutil.which(name) or shutil.which(name, path=str(Path.home() / ".lakefs" / "bin"))


def read_state(settings: Settings) -> dict[str, Any] | None:
    """What is up in this home, or None."""
    path = settings.root / "up" / STATE
    try:
        state: dict[str, Any] = json.loads(path.read_text())
        os.kill(state["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return state

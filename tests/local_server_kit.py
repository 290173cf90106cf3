"""Homes with a Prefect server of their own, and processes that use it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deployments.prefect_server.in_process import OURS, QUIET
from tasks.orchestration.local_server_control import server_in_use, stop_server
from tasks.orchestration.local_server_files import ServerFiles

ROOT = Path(__file__).parents[1]
IDLE = 15.0  # minutes, where a test does not wait for the end
SOON = 60.0  # s in which something has to happen, on a busy machine

FLOW = """
import sys, time
from pathlib import Path
from prefect.settings import PREFECT_API_URL
from schemas.refs import Value
from tasks.orchestration.flow import penstock_flow

class Said(Value):
    why: str

@penstock_flow("probe", "probe")
def probe(seconds: float) -> Said:
    "A flow that takes its time."
    print("started", flush=True)
    time.sleep(seconds)
    return Said(why=str(PREFECT_API_URL.value()))

for seconds in sys.argv[1:]:
    print(probe(float(seconds)).why, flush=True)
"""
USER = """
import sys
from pathlib import Path
from tasks.orchestration.local_server_control import server_in_use

with server_in_use(Path(sys.argv[1]), 15) as server:
    print(server.pid if server else None, flush=True)
    sys.stdin.read()
"""


class Home:
    """A home, and the processes that work in it."""

    def __init__(self, root: Path) -> None:
        self.root, self.files = root, ServerFiles(root)

    def environment(self, **told: str) -> dict[str, str]:
        """A user's environment without any setting, but for the home and what is told."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return {**kept, **QUIET, "PYTHONPATH": str(ROOT), "PENSTOCK_HOME": str(self.root), **told}

    def flow(self, *seconds: float, **told: str) -> subprocess.Popen[str]:
        """A Python process that runs a flow of so many seconds for each number."""
        return self._process(FLOW, *map(str, seconds), **told)

    def user(self) -> subprocess.Popen[str]:
        """A process that uses the server until its input ends; it says the server's process first."""
        return self._process(USER, str(self.root))

    def penstock(self, *arguments: str, **told: str) -> subprocess.CompletedProcess[str]:
        """A command."""
        command = [sys.executable, "-c", "from deployments.cli import main; main()", *arguments]
        environment = self.environment(**told)
        return subprocess.run(
            command, env=environment, cwd=self.root.parent, capture_output=True, text=True, timeout=300, check=False
        )

    def serve(self) -> int:
        """Process of the home's server, which is started where none runs."""
        with server_in_use(self.root, IDLE) as server:
            assert server, self.log()
            return server.pid

    def log(self) -> str:
        """What the server wrote."""
        return self.files.log.read_text() if self.files.log.exists() else "it has no log"

    def stop(self) -> None:
        """End whatever runs, and see that it has ended."""
        if self.files.folder.is_dir():
            stop_server(self.root, force=True)
        assert not self.files.is_alive()

    def copy(self, root: Path) -> Home:
        """A home of the same content."""
        shutil.copytree(self.root, root)
        return Home(root)

    def _process(self, program: str, *arguments: str, **told: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env=self.environment(**told),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )


def said(process: subprocess.Popen[str]) -> list[str]:
    """The lines of a process that has ended well."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.split()


def wait_for(is_so: Callable[[], bool], seconds: float = SOON) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)

"""From the close of a file in the landing folder to its run, on `penstock up`: asked for, taken by the worker, started, and
its rows published.

One file alone, then three at once on the same cores. Beside it what the same interpreter needs before it can start any flow
at all: loading Prefect's engine, and with it the flow; and the ingest of the same files in one process that is warm. A
commit's time has whole seconds: published is up to a second too early.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.loop_kit import INPUTS, ROOT, System, system

WANTED, MOST_WAITED = 5.0, 10.0  # s from close to started, and to published beside the ingest's own work
OWN_WORK = """
import sys, time
from pathlib import Path
from deployments.prefect_server.in_process import clear_user_settings, in_process, prepare
from schemas.settings import Settings
settings = Settings(home=Path(sys.argv[1]))
clear_user_settings()
prepare(settings, isolated=True)
from flows.ingest import ingest
with settings.active(), in_process():
    for path in sys.argv[2:]:
        began = time.perf_counter()
        ingest("flights", path)
        print(Path(path).name, time.perf_counter() - began)
"""
IMPORTS = {"Prefect's engine": "import prefect.engine", "and the flow": "import prefect.engine, flows.lifecycle"}


def main() -> None:
    """Print how long each file waited."""
    for name, code in IMPORTS.items():
        print(f"loading {name}: {_loading(code):.1f} s")
    with tempfile.TemporaryDirectory() as folder, system(Path(folder), range(1, 4)) as running:
        running.land_month(1)
        own = _own_work(Path(folder), running)
        _measure(running, "one file alone", ("weather",), 2, own)
        _measure(running, "three at once", INPUTS, 3, own)


def _own_work(folder: Path, running: System) -> dict[str, float]:
    """Seconds that each file's ingest takes in one process; January's files only warm it up."""
    files = [str(path) for month in (1, 2, 3) for name in INPUTS for path in [running.file(name, month)]]
    command = [sys.executable, "-c", OWN_WORK, str(folder / "own"), *files]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name: float(seconds) for name, seconds in (line.split() for line in said.splitlines())}


def _loading(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    return time.perf_counter() - started


def _measure(running: System, title: str, inputs: tuple[str, ...], month: int, own: dict[str, float]) -> None:
    closed = {}
    for name in inputs:
        path = running.land(name, month)
        closed[path.name] = datetime.now(UTC)
    wanted = f"started within {WANTED:.0f}, published within {MOST_WAITED:.0f} beside the ingest's own work"
    print(f"{title}: seconds after the file was closed (wanted: {wanted})")
    for name, when in closed.items():
        run = running.ended("lifecycle", name)[0]
        states = running.told(f"flow_run_states/?flow_run_id={run['id']}")
        moments = {"asked for": run["created"], **{state["name"].lower(): state["timestamp"] for state in states}}
        told = ", ".join(f"{what} {(datetime.fromisoformat(at) - when).total_seconds():.1f}" for what, at in moments.items())
        [published] = [entry.time for entry in running.published() if entry.metadata["source_name"] == name]
        took = (published - when).total_seconds()
        print(f"  {name}: {told}, published {took:.1f} (own work {own[name]:.1f}: waited {took - own[name]:.1f})")


if __name__ == "__main__":
    main()

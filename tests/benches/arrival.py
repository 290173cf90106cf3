"""From the close of a file in the landing folder to its run, on `penstock up`: asked for, taken by the worker, started.

One file alone, then three at once on the same cores. Beside it what the same interpreter needs before it can start any flow
at all: loading Prefect's engine, and with it the flow.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.loop_kit import INPUTS, ROOT, System, system

WANTED = 5.0  # s from close to started
IMPORTS = {"Prefect's engine": "import prefect.engine", "and the flow": "import prefect.engine, flows.lifecycle"}


def main() -> None:
    """Print how long each file waited."""
    for name, code in IMPORTS.items():
        print(f"loading {name}: {_loading(code):.1f} s")
    with tempfile.TemporaryDirectory() as folder, system(Path(folder), range(1, 4)) as running:
        running.land_month(1)
        _measure(running, "one file alone", ("weather",), 2)
        _measure(running, "three at once", INPUTS, 3)


def _loading(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    return time.perf_counter() - started


def _measure(running: System, title: str, inputs: tuple[str, ...], month: int) -> None:
    closed = {}
    for name in inputs:
        path = running.land(name, month)
        closed[path.name] = datetime.now(UTC)
    print(f"{title}: seconds after the file was closed (wanted: started within {WANTED:.0f})")
    for name, when in closed.items():
        run = running.ended("lifecycle", name)[0]
        states = running.told(f"flow_run_states/?flow_run_id={run['id']}")
        moments = {"asked for": run["created"], **{state["name"].lower(): state["timestamp"] for state in states}}
        told = ", ".join(f"{what} {(datetime.fromisoformat(at) - when).total_seconds():.1f}" for what, at in moments.items())
        print(f"  {name}: {told}")


if __name__ == "__main__":
    main()

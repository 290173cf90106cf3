"""Running a benchmark's program in a process of its own, under a memory cap where asked."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def measured(program: str, arguments: Sequence[str], *, runs: int = 1, cap: int | None = None) -> dict[str, Any]:
    """Best of some runs: wall seconds, peak MB of the process, and what the program printed as JSON.

    `cap`: most bytes of data (heap and anonymous maps) that the process may take.
    """
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
        limit = (lambda: resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))) if cap else None
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=limit) as child:
            said = child.stdout.read() if child.stdout else ""
            pid, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise RuntimeError(f"the benchmark's program {pid} failed with {child.returncode}")
        seconds = time.perf_counter() - started
        found.append({**json.loads(said.splitlines()[-1]), "seconds": seconds, "mb": usage.ru_maxrss / 1024})
    return min(found, key=lambda run: run["seconds"])

"""Running a benchmark's program in a process of its own, killed where it takes more memory than allowed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def measured(program: str, arguments: Sequence[str], *, runs: int = 1, cap: int | None = None) -> dict[str, Any]:
    """Best of some runs: wall seconds, peak MB of the process, and what the program printed as JSON.

    `cap`: most resident bytes. A process seen above is killed, and the kernel's own record of its peak, which misses
    nothing, is asked at the end. Limits of address space would not do: allocators reserve far more than they touch.
    """
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            if cap:
                threading.Thread(target=_kill_above, args=(child, cap), daemon=True).start()
            said = child.stdout.read() if child.stdout else ""
            pid, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode or (cap and usage.ru_maxrss * 1024 > cap):
            peak = f"peak {usage.ru_maxrss / 1024:.0f} MB, {cap / 2**20:.0f} allowed" if cap else "no cap"
            raise RuntimeError(f"the benchmark's program {pid} failed with {child.returncode} ({peak})")
        seconds = time.perf_counter() - started
        found.append({**json.loads(said.splitlines()[-1]), "seconds": seconds, "mb": usage.ru_maxrss / 1024})
    return min(found, key=lambda run: run["seconds"])


def _kill_above(child: subprocess.Popen[str], cap: int) -> None:
    with suppress(OSError, IndexError):  # it has ended
        while child.returncode is None:
            if int(Path(f"/proc/{child.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > cap:
                child.kill()
                return
            time.sleep(0.02)

"""Servers as processes of their own, in an environment without the user's settings."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from deployments.prefect_server.in_process import KEPT, OURS, QUIET

ROOT = Path(__file__).parents[2]


def environment(**told: str) -> dict[str, str]:
    """This process's variables but for Prefect's, MLflow's and Penstock's, and what is told."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS) or name in KEPT}
    return {**kept, **QUIET, "PYTHONPATH": str(ROOT), **told}


@contextmanager
def process(command: list[str], health: str, home: Path, **told: str) -> Iterator[None]:
    """A server that has answered, for the block."""
    with (home / "server.log").open("wb") as log:
        child = subprocess.Popen([sys.executable, "-m", *command], env=environment(**told), stdout=log, stderr=log, cwd=home)
    try:
        deadline = time.monotonic() + 180
        while not _answers(health):
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((home / "server.log").read_text()[-3000:])
            time.sleep(0.2)
        yield
    finally:
        child.terminate()
        child.wait(60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False

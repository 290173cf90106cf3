"""A replay through the deployed system: files land, runs are waited for, and the end is that of a replay in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployments.prefect_server.in_process import KEPT, OURS
from tests.loop_kit import ROOT, system

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]
WEEK = ("--from", "2013-03-01", "--to", "2013-03-08", "--every", "7d")


def replayed(folder: Path, *arguments: str, **told: str) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS) or name in KEPT}
    command = [str(Path(sys.executable).with_name("penstock")), "replay", "flights", *WEEK, *arguments, "--json"]
    environment = {**kept, **told, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_deployed_system_lives_through_the_same(tmp_path: Path) -> None:
    with system(tmp_path / "up", range(0)) as loop:
        told = {
            "PENSTOCK_HOME": str(loop.home),
            "PENSTOCK_LAKE_URL": (loop.home / "lake").as_uri(),
            "PENSTOCK_MLFLOW_URL": f"sqlite:///{loop.home}/mlflow/mlflow.db",
            "PREFECT_API_URL": loop.api,
        }
        there = replayed(tmp_path, "--deployed", **told)
        assert {run["state_type"] for run in loop.runs("lifecycle")} == {"COMPLETED"}
        assert len(loop.runs("lifecycle")) == 6
    here = replayed(tmp_path, "--home", str(tmp_path / "here"))
    assert [course["total"] for course in there["courses"]] == [course["total"] for course in here["courses"]]
    assert there["courses"][0]["rows"] > 5000
    counts = [[(step["accepted"], step["rejected"]) for step in each["steps"]] for each in (there, here)]
    assert counts[0] == counts[1]

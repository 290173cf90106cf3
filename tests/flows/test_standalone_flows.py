"""Standalone tasks in flows of others: every flow of docs/tasks.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.test_standalone_errors import TASKS

ROOT = Path(__file__).parents[2]


def run(program: str, folder: Path) -> str:
    """What a program says that runs in a folder, with the tests' Prefect server."""
    from prefect.settings import PREFECT_API_URL

    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    environment = {**kept, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": str(PREFECT_API_URL.value()), "HOME": str(folder)}
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-P", "program.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tasks.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert [name for name in TASKS if not any(f"{name}(" in block for block in blocks)] == []
    said = run("\n".join(blocks), tmp_path)
    for expected in (
        "199 of 200 rows accepted, 1 rejected",
        "weight: greater_than(0) fails for -1.0; number: field_uniqueness fails for 2",
        "none of 2 columns drifted",
        "drift ['weight'] drift.html",
        "'train': 6171, 'stopping': 1420, 'holdout': 1409",
        "True promoted: log_loss 0.4627 against the champion's 0.6183",
        "['_row', 'weight', 'colour', '_bias'] 100",
        "UsageError: rows: no column 'probability'",
        "NotEnoughEvidence: rows: the frame has no rows",
    ):
        assert expected in said, said
    assert (tmp_path / "drift.html").exists()

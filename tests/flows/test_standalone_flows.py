"""Standalone tasks in flows of others: a stranger's project with the wheel alone, and every flow of docs/tasks.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.unit.test_standalone_errors import TASKS

ROOT = Path(__file__).parents[2]
STRANGER = """
import pandera.polars as pa, polars as pl
from penstock import audit_frame_task, evaluate_scores_task, measure_drift_task
from prefect import flow
class Order(pa.DataFrameModel):
    price: float = pa.Field(ge=0)
@flow
def nightly():
    orders = pl.DataFrame({"price": [float(i % 90 - 1) for i in range(900)], "paid": [i % 3 == 0 for i in range(900)]})
    audit = audit_frame_task(orders, Order)
    drift = measure_drift_task.submit(audit.accepted[:445], audit.accepted[445:], columns=["price"])
    worth = evaluate_scores_task(audit.accepted.with_columns(p=pl.lit(0.3)), "paid", "p")
    return audit.verdict.why, drift.result().status, round(worth.metrics["brier"], 4)
print(nightly())
"""


def run(program: str, folder: Path, path: Path, seconds: float = 280) -> str:
    """What a program says that runs in a folder, with this path to import from and the tests' Prefect server."""
    from prefect.settings import PREFECT_API_URL

    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    environment = {**kept, "PYTHONPATH": str(path), "PREFECT_API_URL": str(PREFECT_API_URL.value()), "HOME": str(folder)}
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-P", "program.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_a_strangers_flow_uses_three_tasks_from_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    made = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    installed, project = tmp_path / "installed", tmp_path / "project"
    project.mkdir()
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    said = run(STRANGER + "import penstock, tasks; print(penstock.__file__, tasks.__file__)", project, installed)
    result, files = said.splitlines()
    assert (
        result == "('890 of 900 rows accepted, 10 rejected', 'no drift', 0.2203)"
    )  # 290 of 890 are paid: (290 x .49 + 600 x .09) / 890
    assert all(file.startswith(str(installed)) for file in files.split())
    assert [path.name for path in project.iterdir() if path.suffix != ".py" and path.name != ".prefect"] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tasks.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert [name for name in TASKS if not any(f"{name}(" in block for block in blocks)] == []
    said = run("\n".join(blocks), tmp_path, ROOT, 560)
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

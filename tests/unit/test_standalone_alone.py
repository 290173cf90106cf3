"""Standalone functions work where the lake, the registry, our settings and what stands on them cannot even be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FORBIDDEN = (
    "lakefs",
    "mlflow",
    "schemas.settings",
    "tasks.datasets",
    "tasks.orchestration",
    "tasks.promotion",
    "tasks.registry",
    "tasks.versions",
)
PROGRAM = """
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(name == each or name.startswith(each + ".") for each in {forbidden!r}):
            raise ImportError(f"{{name}} is not to be had")


sys.meta_path.insert(0, Absent())
for name in {forbidden!r}:
    try:
        __import__(name)
    except ImportError as error:
        assert "not to be had" in str(error)
    else:
        raise SystemExit(f"{{name}} was imported")

from tests.unit.test_standalone_errors import CASES

for name, (call, rows, *_) in CASES.items():
    call(rows)
    print(name)
from tasks import standalone

standalone.measure_drift(*[rows.select("weight", "colour")] * 2, report="drift.html")
print(sorted(name for name in sys.modules if name.partition(".")[0] in {forbidden!r} or name in {forbidden!r}))
"""


def test_every_function_works_without_lake_registry_and_settings(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(forbidden=FORBIDDEN)],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *names, loaded = done.stdout.splitlines()
    assert len(names) == 13
    assert loaded == "[]"
    assert (tmp_path / "drift.html").stat().st_size > 1_000_000
    assert not (tmp_path / ".penstock").exists()

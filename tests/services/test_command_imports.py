"""Commands that only read load what they read and nothing else: which heavy libraries each imports is written down here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.prefect_server.in_process import KEPT, OURS, QUIET
from schemas.results import RowsToScore
from schemas.settings import Settings
from tasks.datasets import published as datasets
from tasks.inference import batch
from tasks.versions.factory import open_store
from tests import serving_cases
from tests.serving_kit import promote, publish, record

ROOT = Path(__file__).parents[2]
NAME = "tests.serving_cases:PARCELS"
HEAVY = (
    *("alembic", "apprise", "dask", "dulwich", "evidently", "fastapi", "lakefs", "mlflow", "optuna", "pandas", "pandera"),
    *("plotly", "prefect", "pyarrow", "scipy", "sklearn", "sqlalchemy", "uvicorn", "xgboost"),
)
HISTORY = {"dulwich"}  # of the embedded store
CONTRACT = {"pandera", "pandas", "pyarrow"}  # a use case's module declares with Pandera, which imports the others
LOADED = {
    "models flights": HISTORY,
    f"models {NAME}": HISTORY | CONTRACT,
    f"status {NAME}": HISTORY | CONTRACT,
    f"trace ID --use-case {NAME}": HISTORY | CONTRACT,
    f"report {NAME}": HISTORY | CONTRACT | {"plotly"},
    f"contract diff {NAME}": HISTORY | CONTRACT,
    "doctor": HISTORY | CONTRACT,
}
PROGRAM = f"""
import atexit, sys
atexit.register(lambda: print("LOADED", *(name for name in {HEAVY!r} if name in sys.modules)))
sys.argv[0] = "penstock"
from deployments.cli import main
main()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with a champion and predictions, and the id of one of them."""
    folder = tmp_path_factory.mktemp("read")
    settings = Settings(home=folder / "home")
    publish(settings, NAME, "parcels", serving_cases.rows(200), folder / "sources")
    promote(settings, record(settings, NAME, 12))
    data, log = datasets.data_at(settings.store_url("parcels"), None), settings.store_url("parcels-log")
    scores = batch.score_commit(NAME, data, RowsToScore(), settings.registry_url, log, "")
    assert scores.predictions
    assert scores.path
    stored = open_store(log).scan(scores.predictions.commit, [scores.path])
    return settings.root, str(stored.select("prediction_id").head(1).collect().item())


@pytest.mark.parametrize("command", LOADED)
def test_a_command_that_reads_loads_what_it_reads(home: tuple[Path, str], command: str, tmp_path: Path) -> None:
    root, prediction = home
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS) or name in KEPT}
    environment = {**kept, **QUIET, "PENSTOCK_HOME": str(root), "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    arguments = command.replace("ID", prediction).split()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert set(line.split()[1:]) == LOADED[command]

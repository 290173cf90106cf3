"""Every command and snippet of the tutorial and the Python page, run in order as written, but for ports and pip's index."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from deployments.prefect_server.in_process import KEPT, OURS, QUIET
from tests import documents
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)
# Installs from the folder at hand, without an index: all that it needs is there.
PIP = """#!/bin/sh
exec uv pip install --quiet --offline --no-deps --no-build-isolation --python "{python}" --target "{site}" .
"""
SAYS = {
    "python.md": [
        "2 published 51955 0",
        "promoted: log_loss",
        "3 done",
        "penstock_reason_3",
        "28834 scored",
        "published 28834",
        "refused: unknown use case 'fligths'",
        "ingest flights weather-2013-03.parquet | Completed | already done",
        "refused: 4",
    ],
    "tutorial.md": [
        "published (1600 of 1600 rows accepted",
        "champion",
        "already done",
        "refused, exit code 1",
        "ready:",
        "members-2024.csv",
        "written to scores.csv",
        "penstock_reason_1",
        "api-churn",
    ],
}


def script(text: str) -> str:
    """The page's blocks as one bash script that stops at the first failure and leaves no process behind."""
    found = BLOCK.findall(text)
    commands = [code if language == "bash" else f"python - <<'SNIPPET'\n{code}SNIPPET\n" for language, code in found]
    return re.sub(r"\b4200\b", str(free_port()), documents.script(commands))


@pytest.mark.system
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("page", SAYS)
def test_the_page_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    programs, site = tmp_path / "bin", tmp_path / "site"
    programs.mkdir()
    (programs / "pip").write_text(PIP.format(python=sys.executable, site=site))
    (programs / "pip").chmod(0o755)
    (tmp_path / "work").mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(OURS) or name in KEPT},
        **QUIET,
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": f"{ROOT}:{site}",
    }
    text = (ROOT / "docs" / page).read_text()
    documents.says(script(text), SAYS[page], tmp_path / "work", environment, 1480)

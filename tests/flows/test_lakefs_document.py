"""The document's commands, run as written but for the ports, the home and a Prefect server that is there already."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from tests import documents
from tests.ports import free_port
from tests.services.server import HOW, binary

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "lakefs.md"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_nothing_to_an_audited_publish(tmp_path: Path) -> None:
    lakefs = binary()
    if lakefs is None:
        pytest.skip(HOW)
    text = DOCUMENT.read_text().partition("## How a publish stays safe")[0]
    script = documents.script(documents.bash_blocks(text))
    for port in ("8000", "8008"):
        script = re.sub(rf"\b{port}\b", str(free_port()), script)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(Path(lakefs).parent), os.environ["PATH"]])
    environment = {
        "PATH": path,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PENSTOCK_DEPLOYMENT": "document",  # other tests deploy to the same server
    }
    expected = (
        "missing lakefs://flights repository",
        "made    lakefs://flights hook",
        "ok    lakefs://flights hook: is installed",
        "published (",
        "already done",
        "refused, exit code 1",
        "left for inspection on branch ingest/",
        "pre-merge hook aborted",
        "shape: (3, 2)",
        "retracted (",
        "the gauge was broken",
        "would remove ingest/",
        "removed ingest/",
    )
    documents.says(script, expected, tmp_path, environment, 880)

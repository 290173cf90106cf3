"""The document's commands, run as written but for the ports, the home and a Prefect server that is there already."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from tests.services.server import HOW, binary

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "lakefs.md"


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_nothing_to_an_audited_publish(tmp_path: Path) -> None:
    lakefs = binary()
    if lakefs is None:
        pytest.skip(HOW)
    text = DOCUMENT.read_text().partition("## How a publish stays safe")[0]
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    script = "\n".join(["set -em", "trap 'kill $(jobs -p) 2>/dev/null' EXIT", *blocks])
    for port in ("8000", "8008"):
        script = re.sub(rf"\b{port}\b", free_port(), script)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(Path(lakefs).parent), os.environ["PATH"]])
    environment = {
        "PATH": path,
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
    }
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=880)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for expected in (
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
    ):
        assert expected in said, f"{expected!r} is not in:\n{said}"

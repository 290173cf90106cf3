"""The document's commands, run as written but for the port and the home, which is a smaller one than the demo's."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving_kit import ROOT, Home


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_from_a_champion_to_an_answer_and_back_to_its_files(template: Home, tmp_path: Path) -> None:
    template.copy(tmp_path / "penstock-demo")
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "serving.md").read_text(), re.DOTALL)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    script = "\n".join(["set -em", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", *blocks]).replace("8000", port)
    commands = Path(sys.executable).parent
    environment = {"PATH": f"{commands}:{os.environ['PATH']}", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for expected in (
        '"category":',
        '"sentence": "\'',
        "penstock-demo/serving/flights/token (only you can read it)",
        "recorded in ",
        "let through: a test wants it",
        "rows, ",
        "flights: published by v1",
        "1 rows = 1 accepted + 0 rejected",
    ):
        assert expected in said, f"{expected!r} is not in:\n{said}"

"""The document's commands, run as written but for the port and the home, which is a smaller one than the demo's."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests import documents
from tests.ports import free_port
from tests.serving_kit import ROOT, Home


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_from_a_champion_to_an_answer_and_back_to_its_files(template: Home, tmp_path: Path) -> None:
    template.copy(tmp_path / "penstock-demo")
    text = (ROOT / "docs" / "serving.md").read_text()
    script = documents.script(documents.bash_blocks(text)).replace("8000", str(free_port()))
    commands = Path(sys.executable).parent
    environment = {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PENSTOCK_SERVER": "ephemeral",
    }
    expected = (
        '"category":',
        '"sentence": "\'',
        "penstock-demo/serving/flights/token (only you can read it)",
        "recorded in ",
        "let through: a test wants it",
        "rows, ",
        "flights: published by v1",
        "1 rows = 1 accepted + 0 rejected",
    )
    documents.says(script, expected, tmp_path, environment, 400)

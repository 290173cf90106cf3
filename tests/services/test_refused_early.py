"""What a command can refuse at once is said in one line before a server is started or a folder is made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REFUSED = [
    (("train", "nosuch"), 2, "unknown use case 'nosuch'"),
    (("lifecycle", "nosuch", "x.csv"), 2, "unknown use case 'nosuch'"),
    (("ingest", "flights", "gone.csv", "--input", "flights"), 2, "cannot read 'gone.csv': no such file in "),
    (("lifecycle", "flights", "gone.csv"), 2, "say which one gone.csv delivers"),
    (("ingest", "flights", "x.csv", "--input", "nosuch"), 2, "nosuch"),
    (("score", "flights"), 1, "flights: nothing was ingested yet"),
    (("monitor", "flights"), 1, "ingest a file first (penstock ingest flights FILE)"),
    (("promote", "flights", "3"), 1, "flights: nothing was ingested yet"),
    (("rollback", "flights", "--reason", "a"), 1, "flights: nothing was ingested yet"),
    (("retract", "nosuch", "x.csv", "--reason", "a wrong file"), 2, "unknown use case 'nosuch'"),
    (("backfill", "nosuch", "--from", "2013-01", "--to", "2013-02"), 2, "unknown use case 'nosuch'"),
]


@pytest.mark.parametrize(("arguments", "code", "sentence"), REFUSED)
def test_what_can_be_told_at_once_starts_nothing(
    tmp_path: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PENSTOCK_"))}
    command = [sys.executable, "-c", "from deployments.cli import main; main()", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []

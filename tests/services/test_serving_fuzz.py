"""The server against its own description: schemathesis asks what it describes, and a great deal that it does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.test_serving_cases import made
from tests.serving_kit import TOKEN, Running, serving

EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "60")  # 1,000 an operation in the benchmark


def fuzz(server: Running, folder: Path, config: str) -> subprocess.CompletedProcess[str]:
    (folder / "schemathesis.toml").write_text(config)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(folder / "schemathesis.toml"), "run",
        f"{server.url}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}", "--checks", "all",
        "--max-examples", EXAMPLES, "--continue-on-failure", "--seed", "2013",
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


# A row that fits the schema may still be refused for what JSON Schema cannot say: a rule over several columns, or that an
# integer is written in digits (1, not 1.0), as in files.
SAYABLE = '[checks.positive_data_acceptance]\nexpected-statuses = ["2xx", "422"]\n'


def test_flights_keep_their_description(server: Running, tmp_path: Path) -> None:
    done = fuzz(server, tmp_path, SAYABLE)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "No issues found" in done.stdout
    assert server.client.get("/healthz").status_code == 200


@pytest.mark.slow
def test_a_contract_of_every_type_keeps_its_description(tmp_path: Path) -> None:
    settings = made(tmp_path, "PARCELS")
    with serving(settings, "tests.serving_cases:PARCELS") as server:
        done = fuzz(server, tmp_path, SAYABLE)
        assert done.returncode == 0, done.stdout[-5000:]
        assert server.client.get("/readyz").status_code == 200

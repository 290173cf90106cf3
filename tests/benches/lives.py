"""The flights' year by weeks, through the loop three times: undisturbed, with planted faults, and with files that come late.

    python -m tests.benches.lives                         March to December
    python -m tests.benches.lives 2013-03-01 2013-07-01   a part of it

With faults (two corrupt files and one with a changed schema before the good ones, a file twice, the same rows exported
again, labels doubled and shuffled, three kills) all is to end the same: published rows, the champion's bytes, predictions.
With a file and labels that come a week after their decision: published rows and realized metrics. In neither may champion
or watermark go back.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from deployments.prefect_server.in_process import clear_user_settings, in_process, prepare
from schemas.settings import Settings

SPAN = ["2013-03-01", "2014-01-01"]


def main() -> None:
    """In a process of its own: the environment says where Prefect's home is."""
    subprocess.run([sys.executable, "-m", "tests.benches.lives", *sys.argv[1:]], check=True)


def lives() -> None:
    """Three lives, compared."""
    days = [argument for argument in sys.argv[1:] if argument[:1].isdigit()] or SPAN
    since, until = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days)
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        clear_user_settings()
        prepare(Settings(home=Path(folder)), isolated=True)
        from prefect.testing.utilities import prefect_test_harness

        from tests.benches._lives import compared

        with prefect_test_harness(server_startup_timeout=120), in_process():
            compared(Path(folder), (since, until))


if __name__ == "__main__":
    lives()

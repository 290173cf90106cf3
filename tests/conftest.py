"""What every test stands on: a quiet environment that is nobody's, and settings rooted in the test's own folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.prefect_server.in_process import OURS, QUIET

for name in [n for n in os.environ if n.startswith(OURS)]:
    del os.environ[name]
os.environ.update(QUIET)
os.environ["PENSTOCK_SERVER"] = "ephemeral"  # what a test starts ends with it; test_local_server.py is about the other way


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[object]:
    """Settings in force whose home is the test's own folder."""
    from schemas.settings import Settings

    with Settings(home=tmp_path / "home").active() as active:
        yield active


@pytest.fixture
def sink() -> Iterator[object]:
    """A web server that alerts are sent to."""
    from tests.alert_kit import Sink

    made = Sink()
    yield made
    made.close()

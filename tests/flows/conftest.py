"""Flows run against a real Prefect server: one a test process, in a folder of its own."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def prefect_server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    from deployments.prefect_server.in_process import in_process

    # It takes 20 s of processor time to start, minutes where many share the machine; where it fails, all tests do.
    with prefect_test_harness(server_startup_timeout=240), in_process():
        yield

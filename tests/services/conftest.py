from __future__ import annotations

from collections.abc import Iterator

import pytest
import stamina

from tasks.versions.lakefs_client import ATTEMPTS
from tasks.versions.lakefs_store import LakeFSStore
from tests.faults.proxy import FaultProxy
from tests.services.server import Server, server


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Retries come at once; there are as many as ever."""
    with stamina.set_testing(True, attempts=ATTEMPTS):
        yield


@pytest.fixture
def lake() -> Server:
    """This process's lakeFS server."""
    return server()


@pytest.fixture
def store(lake: Server) -> LakeFSStore:
    """A repository of the test's own."""
    made = lake.store()
    made.create()
    return made


@pytest.fixture
def proxy(lake: Server) -> Iterator[FaultProxy]:
    """A way to the server that can be spoilt."""
    with FaultProxy(lake.url) as between:
        yield between


@pytest.fixture
def spoilt(lake: Server, store: LakeFSStore, proxy: FaultProxy) -> LakeFSStore:
    """The test's repository through the proxy."""
    return lake.store(store.place.repository, url=proxy.url)

"""A lakeFS server a process; a home made once, and one prediction server that all tests of a module ask."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import stamina
from playwright.sync_api import Browser, Error, sync_playwright

from tasks.versions.lakefs.client import ATTEMPTS
from tasks.versions.lakefs.store import LakeFSStore
from tests.faults.proxy import FaultProxy
from tests.services.server import Server
from tests.services.server import server as lake_server
from tests.serving_kit import Home, Running, serving, shared_home


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Retries come at once; there are as many as ever."""
    with stamina.set_testing(True, attempts=ATTEMPTS):
        yield


@pytest.fixture
def lake() -> Server:
    """This process's lakeFS server."""
    return lake_server()


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


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return shared_home(tmp_path_factory)


@pytest.fixture(scope="module")
def home(template: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return template.copy(tmp_path_factory.mktemp("serving") / "home")


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Running]:
    with serving(home.settings) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser; skipped where there is none."""
    with sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        except Error as missing:
            pytest.skip(f"no browser is installed here: playwright install chromium ({missing.message.splitlines()[0]})")
        yield found
        found.close()

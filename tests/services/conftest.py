"""A home made once, and one server that all tests of a module ask."""

from collections.abc import Iterator

import pytest

from tests.serving_kit import Home, Running, serving, shared_home


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

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.versions.protocol import VersionStore
from tests.contract.stores import STORES


@pytest.fixture(params=sorted(STORES))
def uncreated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VersionStore]:
    with STORES[request.param](tmp_path) as store:
        yield store


@pytest.fixture
def store(uncreated: VersionStore) -> VersionStore:
    uncreated.create()
    return uncreated

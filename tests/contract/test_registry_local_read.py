"""A local registry's files say the same as MLflow does, and MLflow is asked where they cannot be read."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schemas.errors import NotFound
from tasks.registry.mlflow import local_read
from tasks.registry.mlflow.local_read import NotRead
from tasks.registry.mlflow.reads import RegistryReads
from tasks.registry.mlflow.registry import MlflowRegistry
from tasks.registry.tags import ANCHOR
from tests.registry_kit import candidate, verdict

NAME = "flights"
PROGRAM = """
import sys
from tasks.registry.factory import open_registry
registry = open_registry(sys.argv[1])
champion = registry.champion("flights")
print(len(registry.versions("flights")), registry.document(champion, "manifest") != {}, "mlflow" in sys.modules)
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> MlflowRegistry:
    """Three versions, the second of which is the champion; a fourth was deleted by hand."""
    made = MlflowRegistry(f"sqlite:///{tmp_path_factory.mktemp('a home & more')}/mlflow.db")
    refs = [made.record(candidate(NAME, number, metrics={"auc": 0.5 + number / 10})) for number in (1, 2, 3, 4)]
    assert made.promote(refs[1], verdict(champion=None, interval=None), expected=None)
    made._store.set_alias(NAME, "challenger", 3)
    made.anchor(NAME, "as it was")
    made._store.call("delete", lambda client: client.delete_model_version(NAME, "4"))
    return made


@pytest.fixture
def database(registry: MlflowRegistry) -> Path:
    assert registry._at.database
    return registry._at.database


@pytest.fixture
def unknown(database: Path) -> Iterator[None]:
    """The registry, as if another release of MLflow had made it."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'another'")
    yield
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (local_read.SCHEMA,))


def shown(entry: object) -> tuple[object, ...]:
    names = ("name", "source", "run_id", "tags")
    return int(entry.version), *(getattr(entry, name) for name in names)  # type: ignore[attr-defined]


def test_the_files_say_what_mlflow_says(registry: MlflowRegistry, database: Path) -> None:
    mlflow = registry._store
    assert [shown(each) for each in local_read.entries(database, NAME)] == [shown(each) for each in mlflow.search(NAME)]
    assert [each.version for each in local_read.entries(database, NAME)] == ["1", "2", "3"]
    [entry] = local_read.entries(database, NAME, 2)
    assert shown(entry) == shown(mlflow.entry(NAME, 2))
    assert local_read.aliases(database, NAME) == mlflow.aliases(NAME) == {"champion": 2, "challenger": 3}
    assert local_read.model_tag(database, NAME, ANCHOR) == mlflow.model_tag(NAME, ANCHOR) == "as it was"
    assert local_read.artifact(entry.source, "model.ubj") == mlflow.read(entry.source, "model.ubj")


def test_what_is_not_there_is_what_mlflow_says(registry: MlflowRegistry, database: Path) -> None:
    reads = registry._reads
    assert local_read.entries(database, NAME, 4) == local_read.entries(database, "weather") == []
    assert reads.aliases("weather") == {}
    assert reads.model_tag("weather", ANCHOR) == ""
    with pytest.raises(NotFound, match=f"{NAME} 4"):
        reads.entry(NAME, 4)
    [entry] = local_read.entries(database, NAME, 2)
    with pytest.raises(NotFound):
        reads.read(entry.source, "nothing")
    with pytest.raises(NotRead):
        local_read.artifact(entry.source, "../../../../mlflow.db")


def test_mlflow_is_not_imported_to_read(registry: MlflowRegistry) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, registry.url],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["3", "True", "False"]


@pytest.mark.usefixtures("unknown")
def test_a_schema_that_nobody_has_looked_at_is_mlflows_to_read(registry: MlflowRegistry, database: Path) -> None:
    for read in (local_read.entries, local_read.aliases):
        with pytest.raises(NotRead, match="another schema"):
            read(database, NAME)
    asked = []

    def store() -> object:
        asked.append(1)
        return registry._store

    reads = RegistryReads(registry._at, store)  # type: ignore[arg-type]
    assert [int(each.version) for each in reads.search(NAME)] == [1, 2, 3]
    assert asked == [1]

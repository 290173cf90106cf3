"""What is registered in a local registry, read from its SQLite file and its folder: the import of MLflow takes seconds.

Only the schema that was looked at is read so; any other, and all that goes wrong, is MLflow's to answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

SCHEMA = "dc11669786a5"  # alembic's revision of MLflow 3.17
WORKSPACE = "default"  # of MLflow's own: there is one where no server has more
DELETED = "Deleted_Internal"  # stage of a version that MLflow deleted
PATIENCE = 15.0  # s that a reader waits for a writer's lock


class NotRead(Exception):
    """MLflow has to be asked."""


@dataclass(frozen=True)
class LocalEntry:
    """A version, by the names that MLflow's entity gives to its parts."""

    name: str
    version: str
    source: str
    run_id: str
    tags: dict[str, str] = field(default_factory=dict)


def entries(database: Path, name: str, version: int | None = None) -> list[LocalEntry]:
    """Versions of a model, oldest first; one of them where it is named. Raises NotRead."""
    of_one = "" if version is None else " AND version = :version"
    which = {"name": name, "workspace": WORKSPACE, "deleted": DELETED, "version": version}
    with _opened(database) as connection:
        tags: dict[int, dict[str, str]] = {}
        for number, key, value in connection.execute(
            f"SELECT version, key, value FROM model_version_tags WHERE workspace = :workspace AND name = :name{of_one}",
            which,
        ):
            tags.setdefault(number, {})[key] = value
        rows = connection.execute(
            "SELECT version, source, run_id FROM model_versions WHERE workspace = :workspace AND name = :name"
            f" AND current_stage != :deleted{of_one} ORDER BY version",
            which,
        )
        return [LocalEntry(name, str(number), source, run_id, tags.get(number, {})) for number, source, run_id in rows]


def entry(database: Path, name: str, version: int) -> LocalEntry:
    """One version. Raises NotRead, also where it is not there."""
    for each in entries(database, name, version):
        return each
    raise NotRead(f"{database} has no {name} {version}")


def aliases(database: Path, name: str) -> dict[str, int]:
    """Aliases of a model and the versions they name. Raises NotRead."""
    with _opened(database) as connection:
        asked = "SELECT alias, version FROM registered_model_aliases WHERE workspace = ? AND name = ?"
        return {alias: int(version) for alias, version in connection.execute(asked, (WORKSPACE, name))}


def model_tag(database: Path, name: str, key: str) -> str:
    """A tag of the model itself; '' where there is none. Raises NotRead."""
    with _opened(database) as connection:
        asked = "SELECT value FROM registered_model_tags WHERE workspace = ? AND name = ? AND key = ?"
        found = connection.execute(asked, (WORKSPACE, name, key)).fetchone()
        return str(found[0]) if found else ""


def artifact(source: str, path: str) -> bytes:
    """One file of an artifact folder. Raises NotRead, also where it is not there."""
    parts = urlsplit(source)
    folder = Path(unquote(parts.path) if parts.scheme == "file" else source)
    try:
        if not folder.is_absolute() or not (file := (folder / path).resolve()).is_relative_to(folder.resolve()):
            raise NotRead(source)
        return file.read_bytes()
    except OSError as error:
        raise NotRead(str(error)) from error


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """The database, for reading alone and at one moment, if its schema is known."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
            connection.execute("BEGIN")
            if connection.execute("SELECT version_num FROM alembic_version").fetchall() != [(SCHEMA,)]:
                raise NotRead(f"{database} has another schema")
            yield connection
    except sqlite3.Error as error:
        raise NotRead(str(error)) from error

"""A local registry's database: made whole or not at all, and no other file taken for one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from schemas.errors import UsageError
from tasks.registry.location import SETTING, Location

ANYWHERE = "/penstock-artifacts"  # stands for a registry's folder of artifacts


def make_database(at: Location, database: Path) -> None:
    """Make a local registry's database, whole or not at all: MLflow cannot go on with one whose making was cut off."""
    at.locks.mkdir(parents=True, exist_ok=True)
    with FileLock(at.locks / "database.lock"):
        if at.exists:
            return
        for cut_off in database.parent.glob(".draft-*"):
            shutil.rmtree(cut_off)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=database.parent)) / database.name
        _write_empty(draft, str(at.artifacts))
        os.replace(draft, database)
        draft.parent.rmdir()


def refuse_others(url: str, database: Path) -> None:
    """Raise UsageError for a file that is no database; MLflow would try to open it for minutes."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as opened:
            opened.execute("SELECT version_num FROM alembic_version")
    except sqlite3.Error as error:
        raise UsageError(
            f"cannot open the registry {url}: {error}; it must be a database that MLflow made ({SETTING})"
        ) from error


def _write_empty(draft: Path, artifacts: str) -> None:
    """Write a database without runs or models, whose default experiment lies in the folder of artifacts."""
    draft.write_bytes(_migrated())
    with closing(sqlite3.connect(draft)) as file, file:
        now = int(time.time() * 1000)
        moved = "artifact_location = replace(artifact_location, ?, ?), creation_time = ?, last_update_time = ?"
        file.execute(f"UPDATE experiments SET {moved}", (ANYWHERE, artifacts, now, now))


@cache
def _migrated() -> bytes:
    """A database after MLflow's migrations, which take seconds: run once a process, in memory, with no disk to wait for."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore("sqlite:///:memory:", ANYWHERE)  # type: ignore[no-untyped-call]
    try:
        memory: Any = store.engine.raw_connection().driver_connection
        return bytes(memory.serialize())
    finally:
        store.engine.dispose()

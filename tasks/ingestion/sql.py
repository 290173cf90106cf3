"""A SQL query as a source: the rows it gives become a file, and a source like any other.

The query is a file that names where to ask, in its first lines, by an environment variable that holds a SQLAlchemy URL:

    -- connection: WAREHOUSE_URL
    select * from sales where day >= '2024-01-01' order by id, day

So that no password is in a command line, a run's name or a repository. The rows are written as text, in the order in which
they come: with `order by`, the same rows make the same file, which is published once.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from schemas.errors import PenstockError, ServiceUnavailable, UsageError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

BATCH = 50_000  # rows
CONNECTION = re.compile(r"\s*--\s*connection\s*:\s*(?P<name>.*?)\s*", re.IGNORECASE)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_query(source: str) -> bool:
    """Whether a source is a file with a query."""
    return source.lower().endswith(".sql")


def queried(path: Path, folder: Path) -> Path:
    """Run a file's query and write its rows, batch by batch, as a CSV file in `folder`.

    Nothing that the query changes is kept. Raises UsageError for a file or query that cannot be run, ServiceUnavailable
    where the database does not answer.
    """
    try:
        query = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the query {str(path)!r}: {error}") from None
    url = _url(query, path)
    rows_file = folder / f"{path.name}.csv"
    with _connected(url, path) as connection, rows_file.open("wb") as file:
        for number, batch in enumerate(_batches(query, connection)):
            _as_text(batch, path).write_csv(file, include_header=not number)
    return rows_file


def _url(query: str, path: Path) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    names = [match["name"] for line in _head(query) if (match := CONNECTION.fullmatch(line))]
    if len(names) != 1 or not VARIABLE.fullmatch(names[0]):
        raise UsageError(
            f"{path.name!r} has to name its database: begin it with a line `-- connection: VARIABLE`, an environment "
            "variable that holds a SQLAlchemy URL; the URL itself stays out of the file"
        )
    value = os.environ.get(names[0], "")
    try:
        return make_url(value)
    except (ArgumentError, ValueError):  # a port that is no number
        what = "is no SQLAlchemy URL, such as postgresql+psycopg2://user:password@host/database" if value else "is not set"
        raise UsageError(f"{path.name!r} asks the database of the environment variable {names[0]}, which {what}") from None


def _head(query: str) -> Iterator[str]:
    """The comment lines before the query."""
    for line in query.splitlines():
        if line.strip() and not line.lstrip().startswith("--"):
            return
        yield line


@contextmanager
def _connected(url: URL, path: Path) -> Iterator[Connection]:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

    try:
        engine = create_engine(url, connect_args=_connect_args(url))
    except (NoSuchModuleError, ImportError) as error:
        raise UsageError(f"cannot ask {url.drivername!r} for {path.name!r}: {error}; install its driver") from None
    try:
        connection = engine.connect()
    except SQLAlchemyError as error:
        raise ServiceUnavailable(f"the database of {path.name!r} does not answer: {_said(error, url)}") from None
    try:
        if url.get_backend_name() == "sqlite":  # it begins no transaction before DDL, nor before WITH ... INSERT
            connection.exec_driver_sql("PRAGMA query_only = ON")
        yield connection.execution_options(stream_results=True, max_row_buffer=BATCH)
    except PenstockError:
        raise
    except AttributeError:  # polars, of a statement without a result
        raise UsageError(f"the query {path.name!r} gives no rows: it has to select them") from None
    except (SQLAlchemyError, pl.exceptions.PolarsError, ValueError, TypeError) as error:
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        raise (ServiceUnavailable if lost else UsageError)(f"the query {path.name!r} failed: {_said(error, url)}") from None
    finally:
        connection.close()
        engine.dispose()


def _connect_args(url: URL) -> dict[str, Any]:
    """DuckDB opens a file for itself alone, and makes it where it is missing, unless it is only read."""
    is_file = url.get_backend_name() == "duckdb" and url.database not in (None, "", ":memory:")
    return {"read_only": True} if is_file else {}


def _said(error: Exception, url: URL) -> str:
    """What the database says, in one line and without our password."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    password = str(url.password or "")
    return (said[0].replace(password, "***") if password else said[0])[:300]


def _batches(query: str, connection: Connection) -> Iterator[pl.DataFrame]:
    """The rows as polars reads them; of none, a frame of the columns."""
    several: Any = {"iter_batches": True, "batch_size": BATCH, "infer_schema_length": None}
    any_rows = False
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Arrow output on a DB-API result")  # DuckDB's, of how polars asks it
        for batch in pl.read_database(query, connection, **several):
            any_rows = True
            yield batch
        if not any_rows:
            yield pl.read_database(query, connection).clear()


def _as_text(batch: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The batch with its times in ISO 8601. Raises UsageError for a column that has no text of its own."""
    texts = []
    for name, dtype in batch.schema.items():
        if isinstance(dtype, (pl.Binary, pl.List, pl.Array, pl.Struct, pl.Object, pl.Duration)):
            raise UsageError(f"the query {path.name!r} gives {name!r} as {dtype}: make it text or a number, or leave it out")
        if isinstance(dtype, pl.Datetime):
            moment = pl.col(name).dt.convert_time_zone("UTC") if dtype.time_zone else pl.col(name)
            texts.append(moment.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f" + ("Z" if dtype.time_zone else "")))
    return batch.with_columns(texts)

"""The hook's application, served as it is in production, and writers on both sides of it."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import polars as pl
import uvicorn
from fastapi import FastAPI

from schemas.settings import Settings
from schemas.usecases.flights import Labels
from tasks.versions.lakefs.store import LakeFSStore
from tests.services.server import HOOK_TOKEN

KEY = "a signing key for tests"
JANUARY, FEBRUARY = datetime(2013, 1, 15, tzinfo=UTC), datetime(2013, 2, 15, tzinfo=UTC)


def hook_settings(lake_url: str, **told: object) -> Settings:
    """Settings of the hook, and of writers that seal."""
    return Settings(**{"lake_url": lake_url, "lake_signing_key": KEY, "lake_hook_token": HOOK_TOKEN, **told})  # type: ignore[arg-type]


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """An application on a free loopback port; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def labels(first: int = 1, rows: int = 20, when: datetime = JANUARY) -> pl.DataFrame:
    """Labels that keep the contract, of flights numbered from `first`."""
    frame = pl.DataFrame({"flight": range(first, first + rows)})
    known = pl.lit(when + timedelta(days=1)).cast(pl.Datetime("us", "UTC"))
    columns = {
        "time_hour": pl.lit(when).cast(pl.Datetime("us", "UTC")),
        "carrier": pl.lit("UA"),
        "outcome": pl.lit("arrived"),
        "arr_delay": pl.col("flight").cast(pl.Float64),
        "labelled_at": known,
    }
    return frame.with_columns(**columns).select(*Labels.dtypes())


def parquet(frame: pl.DataFrame) -> bytes:
    """A frame as bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def put(store: LakeFSStore, branch: str, *contents: bytes, place: str = "labels/2013-01") -> str:
    """Commit files under data/ on a new branch, named by their content. Returns the commit."""
    store.branch(branch)
    for content in contents:
        store.upload(branch, f"data/{place}/{hashlib.sha256(content).hexdigest()}.parquet", content)
    return store.commit(branch, f"fill {branch}", {}).id


# Brings three files to one partition, checking anew whenever another writer was faster.
WRITER = """
import sys
from schemas.errors import StaleCheck
from schemas.refs import Guard
from tasks.versions import open_store
from tests.services.hook import labels, parquet, put
store, me = open_store(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
input()
for number in range(3):
    branch = f"ingest/{me}-{number}"
    put(store, branch, parquet(labels(1 + 100 * (3 * me + number))))
    for attempt in range(1000):
        checked = store.head()
        try:
            metadata = {"source": branch, "contract_version": "1"}
            store.merge(branch, "main", "publish", metadata, guard=Guard(commit=checked, prefixes=("data/labels/2013-01/",)))
            break
        except StaleCheck:
            pass
"""

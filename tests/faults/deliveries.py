"""Whole deliveries in children: a small use case, and the steps of an ingest as the flow takes them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import polars as pl

from schemas.contract import Contract, column
from schemas.errors import StaleCheck
from schemas.usecase import Input, Target, UseCase
from tasks import flow_tasks
from tasks.datasets import published
from tasks.parsing.parse import Limits, fingerprint
from tasks.versions.factory import open_store
from tasks.versions.protocol import MAIN, VersionStore


class Visit(Contract):
    id: int = column(ge=0)
    at: Annotated[pl.Datetime, "us", "UTC"] = column()

    class Config:
        unique = ["id", "at"]


MONTH = pl.col("at").dt.strftime("%Y-%m")
VISITS = UseCase(
    name="visits",
    question="How many?",
    inputs=(Input(name="visits", contract=Visit, time="at", partition=MONTH, max_rejected_share=1.0),),
    rows="visits",
    target=Target(kind="regression", name="id", value=pl.col("id")),
    features={},
)
HERE = "tests.faults.deliveries:VISITS"
LIMITS = Limits(memory_mb=768, seconds=60)
SCRIPT = """
import sys
from tasks.flow_tasks import ingest  # what a delivery imports when it begins
from tests.faults.deliveries import deliver
url, start, *paths = sys.argv[1:]
if start == "wait":
    print("ready", flush=True)
    sys.stdin.readline()
for path in paths:
    print(deliver(url, path))
"""


def deliver(store_url: str, path: str) -> str:
    """Ingest one file. Returns what the flow would say."""
    source = fingerprint(Path(path))
    if done := flow_tasks.already_published.fn(store_url, "visits", source.sha256):
        flow_tasks.delete_published_branch.fn(store_url, done.id)
        return "already done"
    for _ in range(10):
        try:
            staged = flow_tasks.audit_on_branch.fn(HERE, "visits", source, store_url, "run", LIMITS)
            flow_tasks.delete_published_branch.fn(
                store_url, flow_tasks.publish.fn(HERE, "visits", source, staged, store_url).id
            )
            return "published"
        except StaleCheck:
            continue
    raise AssertionError("main never stood still")


def write(path: Path, ids: range, month: int = 1) -> Path:
    """A file of visits, one id an hour."""
    hours = [datetime(2013, month, 1 + number // 24, number % 24, tzinfo=UTC) for number in ids]
    path.parent.mkdir(exist_ok=True)
    pl.DataFrame({"id": ids, "at": hours}).write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    return path


def main_rows(store: VersionStore) -> list[int]:
    """The ids on main, sorted."""
    frame = store.scan(MAIN, published.data_paths(store, MAIN, "visits"), Visit.dtypes())
    return sorted(frame.select("id").collect()["id"].to_list())


def publishes(store_url: str) -> list[str]:
    """The names of the published sources, oldest first."""
    log = [c.metadata["source_name"] for c in open_store(store_url).log(first_parent=True) if c.metadata.get("kind")]
    return log[::-1]

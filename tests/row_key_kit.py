"""Use cases whose rows nothing tells apart: with and without event times, and what a shop's export of them looks like."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl

from schemas.contract import Contract, column
from schemas.errors import StaleCheck
from schemas.row_key import value_columns
from schemas.usecase import GatePolicy, Input, Split, Target, Training, UseCase, resolve
from tasks import flow_tasks
from tasks.datasets import published
from tasks.parsing.parse import Limits, fingerprint
from tasks.versions.factory import open_store
from tasks.versions.protocol import MAIN


class Sale(Contract):
    at: Annotated[pl.Datetime, "us", "UTC"] = column()
    item: str = column()
    price: float = column(nullable=True, ge=0)
    pieces: int = column(ge=1)
    returned: bool = column(known="outcome", nullable=True)


class Coloured(Sale):
    colour: str = column(nullable=True)


class Timeless(Contract):
    item: str = column()
    price: float = column(nullable=True, ge=0)
    pieces: int = column(ge=1)
    returned: bool = column(known="outcome", nullable=True)


DAY = pl.col("at").dt.strftime("%Y-%m-%d")
SALES = UseCase(
    name="sales",
    question="Will it come back?",
    inputs=(Input(name="sales", contract=Sale, key="row", time="at", partition=DAY, max_rejected_share=0.5),),
    rows="sales",
    target=Target(kind="binary", name="returned", value=pl.col("returned"), classes=("kept", "returned")),
    features={
        "item": pl.col("item").cast(pl.Enum(["coat", "hat", "shoe"])),
        "price": pl.col("price"),
        "pieces": pl.col("pieces"),
    },
    split=Split(holdout_days=5, stopping_days=4),
    training=Training(params={"max_depth": 3, "learning_rate": 0.2}, rounds=60),
    gate=GatePolicy(min_rows=50, min_slice_rows=50),
)
TIMELESS = replace(
    SALES, name="timeless", inputs=(Input(name="sales", contract=Timeless, key="row", max_rejected_share=0.5),)
)
GROWING = replace(SALES, name="growing", inputs=(replace(SALES.inputs[0], on_redelivery="append"),))
COLOURED = replace(SALES, name="coloured", inputs=(replace(SALES.inputs[0], contract=Coloured),))
HERE = "tests.row_key_kit"
LIMITS = Limits(memory_mb=768, seconds=60)
SCRIPT = f"""
import sys
from tasks.flow_tasks import ingest  # what a delivery imports when it begins
from {HERE} import deliver
print(deliver(*sys.argv[1:]))
"""


def named(case: UseCase) -> str:
    """Where a use case lies, as module:NAME."""
    return f"{HERE}:{case.name.upper()}"


def deliver(use_case: str, store_url: str, path: str) -> str:
    """Ingest one file. Returns what the flow would say, and how many rows were delivered before."""
    source = fingerprint(Path(path))
    if done := flow_tasks.already_published.fn(store_url, "sales", source.sha256):
        flow_tasks.delete_published_branch.fn(store_url, done.id)
        return "already done"
    for _ in range(10):
        try:
            staged = flow_tasks.audit_on_branch.fn(use_case, "sales", source, store_url, "run", LIMITS)
            commit = flow_tasks.publish.fn(use_case, "sales", source, staged, store_url)
        except StaleCheck:
            continue
        flow_tasks.delete_published_branch.fn(store_url, commit.id)
        return f"published, {staged.verdict.redelivered} before, {staged.verdict.rejected} rejected"
    raise AssertionError("main never stood still")


def on_main(store_url: str, use_case: str = f"{HERE}:SALES") -> pl.DataFrame:
    """The rows on main."""
    spec, store = resolve(use_case).input("sales"), open_store(store_url)
    return store.scan(MAIN, published.data_paths(store, MAIN, "sales"), spec.contract.dtypes()).collect()


def counted(frame: pl.DataFrame) -> Counter[Any]:
    """How often each row occurs, by what was known at the prediction and the outcome."""
    names = sorted(set(frame.columns) & {*value_columns(Sale), "returned"})
    return Counter(frame.select(names).rows())


def sales(rows: int, *, seed: int = 7, days: int = 1, start: int = 0, hours: int = 4) -> pl.DataFrame:
    """Sales of few items at few prices, one an hour, so that many rows are equal to another in every column."""
    rng = np.random.default_rng(seed)
    at = rng.integers(0, hours, rows) + 24 * (start + rng.integers(0, days, rows))
    item, price = rng.choice(["coat", "hat", "shoe"], rows), rng.choice([9.5, 20.0, 0.1, 35.25], rows)
    pieces = rng.integers(1, 4, rows)
    odds = np.where((item == "shoe") == (price > 15), 0.95, 0.05)  # no line says it, so a tree beats the baseline
    frame = pl.DataFrame(
        {
            "at": [datetime(2024, 3, 1, tzinfo=UTC) + timedelta(hours=int(hour)) for hour in at],
            "item": item.tolist(),
            "price": [None if gap else value for gap, value in zip(rng.random(rows) < 0.1, price.tolist(), strict=True)],
            "pieces": pieces,
            "returned": rng.random(rows) < odds,
        }
    )
    return frame.sort("at", maintain_order=True)


def save(frame: pl.DataFrame, path: Path) -> Path:
    """A file of sales, CSV or Parquet by its name."""
    path.parent.mkdir(exist_ok=True, parents=True)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    return path

"""The orders of `modelling_kit` as use cases that flows can name, delivered day by day."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl

from flows.ingest import ingest
from schemas.usecase import MonitorPolicy, UseCase
from tests.modelling_kit import START, case, tables

ORDERS = case("binary", rule="non_inferiority", margin=0.2)
ASKED = replace(ORDERS, name="asked", gate=replace(ORDERS.gate, approval=timedelta(minutes=3)))
UNHEARD = replace(ASKED, name="unheard", gate=replace(ORDERS.gate, approval=timedelta(seconds=2)))
TWINS = replace(ORDERS, name="twins", inputs=(*ORDERS.inputs, replace(ORDERS.input("orders"), name="archive")))
RESTLESS = replace(ORDERS, name="restless", monitor=MonitorPolicy(max_age_days=9, cooldown_days=3, loss_tolerance=1.0))


def named(use_case: UseCase) -> str:
    """What a flow takes for it."""
    return f"tests.orders_kit:{use_case.name.upper()}"


def of_days(first: int, last: int) -> dict[str, pl.DataFrame]:
    """Prices, orders and outcomes of some days, counted from 0, the last one excluded."""
    orders, prices, outcomes = tables()
    low, high = START + timedelta(days=first), START + timedelta(days=last)
    inside = pl.col("at").is_between(low, high, closed="left")
    days = pl.col("day").is_between(low.date(), high.date(), closed="left")
    return {"prices": prices.filter(days), "orders": orders.filter(inside), "outcomes": outcomes.filter(inside)}


def deliver(use_case: UseCase, first: int, last: int) -> None:
    """Publish prices, orders and outcomes of some days, counted from 0, the last one excluded."""
    for name, rows in of_days(first, last).items():
        assert not ingest(named(use_case), rows, input=name).refused


def files_of(first: int, last: int, folder: Path) -> dict[str, Path]:
    """The same as files, by input."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: folder / f"{name}-{first:02d}.parquet" for name in ("prices", "orders", "outcomes")}
    for name, rows in of_days(first, last).items():
        rows.write_parquet(found[name])
    return found

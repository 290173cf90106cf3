"""Three small problems with known answers, one of each kind, for the modelling tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import numpy as np
import polars as pl

from schemas.contract import Contract, column
from schemas.usecase import GatePolicy, Input, Lookup, Split, Target, Training, UseCase
from tasks.features import design, labelled

Utc = Annotated[pl.Datetime, "us", "UTC"]
PLACES = ("north", "south", "west")
START = datetime(2024, 1, 1, tzinfo=UTC)


class Orders(Contract):
    """Orders with their outcome."""

    order: int = column(ge=0)
    at: Utc = column()
    place: str = column()
    size: float = column(nullable=True)
    noise: float = column()
    paid: bool = column(known="outcome", nullable=True)
    grade: str = column(known="outcome", nullable=True)
    amount: float = column(known="outcome", nullable=True)

    class Config:
        unique = ["order"]


class Stores(Contract):
    """What is looked up by place."""

    place: str = column()
    rent: float = column()

    class Config:
        unique = ["place"]


BINARY = UseCase(
    name="orders",
    question="Will the order be paid?",
    inputs=(Input(name="orders", contract=Orders, time="at"), Input(name="stores", contract=Stores)),
    rows="orders",
    target=Target(kind="binary", name="paid", value=pl.col("paid"), classes=("unpaid", "paid")),
    lookups=(Lookup(input="stores", on={"place": pl.col("place")}, columns={"rent": "rent"}),),
    features={
        "where": pl.col("place").cast(pl.Enum(PLACES), strict=False),
        "size": pl.col("size").cast(pl.Float32),
        "noise": pl.col("noise").cast(pl.Float32),
        "rent": pl.col("rent").cast(pl.Float32),
    },
    slices=("place",),
    split=Split(holdout_days=10, stopping_days=10),
    training=Training(params={"max_depth": 3, "learning_rate": 0.3, "subsample": 0.8}, rounds=40, stopping_rounds=5),
    gate=GatePolicy(min_rows=100, min_blocks=5, margin=0.02, min_slice_rows=50, slice_margin=0.2),
)
MULTICLASS = replace(
    BINARY,
    target=Target(kind="multiclass", name="grade", value=pl.col("grade"), classes=("bad", "fair", "good")),
)
REGRESSION = replace(
    BINARY,
    inputs=(replace(BINARY.inputs[0], time=None), BINARY.inputs[1]),
    target=Target(kind="regression", name="amount", value=pl.col("amount"), unit="EUR"),
    gate=replace(BINARY.gate, metric="rmse", margin=0.1, refit=False, slice_margin=1.0),
)
PROBLEMS = {"binary": BINARY, "multiclass": MULTICLASS, "regression": REGRESSION}


def orders(rows: int = 4000, seed: int = 7) -> pl.DataFrame:
    """Orders over forty days, whose outcomes follow from size and place."""
    random = np.random.default_rng(seed)
    size, noise = random.normal(size=rows), random.normal(size=rows)
    place = random.integers(0, 3, rows)
    strength = 1.5 * size + (place - 1) + random.normal(size=rows)
    frame = pl.DataFrame(
        {
            "order": np.arange(rows),
            "at": [START + timedelta(minutes=14.4 * n) for n in range(rows)],
            "place": np.array(PLACES)[place],
            "size": size,
            "noise": noise,
            "paid": strength > 0,
            "grade": np.array(["bad", "fair", "good"])[np.digitize(strength, [-1, 1])],
            "amount": strength * 2,
        }
    )
    return frame.cast({"at": pl.Datetime("us", "UTC")})


STORES = pl.DataFrame({"place": PLACES, "rent": [1.0, 2.0, 3.0]})


def designed(case: UseCase, frame: pl.DataFrame) -> pl.DataFrame:
    """Designed rows with `_target`."""
    return labelled(case, design(case, frame.lazy(), {"stores": STORES.lazy()}), frame.lazy()).collect()

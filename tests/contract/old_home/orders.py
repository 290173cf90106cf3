"""The use case of the archived home. What it says is part of what the archive proves: only its imports may change."""

from __future__ import annotations

from typing import Annotated

import polars as pl

from schemas.contract import Contract, column
from schemas.usecase import GatePolicy, Input, Lookup, Split, Target, Training, UseCase

Utc = Annotated[pl.Datetime, "us", "UTC"]
COLOURS = ("blue", "green", "red")
SHOPS = ("north", "south", "west")


class Orders(Contract):
    """What is ordered."""

    at: Utc = column()
    shop: str = column(isin=list(SHOPS))
    number: int = column(ge=0)
    size: float = column(nullable=True)
    colour: str = column(nullable=True)

    class Config:
        unique = ["at", "shop", "number"]


class Prices(Contract):
    """What a shop asks on a day."""

    shop: str = column()
    day: pl.Date = column()
    price: float = column(nullable=True)

    class Config:
        unique = ["shop", "day"]


class Outcomes(Contract):
    """How late each order was, known a day later."""

    at: Utc = column()
    shop: str = column()
    number: int = column()
    delay: float = column(known="outcome", nullable=True)
    known_at: Utc = column(known="outcome")

    class Config:
        unique = ["at", "shop", "number", "known_at"]


ORDERS = UseCase(
    name="orders",
    question="Will the order be late?",
    inputs=(
        Input(name="orders", contract=Orders, time="at"),
        Input(name="prices", contract=Prices),
        Input(name="outcomes", contract=Outcomes, time="at", known_at="known_at"),
    ),
    rows="orders",
    labels="outcomes",
    target=Target(kind="binary", name="late", value=pl.col("delay") > 0.4, classes=("on time", "late")),
    lookups=(
        Lookup(input="prices", on={"shop": pl.col("shop"), "day": pl.col("at").dt.date()}, columns={"price": "price"}),
    ),
    features={
        "hour": pl.col("at").dt.hour().cast(pl.Float32),
        "colour_of": pl.col("colour").cast(pl.Enum(COLOURS), strict=False),
        "size": pl.col("size").cast(pl.Float32),
        "price": pl.col("price").cast(pl.Float32),
    },
    slices=("shop",),
    split=Split(holdout_days=8, stopping_days=8),
    training=Training(
        params={"max_depth": 3, "learning_rate": 0.3, "subsample": 0.8, "min_child_weight": 5},
        rounds=60,
        stopping_rounds=5,
    ),
    gate=GatePolicy(rule="superiority", min_rows=100, min_slice_rows=50, slice_margin=0.2),
)

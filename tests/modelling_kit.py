"""Orders of three shops with a known signal, as use cases of each kind, for the tests of the modelling steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any

import numpy as np
import polars as pl

from schemas.contract import Contract, column
from schemas.usecase import GatePolicy, Input, Lookup, Split, Target, Training, UseCase
from schemas.verdicts import Kind
from tasks.features.engineering import TARGET, design, with_labels

Utc = Annotated[pl.Datetime, "us", "UTC"]
START = datetime(2024, 1, 1, tzinfo=UTC)
SHOPS, COLOURS = ("north", "south", "west"), ("blue", "green", "red")
DAYS, A_DAY = 40, 60


class Orders(Contract):
    at: Utc = column()
    shop: str = column()
    number: int = column()
    size: float = column(nullable=True)
    colour: str = column(nullable=True)

    class Config:
        unique = ["at", "shop", "number"]


class Prices(Contract):
    shop: str = column()
    day: pl.Date = column()
    price: float = column(nullable=True)

    class Config:
        unique = ["shop", "day"]


class Outcomes(Contract):
    at: Utc = column()
    shop: str = column()
    number: int = column()
    delay: float = column(known="outcome", nullable=True)
    known_at: Utc = column(known="outcome")

    class Config:
        unique = ["at", "shop", "number", "known_at"]


TARGETS = {
    "binary": Target(kind="binary", name="late", value=pl.col("delay") > 0.4, classes=("on time", "late")),
    "multiclass": Target(
        kind="multiclass",
        name="when",
        value=pl.when(pl.col("delay") < -0.4)
        .then(pl.lit("early"))
        .when(pl.col("delay") > 0.4)
        .then(pl.lit("late"))
        .when(pl.col("delay").is_not_null())
        .then(pl.lit("on time")),
        classes=("early", "on time", "late"),
    ),
    "regression": Target(kind="regression", name="delay", value=pl.col("delay"), unit="hours"),
}
METRIC: dict[str, Any] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


def case(kind: Kind = "binary", **gate: Any) -> UseCase:
    """The orders' use case of one kind; `gate` changes its policy."""
    policy: dict[str, Any] = {
        "metric": METRIC[kind],
        "margin": 0.02,
        "min_rows": 100,
        "min_slice_rows": 50,
        "slice_margin": 0.2,
    }
    return UseCase(
        name="orders",
        question="Will the order be late?",
        inputs=(
            Input(name="orders", contract=Orders, time="at"),
            Input(name="prices", contract=Prices),
            Input(name="outcomes", contract=Outcomes, time="at", known_at="known_at"),
        ),
        rows="orders",
        labels="outcomes",
        target=TARGETS[kind],
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
        gate=GatePolicy(**{**policy, **gate}),
    )


def timeless(kind: Kind = "binary") -> UseCase:
    """The same orders where no column is declared as the event time."""
    made = case(kind)
    orders, *others = made.inputs
    return replace(made, inputs=(replace(orders, time=None), *others))


@cache
def tables(seed: int = 1) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Orders, prices and outcomes of 40 days; the delay follows size, colour and price by no line, with noise."""
    rng = np.random.default_rng(seed)
    n = DAYS * A_DAY
    day = np.repeat(np.arange(DAYS), A_DAY)
    at = [START + timedelta(days=int(d), minutes=int(m)) for d, m in zip(day, rng.integers(0, 1440, n), strict=True)]
    shop, colour, size = rng.choice(SHOPS, n), rng.choice(COLOURS, n), rng.normal(size=n).round(3)
    prices = pl.DataFrame(
        {
            "shop": np.repeat(SHOPS, DAYS),
            "day": [START.date() + timedelta(days=d) for _ in SHOPS for d in range(DAYS)],
            "price": rng.normal(size=3 * DAYS).round(3),
        }
    )
    orders = pl.DataFrame({"at": at, "shop": shop, "number": np.arange(n), "size": size, "colour": colour}).cast(
        Orders.dtypes()
    )
    price = orders.with_columns(day=pl.col("at").dt.date()).join(prices, on=["shop", "day"], maintain_order="left")["price"]
    signal = 1.2 * np.abs(size) - 1 + np.where(colour == "red", 0.8, -0.4) * price.to_numpy()
    delay = signal + rng.normal(size=DAYS, scale=0.2)[day] + rng.normal(size=n, scale=0.5)
    outcomes = orders.select(
        "at", "shop", "number", delay=pl.Series(delay.round(3)), known_at=pl.col("at") + timedelta(days=1)
    )
    missing = pl.col("number") % 50 == 7  # no outcome
    outcomes = outcomes.with_columns(pl.when(~missing).then(pl.col("delay")).alias("delay"))
    return orders, prices.cast(Prices.dtypes()), outcomes.cast(Outcomes.dtypes())


def shuffled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The same rows, delivered in another order."""
    return frame.sample(fraction=1.0, shuffle=True, seed=seed)


def frame(use_case: UseCase, seed: int = 1, order: int | None = None) -> pl.DataFrame:
    """Designed and labelled rows; with `order`, all three tables come shuffled by it."""
    orders, prices, outcomes = [t if order is None else shuffled(t, order) for t in tables(seed)]
    designed = design(use_case, orders.lazy(), {"prices": prices.lazy()})
    return with_labels(use_case, designed, outcomes.lazy()).collect()


def turned(kind: Kind) -> pl.Expr:
    """The outcomes the other way round: late for on time, early for late, minus for plus."""
    if kind == "regression":
        return -pl.col(TARGET)
    if kind == "binary":
        return ~pl.col(TARGET)
    words = pl.col(TARGET).cast(pl.String).replace({"early": "late", "late": "early"})
    return words.cast(pl.Enum(TARGETS[kind].classes)).alias(TARGET)

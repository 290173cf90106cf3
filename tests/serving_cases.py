"""Use cases that are unlike the flights: several classes, a number, private columns, features that only frames can make."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Annotated, Any

import polars as pl

from schemas.contract import Contract, column
from schemas.usecase import Input, Target, Training, UseCase

SHOPS = ("north", "south", "ümlaut")
FATES = ("arrived", "late", "lost")


class Parcels(Contract):
    """Parcels with what became of them; nobody may see who gets them."""

    id: int = column(ge=1)
    shop: Annotated[pl.Enum, list(SHOPS)] = column()
    weight: float = column(nullable=True, gt=0, lt=100)
    pieces: pl.Int8 = column(ge=1, le=9)
    fragile: bool = column(nullable=True)
    code: str = column(str_length={"min_value": 1, "max_value": 6})
    sent: pl.Date = column()
    person: str = column(private=True, nullable=True, str_length={"max_value": 20})
    fate: str = column(known="outcome", isin=FATES)
    minutes: float = column(known="outcome", ge=0)

    class Config:
        unique = ["id"]


FEATURES = {
    "shop": pl.col("shop"),
    "weight": pl.col("weight").cast(pl.Float32),
    "pieces": pl.col("pieces").cast(pl.Int64) * 2,
    "fragile": pl.col("fragile"),
    "weekday": pl.col("sent").dt.weekday().cast(pl.Float32),
    "ratio": pl.col("weight") / pl.col("pieces"),
}
TRAINING = Training(params={"max_depth": 3, "learning_rate": 0.3}, rounds=12)


def parcels(name: str, target: Target, **more: pl.Expr) -> UseCase:
    """A use case over parcels."""
    return UseCase(
        name=name,
        question="What becomes of the parcel?",
        inputs=(Input(name="parcels", contract=Parcels),),
        rows="parcels",
        target=target,
        features={**FEATURES, **more},
        slices=("shop",),
        training=TRAINING,
    )


FATE = Target(kind="multiclass", name="fate", value=pl.col("fate"), classes=FATES)
MINUTES = Target(kind="regression", name="delay", value=pl.col("minutes"), unit="minutes")
PARCELS = parcels("parcels", FATE)
DELAYS = parcels("delays", MINUTES)
# Whole numbers of digits in a code, and a ranking of nothing: what no one-row evaluator knows.
BY_FRAME = parcels("by-frame", FATE, digits=pl.col("code").str.extract_all(r"\d").list.len().cast(pl.Float32))


def rows(count: int, seed: int = 1) -> pl.DataFrame:
    """Parcels of the contract, with outcomes."""
    chance = random.Random(seed)
    made = [_parcel(number, chance) for number in range(1, count + 1)]
    return pl.DataFrame(made, schema=Parcels.dtypes())


def _parcel(number: int, chance: random.Random) -> dict[str, Any]:
    weight = chance.choice([None, round(chance.uniform(0.1, 99), 3)])
    fragile = chance.choice([None, True, False])
    hard = (weight or 50) / 50 + (0.5 if fragile else 0) + chance.random()
    return {
        "id": number,
        "shop": chance.choice(SHOPS),
        "weight": weight,
        "pieces": chance.randint(1, 9),
        "fragile": fragile,
        "code": f"{chance.choice('ab1')}{chance.randint(0, 99)}",
        "sent": date(2020, 1, 1) + timedelta(days=chance.randint(0, 700)),
        "person": chance.choice([None, "Ada", "Bo"]),
        "fate": FATES[min(2, int(hard))],
        "minutes": round(30 * hard, 2),
    }

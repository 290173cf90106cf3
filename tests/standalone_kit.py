"""Rows of a stranger: 60 days of parcels with a known signal, and a Pandera model of the stranger's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pandera.polars as pa
import polars as pl

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS, A_DAY = 60, 50
COLOURS = ("blue", "green", "red")


class Parcel(pa.DataFrameModel):
    """Knows nothing of ours: not strict, and two of its columns are cast."""

    number: int = pa.Field(unique=True)
    weight: float = pa.Field(ge=0, le=50, coerce=True)
    colour: str = pa.Field(isin=COLOURS)
    left: int = pa.Field(ge=0, coerce=True)

    @pa.check("number")
    def positive(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col(data.key) > 0)


@cache
def parcels(seed: int = 5) -> pl.DataFrame:
    """Columns at, number, weight, colour, depot; late (Boolean), when (text), delay (number); p and q, scores of late."""
    rng = np.random.default_rng(seed)
    n = DAYS * A_DAY
    day = np.repeat(np.arange(DAYS), A_DAY)
    at = [START + timedelta(days=int(d), minutes=int(m)) for d, m in zip(day, rng.integers(0, 1440, n), strict=True)]
    weight, colour = rng.exponential(3, n).round(3), rng.choice(COLOURS, n)
    signal = np.where(colour == "red", 1.4, -0.7) + 0.5 * (weight - 3) + rng.normal(size=DAYS, scale=0.3)[day]
    late = rng.random(n) < 1 / (1 + np.exp(-signal))
    delay = signal + rng.normal(size=n, scale=0.4)
    when = np.where(delay > 1, "late", np.where(delay < -1, "early", "on time"))
    return pl.DataFrame(
        {
            "at": at,
            "number": np.arange(1, n + 1),
            "weight": weight,
            "colour": colour,
            "depot": rng.choice(["north", "south"], n),
            "late": late,
            "when": when,
            "delay": delay.round(4),
            "p": 1 / (1 + np.exp(-signal)),
            "q": np.full(n, 0.4) + 0.2 * (colour == "red"),
        }
    )

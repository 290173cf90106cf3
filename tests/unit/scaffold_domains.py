"""Invented files, small and the same every time: one per kind of problem, each with something that bites."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

WORDS = ("the", "pool", "was", "cold", "again", "staff", "friendly", "but", "showers", "broken", "fix", "locker", "card")


def some(rng: np.random.Generator, values: list[object], share: float) -> list[object]:
    """The values, a share of them missing."""
    return [None if gone else value for value, gone in zip(values, rng.random(len(values)) < share, strict=True)]


def sentences(rng: np.random.Generator, n: int) -> list[object]:
    return [" ".join(rng.choice(WORDS, int(rng.integers(5, 12)))) for _ in range(n)]


def members(n: int = 1200) -> pl.DataFrame:
    """Binary: dates, nulls, an id, free text, e-mail addresses, a column that is filled only afterwards."""
    rng = np.random.default_rng(1)
    days = [date(2022, 1, 1) + timedelta(days=int(d)) for d in np.sort(rng.integers(0, 700, n))]
    visits = rng.poisson(6, n)
    churned = rng.random(n) < 1 / (1 + np.exp(visits - 5))
    return pl.DataFrame(
        {
            "member_id": [f"M-{i:06d}" for i in range(n)],
            "snapshot_date": days,
            "joined_on": [d - timedelta(days=int(t)) for d, t in zip(days, rng.integers(1, 900, n), strict=True)],
            "plan": rng.choice(["basic", "family", "pro"], n),
            "visits": visits,
            "stay_minutes": some(rng, rng.normal(60, 12, n).round(1).tolist(), 0.1),
            "renews": rng.random(n) < 0.6,
            "email": some(rng, [f"user{i}@example.org" for i in range(n)], 0.1),
            "comment": some(rng, sentences(rng, n), 0.5),
            "cancelled_on": [d + timedelta(days=20) if gone else None for d, gone in zip(days, churned, strict=True)],
            "churned": churned,
        }
    )


def tickets(n: int = 1200) -> pl.DataFrame:
    """Multiclass: names that are no identifiers, times with a zone, one of which comes later."""
    rng = np.random.default_rng(2)
    opened = [
        datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=int(m))
        for m in np.sort(rng.choice(60 * 24 * 90, n, replace=False))
    ]
    queue = rng.choice(["billing", "delivery", "technical"], n)
    likely = {"billing": "invoice", "delivery": "parcel", "technical": "app"}
    product = [likely[q] if rng.random() < 0.7 else rng.choice(list(likely.values())) for q in queue]
    return pl.DataFrame(
        {
            "Ticket No": range(500_001, 500_001 + n),
            "Opened At": [f"{t:%Y-%m-%dT%H:%M:%SZ}" for t in opened],
            "product": product,
            "Kanal %": rng.choice(["e-mail", "chat", "phone"], n),
            "priority": rng.integers(1, 5, n),
            "Wörter im Text": rng.poisson(40, n) + (queue == "technical") * 20,
            "subject": sentences(rng, n),
            "customer age": some(rng, rng.integers(18, 90, n).tolist(), 0.3),
            "resolved_at": [f"{t + timedelta(hours=30):%Y-%m-%dT%H:%M:%SZ}" for t in opened],
            "queue": queue,
        }
    )


def houses(n: int = 900) -> pl.DataFrame:
    """Regression without an event time; a number with NA for missing; a name that Python keeps for itself."""
    rng = np.random.default_rng(3)
    area, distance = rng.normal(120, 40, n).clip(20, 400).round(1), rng.exponential(6, n).round(2)
    return pl.DataFrame(
        {
            "house": [
                f"{letter}{number}"
                for letter, number in zip(rng.choice(list("ABC"), n), range(10_000, 10_000 + n), strict=True)
            ],
            "Wohnfläche (m²)": area,
            "distance_km": distance,
            "class": rng.choice(["simple", "good", "fine"], n),
            "built_on": [date(int(y), 6, 1) for y in rng.integers(1890, 2021, n)],
            "heating_cost": [
                ("NA" if gone else str(c)) for c, gone in zip(rng.integers(300, 4000, n), rng.random(n) < 0.2, strict=True)
            ],
            "energy": some(rng, rng.choice(list("ABCDEFG"), n).tolist(), 0.2),
            "price": (area * 3200 * (1 - 0.02 * distance.clip(0, 20)) + rng.normal(0, 9000, n)).round(0),
        }
    )


def stations(days: int = 150) -> pl.DataFrame:
    """Binary with texts as outcome; no id: a day and a place are the key together."""
    rng = np.random.default_rng(4)
    day = [date(2023, 1, 1) + timedelta(days=i) for i in range(days)]
    frame = pl.DataFrame({"date": day}).join(pl.DataFrame({"station": ["north", "south", "east", "west"]}), how="cross")
    load = rng.integers(0, 100, frame.height)
    return frame.with_columns(
        pl.Series("load", load),
        pl.Series("temp", rng.normal(20, 5, frame.height).round(2)),
        pl.Series("state", np.where(rng.random(frame.height) < 0.05 + load / 400, "fault", "ok")),
    )


def plain(n: int = 400) -> pl.DataFrame:
    """An id, a number, a category, an outcome of 0 and 1: what single oddities are added to."""
    rng = np.random.default_rng(5)
    return pl.DataFrame(
        {"id": range(n), "x": rng.normal(size=n).round(3), "plan": rng.choice(["a", "b"], n), "y": rng.integers(0, 2, n)}
    )


def save(frame: pl.DataFrame, path: Path) -> Path:
    """The frame as a file of the kind that its name says."""
    writers = {".csv": frame.write_csv, ".parquet": frame.write_parquet, ".jsonl": frame.write_ndjson}
    writers[path.suffix](path)
    return path


def oddities() -> pl.DataFrame:
    """Column names that no Python identifier can be, or that Python, Pandera or Penstock use themselves."""
    odd = [
        "Größe",
        "プラン",
        "naïve % ok?",
        "class",
        "2nd",
        "validate",
        "int",
        "column",
        "key",
        "A b",
        "a_b",
        'quo"te',
        "it's \\d",
    ]
    odd += ["😀", "x[1]", "x<2", "ﬁ", "ODD", "Odd", "odd", "pl", "a very long name" + " of a column" * 8]
    return plain().with_columns(pl.Series(name, [i + j / 10 for j in range(400)]) for i, name in enumerate(odd))


def types() -> pl.DataFrame:
    """Every type that a Parquet file brings and a contract can hold."""
    n = 300
    times = pl.Series([datetime(2024, 1, 1) + timedelta(hours=9 * i) for i in range(n)])  # noqa: DTZ001
    return pl.DataFrame(
        {
            "id": pl.Series(range(n), dtype=pl.UInt64),
            "f32": pl.Series([i / n for i in range(n)], dtype=pl.Float32),
            "dec": [Decimal(f"{i}.25") for i in range(n)],
            "cat": pl.Series(["k", "l"] * (n // 2), dtype=pl.Categorical),
            "clock": [time(i % 24) for i in range(n)],
            "at": times.dt.cast_time_unit("ms").dt.replace_time_zone("Asia/Tokyo"),
            "fine": times.dt.cast_time_unit("ns").dt.offset_by("1ns"),
            "nothing": pl.Series([None] * n),
            "y": [i % 3 == 0 for i in range(n)],
        }
    )


# By name of a use case: rows, file, target, and the kind of problem that they are.
DOMAINS: dict[str, tuple[Callable[..., pl.DataFrame], str, str, str]] = {
    "gym-churn": (members, "members.csv", "churned", "binary"),
    "routing": (tickets, "tickets.csv", "queue", "multiclass"),
    "houses": (houses, "houses.csv", "price", "regression"),
    "stations": (stations, "stations.parquet", "state", "binary"),
    "x1": (members, "members.jsonl", "churned", "binary"),
    "odd": (oddities, "odd.csv", "y", "binary"),
    "all-types": (types, "types.parquet", "y", "binary"),
}


@contextmanager
def importing() -> Iterator[None]:
    """Forget, at the end, what was imported from folders that were put on Python's path within the block."""
    path, modules = list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        added = tuple(set(sys.path) - set(path))
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], "__file__", None)).startswith(added):
                del sys.modules[name]

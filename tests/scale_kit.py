"""A wide-enough table of any length with a known signal, as a use case: what the benchmarks of training at size fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl

from schemas.contract import Contract, column
from schemas.usecase import GatePolicy, Input, Split, Target, Training, UseCase

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 60
KINDS = tuple("abcdefgh")
NUMBERS = tuple(f"x{i:02d}" for i in range(11))


class Rows(Contract):
    at: Annotated[pl.Datetime, "us", "UTC"] = column()
    number: int = column()
    kind: str = column()
    x00: pl.Float32 = column()
    x01: pl.Float32 = column()
    x02: pl.Float32 = column()
    x03: pl.Float32 = column()
    x04: pl.Float32 = column()
    x05: pl.Float32 = column()
    x06: pl.Float32 = column()
    x07: pl.Float32 = column()
    x08: pl.Float32 = column()
    x09: pl.Float32 = column()
    x10: pl.Float32 = column()
    y: bool = column(known="outcome")

    class Config:
        unique = ["at", "number"]


ROWS = UseCase(
    name="rows",
    question="Is it true?",
    inputs=(Input(name="rows", contract=Rows, time="at"),),
    rows="rows",
    target=Target(kind="binary", name="y", value=pl.col("y"), classes=("no", "yes")),
    features={"kind_of": pl.col("kind").cast(pl.Enum(KINDS), strict=False), **{name: pl.col(name) for name in NUMBERS}},
    split=Split(holdout_days=2, stopping_days=2),
    training=Training(params={"max_depth": 6, "learning_rate": 0.2, "subsample": 0.8}, rounds=30, stopping_rounds=20),
    gate=GatePolicy(),
)


WIDE_NUMBERS = tuple(f"x{i:02d}" for i in range(96))
Wide = type(
    "Wide",
    (Contract,),
    {
        "__annotations__": {
            "at": Annotated[pl.Datetime, "us", "UTC"],
            "number": int,
            "kind": str,
            **dict.fromkeys(WIDE_NUMBERS, pl.Float32),
            "y": bool,
        },
        **{name: column() for name in ("at", "number", "kind", *WIDE_NUMBERS)},
        "y": column(known="outcome"),
        "Config": Rows.Config,
    },
)
WIDE = replace(
    ROWS,
    name="wide",
    inputs=(Input(name="rows", contract=Wide, time="at"),),
    features={name: pl.col(name) for name in WIDE_NUMBERS},
    split=Split(holdout_days=1, stopping_days=1),
    training=replace(ROWS.training, params={**ROWS.training.params, "max_bin": 64}, rounds=10),
)


def files(folder: Path, rows: int, parts: int, case: UseCase = ROWS) -> Iterator[Path]:
    """The rows as Parquet files, oldest first; the outcome follows three numbers and the kind, with noise."""
    step = DAYS * 86_400_000_000 // rows
    dtypes = case.input("rows").contract.dtypes()
    for part in range(parts):
        first, last = rows * part // parts, rows * (part + 1) // parts
        rng, count = np.random.default_rng(part), last - first
        numbers = {name: rng.normal(size=count).astype(np.float32) for name in dtypes if name.startswith("x")}
        kind = rng.integers(0, len(KINDS), count)
        signal = numbers["x00"] + numbers["x01"] * numbers["x02"] + np.where(kind < 3, 1.0, -0.5)
        y = rng.uniform(size=count) < 1 / (1 + np.exp(-signal))
        at = pl.Series(np.arange(first, last) * step).cast(pl.Duration("us")) + START
        made = pl.DataFrame({"at": at, "number": np.arange(first, last), "kind": np.array(KINDS)[kind], **numbers, "y": y})
        path = folder / f"{part:03d}.parquet"
        made.cast(dtypes).write_parquet(path, compression="lz4")  # type: ignore[arg-type]
        yield path


def quality(scores: np.ndarray, rows: pl.DataFrame) -> dict[str, Any]:
    """AUC and log loss on labelled rows."""
    from sklearn.metrics import log_loss, roc_auc_score

    y = rows["_target"].to_numpy()
    return {"auc": float(roc_auc_score(y, scores)), "log_loss": float(log_loss(y, scores)), "rows": rows.height}

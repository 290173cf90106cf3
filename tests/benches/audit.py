"""The audit in memory beside a hand-written polars split, and beside the validators that people use.

    python -m tests.benches.audit [rows]

Prints, for good data and for data with 5% bad rows, the best of several runs in seconds, the ratio to the hand-written split
and the extra memory at the peak.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandera.errors
import polars as pl

from schemas.contract import Contract, column
from tasks.contracts import split

FLOATS, INTEGERS, WORDS = 8, 6, ("aa", "bb", "cc", "dd")
RUNS = 7


class Table(Contract):
    """Twenty columns, twenty checks beside nullability, one unique key."""

    id: int = column(ge=0)
    t: Annotated[pl.Datetime, "us", "UTC"] = column()
    f0: float = column(ge=0, le=100)
    f1: float = column(ge=0, le=100)
    f2: float = column(ge=0, le=100)
    f3: float = column(ge=0, le=100)
    f4: float = column(ge=0, le=100)
    f5: float = column(ge=0)
    f6: float = column(ge=0)
    f7: float = column(ge=0)
    i0: int = column(ge=0)
    i1: int = column(ge=0)
    i2: int = column(ge=0)
    i3: int = column(ge=0)
    i4: int = column()
    i5: int = column()
    s0: str = column(isin=WORDS)
    s1: str = column(str_matches="^[a-z]{2}$")
    s2: str = column(str_length={"max_value": 4})
    b: bool = column()

    class Config:
        unique = ["id"]


def table(rows: int, bad: float, seed: int = 2013) -> pl.DataFrame:
    """Rows of which a share breaks a range, and a fifth of those the key."""
    random = np.random.default_rng(seed)
    spoilt = random.random(rows) < bad
    twice = spoilt & (random.random(rows) < 0.2)
    columns: dict[str, pl.Series] = {"id": pl.Series(np.where(twice, 7, np.arange(rows)))}
    for at in range(FLOATS):
        columns[f"f{at}"] = pl.Series(random.random(rows) * 100)
    columns["f0"] = pl.Series(np.where(spoilt, 1e6, columns["f0"].to_numpy()))
    for at in range(INTEGERS):
        columns[f"i{at}"] = pl.Series(random.integers(0, 1000, rows))
    for at in range(3):
        columns[f"s{at}"] = pl.Series(random.choice(WORDS, rows))
    time_of = pl.datetime(2020, 1, 1, time_zone="UTC") + pl.duration(seconds=pl.col("id"))
    return pl.DataFrame(columns).with_columns(t=time_of, b=pl.col("i0") > 500).select(*Table.dtypes())


def by_hand(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The split as one would write it for this table alone: the same twenty checks, nullability and the key."""
    col = pl.col
    checks = [col(name).is_not_null() for name in frame.columns]
    checks += [col(f"f{at}").is_finite() for at in range(FLOATS)]
    checks += [col(f"f{at}").is_between(0, 100) for at in range(5)] + [col(f"f{at}") >= 0 for at in range(5, FLOATS)]
    checks += [col("id") >= 0, *(col(f"i{at}") >= 0 for at in range(4))]
    checks += [col("s0").is_in(WORDS), col("s1").str.contains("^[a-z]{2}$"), col("s2").str.len_chars() <= 4]
    good = frame.select(pl.all_horizontal(checks) & col("id").is_unique()).to_series()
    return frame.filter(good), frame.filter(~good)


def ours(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Penstock's audit, reasons included."""
    found = split(frame, Table)
    return found.accepted, found.rejected


def by_pandera(frame: pl.DataFrame) -> pl.DataFrame:
    """Pandera's own verdict; it splits nothing."""
    try:
        return Table.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return error.failure_cases


def by_dataframely() -> Callable[[pl.DataFrame], object] | None:
    """Dataframely's filter with the same checks, where it is installed."""
    try:
        import dataframely as dy
    except ImportError:
        return None
    fields: dict[str, object] = {"id": dy.Int64(min=0, primary_key=True), "t": dy.Datetime(time_unit="us", time_zone="UTC")}
    fields |= {f"f{at}": dy.Float64(min=0, max=100 if at < 5 else None, allow_inf=False) for at in range(FLOATS)}
    fields |= {f"i{at}": dy.Int64(min=0 if at < 4 else None) for at in range(INTEGERS)}
    fields |= {"s0": dy.String(regex="^(aa|bb|cc|dd)$"), "s1": dy.String(regex="^[a-z]{2}$"), "s2": dy.String(max_length=4)}
    schema = type("Peer", (dy.Schema,), {**fields, "b": dy.Bool()})
    return lambda frame: schema.filter(frame)  # type: ignore[attr-defined]


def best(run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def extra_memory(name: str, rows: int, bad: float) -> int:
    """MiB by which a fresh process grows at its peak over what it needs to hold the table."""
    command = [sys.executable, "-m", "tests.benches.audit", name, str(rows), str(bad)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure_memory(name: str, rows: int, bad: float) -> int:
    """The same, in this process."""
    frame = table(rows, bad)
    contenders()[name](table(1000, bad))
    ctypes.CDLL(None).malloc_trim(0)
    before, peak, done = _resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, _resident())
            time.sleep(0.0005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    kept = contenders()[name](frame)
    done.set()
    watcher.join()
    del kept
    return max(0, peak - before) >> 20


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def contenders() -> dict[str, Callable[[pl.DataFrame], object]]:
    """Who runs, by name; the first is what the others are compared with."""
    found: dict[str, Callable[[pl.DataFrame], object]] = {"by hand": by_hand, "penstock": ours, "pandera": by_pandera}
    if (peer := by_dataframely()) is not None:
        found["dataframely"] = peer
    return found


def main(rows: int = 1_000_000) -> None:
    """Print the comparison. Pandera gives a verdict and splits nothing."""
    for bad in (0.0, 0.05):
        frame = table(rows, bad)
        assert [f.height for f in by_hand(frame)] == [f.height for f in ours(frame)]
        reference = None
        print(f"{rows:,} rows x {frame.width} columns, {bad:.0%} bad")
        for name, run in contenders().items():
            seconds = best(partial(run, frame))
            reference = reference or seconds
            memory = extra_memory(name, rows, bad)
            print(f"  {name:12} {seconds:7.3f} s  {seconds / reference:5.2f} x  +{memory} MiB")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if len(sys.argv) == 4:
        print(measure_memory(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
    else:
        main(*map(int, sys.argv[1:]))

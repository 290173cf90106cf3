"""The audit in memory beside a hand-written polars split, and beside the validators that people use.

    python -m tests.benches.audit [rows ...]

Prints, for good data and for data with 5% bad rows, the best of several runs: wall and processor seconds, their ratios to
the hand-written split, and the extra memory at the peak. The contenders take turns, so that a busy machine is busy for all.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import resource
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandera.errors
import polars as pl

from schemas.contract import Contract, column
from tasks.contracts.audit import split

FLOATS, INTEGERS, WORDS = 8, 6, ("aa", "bb", "cc", "dd")
RUNS, LARGE = 7, 5_000_000  # beyond so many rows three runs have to do, and Great Expectations stays out


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
    good = frame.select(passes()).to_series()
    return frame.filter(good), frame.filter(~good)


def passes() -> pl.Expr:
    """All checks as one expression."""
    col = pl.col
    checks = [col(name).is_not_null() for name in Table.dtypes()]
    checks += [col(f"f{at}").is_finite() for at in range(FLOATS)]
    checks += [col(f"f{at}").is_between(0, 100) for at in range(5)] + [col(f"f{at}") >= 0 for at in range(5, FLOATS)]
    checks += [col("id") >= 0, *(col(f"i{at}") >= 0 for at in range(4))]
    checks += [col("s0").is_in(WORDS), col("s1").str.contains("^[a-z]{2}$"), col("s2").str.len_chars() <= 4]
    return pl.all_horizontal(checks) & col("id").is_unique()


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


def by_great_expectations() -> Callable[[pl.DataFrame], object] | None:
    """Great Expectations over pandas with the same checks, where it is installed; it splits nothing."""
    try:
        import great_expectations as gx
    except ImportError:
        return None
    expect = gx.expectations
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("bench").add_dataframe_asset("table")
    batch = asset.add_batch_definition_whole_dataframe("all")
    asked = [expect.ExpectColumnValuesToNotBeNull(column=name) for name in Table.dtypes()]
    asked += [expect.ExpectColumnValuesToBeBetween(column=f"f{at}", min_value=0, max_value=100) for at in range(5)]
    asked += [
        expect.ExpectColumnValuesToBeBetween(column=n, min_value=0) for n in ("f5", "f6", "f7", "i0", "i1", "i2", "i3")
    ]
    asked += [expect.ExpectColumnValuesToBeInSet(column="s0", value_set=list(WORDS))]
    asked += [expect.ExpectColumnValuesToMatchRegex(column="s1", regex="^[a-z]{2}$")]
    asked += [expect.ExpectColumnValueLengthsToBeBetween(column="s2", max_value=4)]
    asked += [
        expect.ExpectColumnValuesToBeBetween(column="id", min_value=0),
        expect.ExpectColumnValuesToBeUnique(column="id"),
    ]
    suite = gx.ExpectationSuite(name="table", expectations=asked)
    frames: dict[int, object] = {}

    def run(frame: pl.DataFrame) -> object:
        given = frames.setdefault(id(frame), frame.to_pandas())  # what it works on is not part of its time
        return batch.get_batch({"dataframe": given}).validate(suite)

    return run


def best(contenders: Mapping[str, Callable[[], object]], runs: int = RUNS) -> dict[str, tuple[float, float]]:
    """Wall and processor seconds of the fastest of several runs, by name; children count too."""
    found = dict.fromkeys(contenders, (math.inf, math.inf))
    for _ in range(runs):
        for name, run in contenders.items():
            start, spent = time.perf_counter(), processor_seconds()
            run()
            took = time.perf_counter() - start, processor_seconds() - spent
            found[name] = min(found[name][0], took[0]), min(found[name][1], took[1])
    return found


def processor_seconds() -> float:
    """User and system time of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def extra_memory(name: str, rows: int, bad: float) -> int:
    """MiB by which a fresh process grows at its peak over what it needs to hold the table."""
    command = [sys.executable, "-m", "tests.benches.audit", name, str(rows), str(bad)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure_memory(name: str, rows: int, bad: float) -> int:
    """The same, in this process."""
    frame = table(rows, bad)
    run = contender(name)
    run(table(1000, bad))
    ctypes.CDLL(None).malloc_trim(0)
    before, peak, done = _resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, _resident())
            time.sleep(0.0005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    kept = run(frame)
    done.set()
    watcher.join()
    del kept
    return max(0, peak - before) >> 20


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


# Who runs, by name; the first is what the others are compared with.
CONTENDERS: dict[str, Callable[[], Callable[[pl.DataFrame], object] | None]] = {
    "by hand": lambda: by_hand,
    "penstock": lambda: ours,
    "pandera": lambda: by_pandera,
    "dataframely": by_dataframely,
    "great expectations": by_great_expectations,
}


def contender(name: str) -> Callable[[pl.DataFrame], object]:
    """One of them, where it is installed."""
    made = CONTENDERS[name]()
    assert made is not None, name
    return made


def compare(rows: int, bad: float) -> None:
    """One size, one share of bad rows."""
    frame = table(rows, bad)
    assert [f.height for f in by_hand(frame)] == [f.height for f in ours(frame)]
    made = {name: make() for name, make in CONTENDERS.items() if rows < LARGE or name != "great expectations"}
    runs = {name: partial(run, frame) for name, run in made.items() if run is not None}
    for run in runs.values():
        run()
    found = best(runs, RUNS if rows < LARGE else 3)
    memory = {name: extra_memory(name, rows, bad) for name in runs}
    wall, spent = found["by hand"]
    print(f"{rows:,} rows x {frame.width} columns, {bad:.0%} bad" + " " * 9 + "wall            processor       extra memory")
    for name, (seconds, processor) in found.items():
        times = f"{seconds:6.3f} s {seconds / wall:5.2f} x {processor:6.3f} s {processor / spent:5.2f} x"
        print(f"  {name:36} {times}  +{memory[name]:,} MiB {memory[name] / max(memory['by hand'], 1):5.2f} x", flush=True)


def main(*sizes: int) -> None:
    """Print the comparison. Pandera and Great Expectations give a verdict and split nothing."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    warnings.simplefilter("ignore")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    for rows in sizes or (1_000_000, 10_000_000):
        for bad in (0.0, 0.05):
            compare(rows, bad)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if len(sys.argv) == 4 and sys.argv[1] in CONTENDERS:
        print(measure_memory(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
    else:
        main(*map(int, sys.argv[1:]))

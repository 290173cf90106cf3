"""Batch scoring of ten million flights beside bare polars and `inplace_predict`: time and peak memory, in one run.

The bare script reads the same Parquet file, makes the same features with the same expressions, looks up the same weather,
predicts and writes key, category and probability to a Parquet file; it keeps all in memory. Ours also makes prediction ids
and receipts, hashes what it reads and writes, and publishes with fsync and merge. Both run in
processes of their own and in turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from schemas.settings import Settings
from schemas.usecases.flights import FLIGHTS
from tasks.datasets import published
from tasks.replay import nycflights13
from tasks.versions.factory import open_store
from tests.serving_kit import ROOT, promote, publish, record

ROWS, TURNS, ROUNDS = 10_000_000, 2, 150
WANTED = 1.2

OURS = """
import sys
from pathlib import Path
from schemas.results import RowsToScore
from schemas.settings import Settings
from tasks import datasets, inference
settings = Settings(home=Path(sys.argv[1]))
data = datasets.data_at(settings.store_url("flights"), None)
log = settings.store_url(f"flights-log-{sys.argv[2]}")
scores = inference.score_commit("flights", data, RowsToScore(), settings.registry_url, log, "")
assert (scores.status, scores.rows) == ("published", int(sys.argv[3])), scores
"""

BARE = """
import sys
from pathlib import Path
import polars as pl, xgboost as xgb
from schemas.settings import Settings
from schemas.usecases.flights import FLIGHTS as case
from tasks import datasets, features
from tasks.registry import open_registry
from tasks.versions import open_store
settings = Settings(home=Path(sys.argv[1]))
store, registry = open_store(settings.store_url("flights")), open_registry(settings.registry_url)
booster = xgb.Booster(model_file=bytearray(registry.model_bytes(registry.champion("flights"))))
[path] = datasets.paths_added_by(store, store.head(), "flights")
rows = store.scan("main", [path])
made = features.design(case, rows, datasets.inputs_at(store, "main", case)).collect()
scores = pl.Series(booster.inplace_predict(made.select(booster.feature_names)))
late = pl.when(scores >= 0.5).then(pl.lit("late")).otherwise(pl.lit("on time")).alias("category")
told = made.select(*case.key).with_columns(late, scores.alias("probability"))
told.write_parquet(Path(sys.argv[1], f"bare-{sys.argv[2]}.parquet"))
assert told.height == int(sys.argv[3])
"""


def main() -> None:
    """Print both, and the ratios."""
    count = int(sys.argv[2]) if sys.argv[1:2] == ["batch"] and len(sys.argv) > 2 else ROWS
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        home = prepared(Path(folder), count)
        found: dict[str, list[tuple[float, float, float]]] = {"bare": [], "ours": []}
        for turn in range(TURNS):
            for name, program in (("bare", BARE), ("ours", OURS)):
                found[name].append(measured(program, home, turn, count))
                print(f"{name}: {_told(found[name][-1])}", file=sys.stderr, flush=True)
    bare, ours = (tuple(statistics.median(numbers) for numbers in zip(*runs, strict=True)) for runs in found.values())
    print(f"{count:,} rows, {ROUNDS} trees; median of {TURNS} turns")
    print(f"bare polars + inplace_predict: {_told(bare)}")
    print(f"penstock score:                {_told(ours)}")
    print(f"time {ours[0] / bare[0]:.2f}x (wanted at most {WANTED}), processor time {ours[1] / bare[1]:.2f}x, ", end="")
    print(f"peak memory {ours[2] / bare[2]:.2f}x")


def _told(numbers: tuple[float, ...]) -> str:
    return f"{numbers[0]:6.1f} s, {numbers[1]:6.1f} s of processor time, {numbers[2]:6.0f} MB at most"


def prepared(folder: Path, count: int) -> Settings:
    """A champion of January's flights, and one published file of flights of the whole year, told apart by their numbers."""
    settings = Settings(home=folder / "home")
    year = nycflights13.flights_of_the_year()
    january = pl.col("time_hour") < pl.lit("2013-02-01T05:00:00Z").str.to_datetime("%+", time_unit="us")
    for name in ("flights", "labels"):
        publish(settings, "flights", name, year[name].filter(january), folder / "sources")
    publish(
        settings, "flights", "weather", year["weather"].filter(pl.col("wind_speed").fill_null(0) < 200), folder / "sources"
    )
    promote(settings, record(settings, "flights", ROUNDS))
    file = folder / "flights.parquet"
    copies = [year["flights"].lazy().with_columns(pl.col("flight") + 10_000 * n) for n in range(-(-count // 336_776))]
    pl.concat(copies).head(count).sink_parquet(file)
    store = open_store(settings.store_url("flights"))
    store.branch("ingest/many")
    store.upload("ingest/many", "data/flights/many/0.parquet", file)
    told = {"kind": "ingest", "input": "flights", "rows": str(count)}
    store.merge(store.commit("ingest/many", "many flights", told).id, "main", "many flights", told)
    assert len(published.paths_added_by(store, store.head(), FLIGHTS.rows)) == 1
    return settings


def measured(program: str, home: Settings, turn: int, count: int) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak MB of a process, its start included."""
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", program, str(home.root), str(turn), str(count)], cwd=ROOT)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise RuntimeError(f"the program ended with {json.dumps(child.returncode)}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()

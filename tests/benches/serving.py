"""One row over HTTP beside MLServer, BentoML and `mlflow models serve`, swaps under load, and a server fuzzed at length.

    python -m tests.benches.serving             all three parts below
    python -m tests.benches.serving peers       one worker each, one after the other, the same model, in one run
    python -m tests.benches.serving swaps 1000  champions change while callers check every answer
    python -m tests.benches.serving fuzz 1000   schemathesis on the server's own OpenAPI, so many examples an operation

Peers get environments of their own on the first run, in `.bench/` or the folder that PENSTOCK_BENCH_PEERS names; one that
cannot be had is skipped with a line that says why. Ours answers raw rows: it checks them against the
contract, looks up the weather, computes every feature and writes a receipt. The peers get the finished features as
numbers and do nothing but predict. `mlflow models serve` cannot serve a booster with categories, so that it gets one of
the same size fitted on the categories' codes. wrk drives them where it is installed, else a small client in Python.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from schemas.usecases.flights import FLIGHTS
from tasks.registry.factory import open_registry
from tasks.versions.factory import open_store
from tests.benches._http_load import CONNECTIONS, Measured, Target, driven
from tests.benches._peers import ONE_THREAD, ROUNDS, NotInstalled, bento, mlflow, mlserver
from tests.serving_kit import ROOT, TOKEN, Home, as_json, flights_home, promote, record, serving

ROWS = 500
REPEATS = 2
SWAPS, EXAMPLES = 1000, 1000
WANTED = {"MLServer": 2.0, "BentoML": 3.0, "mlflow models serve": 8.0}
Server = Callable[[], Any]


def main() -> None:
    """All parts, or the one that is named."""
    parts = {"peers": side_by_side, "swaps": swaps, "fuzz": fuzz}
    counts = {"peers": REPEATS, "swaps": SWAPS, "fuzz": EXAMPLES}
    part, *count = sys.argv[1:] if sys.argv[1:2] and sys.argv[1] in parts else [""]
    for name in [part] if part else parts:
        parts[name](int(count[0]) if count else counts[name])


@contextmanager
def fresh() -> Iterator[tuple[Home, Path]]:
    """A home of eight days of flights, and the folder it lies in."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        yield flights_home(Path(folder)), Path(folder)


def side_by_side(repeats: int = REPEATS) -> None:
    """Every server in turn; medians over the repeats."""
    with fresh() as (home, folder):
        promote(home.settings, record(home.settings, "flights", ROUNDS))
        servers = servers_of(home, folder, *prepared(home))
        found: dict[str, list[Measured]] = {name: [] for name in servers}
        for _ in range(repeats):
            for name in servers:
                if each := reached(name, servers[name]):
                    found[name].append(each)
                    print(f"{name:20} {each}", file=sys.stderr, flush=True)
    report({name: middle(each) for name, each in found.items() if each})


def reached(name: str, server: Server) -> Measured | None:
    """What a server reaches; None, said in a line, where it cannot be had."""
    try:
        with server() as target:
            return driven(target)
    except NotInstalled as error:
        print(f"{name:20} skipped: {error}", flush=True)
        return None


def report(found: Mapping[str, Measured]) -> None:
    """One line a server, with our ratio to it and the ratio that is wanted."""
    ours = found["penstock"]
    print(f"{'server':20} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8} {'ours/it':>8} {'wanted':>7}")
    for name, each in found.items():
        ratio = f"{ours.rate / each.rate:8.2f} {WANTED[name]:7.1f}" if name in WANTED else ""
        print(f"{name:20} {each.rate:10.0f} {each.median:8.2f} {each.p99:8.2f} {each.cpu:8.0f} {ratio}")
    print(f"p99 of ours at {CONNECTIONS} connections: {ours.p99:.2f} ms (wanted below 5)")


def middle(each: Sequence[Measured]) -> Measured:
    """The median of each number."""
    return Measured(*(statistics.median(getattr(m, name) for m in each) for name in ("rate", "median", "p99", "cpu")))


def prepared(home: Home) -> tuple[pl.DataFrame, list[list[float]]]:
    """Raw rows, and their features as the numbers that the model's trees compare."""
    from tasks.inference.online.lookup_tables import build_table
    from tasks.inference.online.row_predictor import NAN, encoders
    from tasks.inference.online.scorer import Scorer, prepare, rows_of

    store = open_store(home.settings.store_url("flights"))
    rows = store.scan("main", _paths(store, "flights"), FLIGHTS.input("flights").contract.dtypes()).collect()[:ROWS]
    weather = store.scan("main", _paths(store, "weather"), FLIGHTS.input("weather").contract.dtypes()).collect()
    registry = open_registry(home.settings.registry_url)
    champion = registry.champion("flights")
    assert champion
    scorer = Scorer(prepare(FLIGHTS), registry.model_bytes(champion))
    tables = {"weather": build_table(FLIGHTS, "weather", weather, store.head())}
    designed = scorer.designed(rows_of(rows), tables).select(list(FLIGHTS.features))
    encode = encoders(scorer.booster, dict(designed.schema))
    codes = [[NAN if v is None else e(v) for e, v in zip(encode, row, strict=True)] for row in rows_of(designed)]
    return rows, codes


def _paths(store: Any, name: str) -> list[str]:
    return [stored.path for stored in store.objects("main", f"data/{name}/")]


def servers_of(home: Home, folder: Path, rows: pl.DataFrame, codes: list[list[float]]) -> dict[str, Server]:
    """How to start each server, by name."""
    registry = open_registry(home.settings.registry_url)
    champion = registry.champion("flights")
    assert champion
    model = registry.model_bytes(champion)
    zeros = [[0.0 if v != v else v for v in row] for row in codes]  # JSON has no NaN; the trees take as long
    return {
        "penstock": lambda: penstock(home, rows),
        "MLServer": lambda: mlserver(folder / "mlserver", model, zeros),
        "BentoML": lambda: bento(folder / "bento", model, zeros),
        "mlflow models serve": lambda: mlflow(folder / "mlflow", home, zeros),
    }


@contextmanager
def penstock(home: Home, rows: pl.DataFrame) -> Iterator[Target]:
    """Ours, as `penstock serve` starts it."""
    bodies = [json.dumps(row) for row in as_json(FLIGHTS, rows)]
    with serving(home.settings, environment=ONE_THREAD) as server:
        yield Target(f"{server.url}/predict", bodies, {"authorization": f"Bearer {TOKEN}"}, server.process.pid)
        server.stop()


# Swaps and fuzzing


def swaps(count: int) -> None:
    """Change the champion so often while callers check every answer; prints what went wrong."""
    from mlflow import MlflowClient

    from tasks.registry.protocol import CHAMPION
    from tests.services.test_serving_swap import Load, expected

    with fresh() as (home, _):
        client = MlflowClient(home.settings.registry_url, home.settings.registry_url)
        row = as_json(FLIGHTS, prepared(home)[0][:1])[0]
        with serving(home.settings, environment=ONE_THREAD) as server, Load(server, row, expected(home, row)) as load:
            began = time.monotonic()
            for at in range(1, count + 1):
                version = home.models[at % len(home.models)].version
                client.set_registered_model_alias("flights", CHAMPION, str(version))
                server.until(lambda wanted=version: server.version() == wanted)  # type: ignore[misc]
            seconds = time.monotonic() - began
    calls = sum(load.versions.values())
    print(f"{count} swaps in {seconds:.0f} s, {calls} requests, {len(load.wrong)} failed or mixed (wanted 0)")
    for each in load.wrong[:5]:
        print(f"  {each}")


def fuzz(examples: int) -> None:
    """The fuzz tests with so many examples an operation."""
    command = [sys.executable, "-m", "pytest", "tests/services/test_serving_fuzz.py", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-o", "timeout=3600"],
        cwd=ROOT,
        env={**os.environ, "FUZZ_EXAMPLES": str(examples)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"schemathesis, {examples} examples an operation: {done.stdout.splitlines()[-1]}")
    if done.returncode:
        print(done.stdout)


if __name__ == "__main__":
    main()

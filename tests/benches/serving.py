"""One row over HTTP beside MLServer, BentoML and `mlflow models serve`, and swaps under load.

    python -m tests.benches.serving             one worker each, one after the other, the same model, in one run
    python -m tests.benches.serving swaps 1000  champions change while callers check every answer

Peers get environments of their own under .bench/ on the first run. Ours answers raw rows: it checks them against the
contract, looks up the weather, computes every feature and writes a receipt. The peers get the finished features as
numbers and do nothing but predict. `mlflow models serve` cannot serve a booster with categories, so that it gets one of
the same size fitted on the categories' codes. wrk drives them where it is installed, else a small client in Python.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from schemas.usecases.flights import FLIGHTS
from tasks import frames
from tasks.matrices import load_xgboost
from tasks.registry import open_registry
from tasks.versions import open_store
from tests.benches.http_load import CONNECTIONS, Measured, Target, driven
from tests.ports import free_port
from tests.serving_kit import ROOT, TOKEN, Home, as_json, flights_home, promote, record, serving

BENCH = ROOT / ".bench"
ROUNDS, ROWS = 150, 500
REPEATS = 2
PEERS = {
    "MLServer": ("mlserver", ["mlserver>=1.7,<1.8", "mlserver-xgboost>=1.7,<1.8", "uvloop<0.22", "xgboost==3.2.*"]),
    "BentoML": ("bentoml", ["bentoml>=1.4,<1.5", "xgboost==3.2.*"]),
}
WANTED = {"MLServer": 2.0, "BentoML": 3.0, "mlflow models serve": 8.0}
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "DO_NOT_TRACK": "true",
    "BENTOML_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

BENTO = """
import bentoml
import numpy as np
import xgboost

@bentoml.service(workers=1)
class Late:
    def __init__(self) -> None:
        self.booster = xgboost.Booster(model_file="model.ubj")

    @bentoml.api
    def predict(self, row: list) -> dict:
        probability = float(self.booster.inplace_predict(np.array([row], dtype=np.float32))[0])
        return {"category": "late" if probability >= 0.5 else "on time", "probability": probability}
"""


def main() -> None:
    """Measure all servers in turn, twice, and print what each reached."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        home = flights_home(Path(folder))
        if sys.argv[1:2] == ["swaps"]:
            swaps(home, int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
        else:
            side_by_side(home, Path(folder))


def side_by_side(home: Home, folder: Path) -> None:
    """Every server in turn; medians over the repeats."""
    promote(home.settings, record(home.settings, "flights", ROUNDS))
    rows, codes = prepared(home)
    servers = servers_of(home, folder, rows, codes)
    found: dict[str, list[Measured]] = {name: [] for name in servers}
    for _ in range(REPEATS):
        for name, server in servers.items():
            with server() as target:
                found[name].append(driven(target))
                print(f"{name:20} {found[name][-1]}", file=sys.stderr)
    report({name: middle(each) for name, each in found.items()})


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
    from tasks.online.lookups import table
    from tasks.online.predicting import NAN, encoders
    from tasks.online.scorer import Scorer, prepare, rows_of

    store = open_store(home.settings.store_url("flights"))
    rows = store.scan("main", _paths(store, "flights"), FLIGHTS.input("flights").contract.dtypes()).collect()[:ROWS]
    weather = store.scan("main", _paths(store, "weather"), FLIGHTS.input("weather").contract.dtypes()).collect()
    registry = open_registry(home.settings.registry_url)
    champion = registry.champion("flights")
    assert champion
    scorer = Scorer(prepare(FLIGHTS), registry.model_bytes(champion))
    tables = {"weather": table(FLIGHTS, "weather", weather, store.head())}
    designed = scorer.designed(rows_of(rows), tables).select(list(FLIGHTS.features))
    encode = encoders(scorer.booster, dict(designed.schema))
    codes = [[NAN if v is None else e(v) for e, v in zip(encode, row, strict=True)] for row in rows_of(designed)]
    return rows, codes


def _paths(store: Any, name: str) -> list[str]:
    return [stored.path for stored in store.objects("main", f"data/{name}/")]


Server = Callable[[], Any]


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


@contextmanager
def mlserver(folder: Path, model: bytes, codes: list[list[float]]) -> Iterator[Target]:
    """MLServer with its XGBoost runtime, without worker processes."""
    python = environment("MLServer")
    port, rest = free_port(), free_port()
    folder.mkdir(exist_ok=True)
    (folder / "model.ubj").write_bytes(model)
    settings = {"parallel_workers": 0, "http_port": port, "grpc_port": rest, "metrics_port": free_port(), "debug": False}
    settings |= {"host": "127.0.0.1"}
    (folder / "settings.json").write_text(json.dumps(settings))
    told = {"name": "late", "implementation": "mlserver_xgboost.XGBoostModel", "parameters": {"uri": "./model.ubj"}}
    (folder / "model-settings.json").write_text(json.dumps(told))
    bodies = [
        json.dumps({"inputs": [{"name": "row", "shape": [1, len(row)], "datatype": "FP32", "data": row}]}) for row in codes
    ]
    url = f"http://127.0.0.1:{port}"
    with process([str(python.with_name("mlserver")), "start", "."], folder, f"{url}/v2/models/late/ready") as started:
        yield Target(f"{url}/v2/models/late/infer", bodies, {}, started)


@contextmanager
def bento(folder: Path, model: bytes, codes: list[list[float]]) -> Iterator[Target]:
    """BentoML with one worker."""
    python = environment("BentoML")
    port = free_port()
    folder.mkdir(exist_ok=True)
    (folder / "model.ubj").write_bytes(model)
    (folder / "service.py").write_text(BENTO)
    command = [str(python.with_name("bentoml")), "serve", "service:Late", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with process(command, folder, f"{url}/readyz", {"BENTOML_HOME": str(folder / "home")}) as started:
        yield Target(f"{url}/predict", [json.dumps({"row": row}) for row in codes], {}, started)


@contextmanager
def mlflow(folder: Path, home: Home, codes: list[list[float]]) -> Iterator[Target]:
    """`mlflow models serve` on a booster of the same size without categories."""
    from mlflow.xgboost import save_model

    if not folder.exists():
        save_model(numeric_twin(home), str(folder), pip_requirements=["xgboost"])
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    columns = list(FLIGHTS.features)
    bodies = [json.dumps({"dataframe_split": {"columns": columns, "data": [row]}}) for row in codes]
    url = f"http://127.0.0.1:{port}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it looks for uvicorn there
    with process(command, folder.parent, f"{url}/ping", {"PATH": path}) as started:
        yield Target(f"{url}/invocations", bodies, {}, started)


def numeric_twin(home: Home) -> Any:
    """The champion's recipe fitted on the codes of its categories."""
    xgb = load_xgboost()
    from schemas.refs import DataRef

    store = open_store(home.settings.store_url("flights"))
    rows = frames.training_rows(FLIGHTS, DataRef(store=store.url, commit=store.head()))
    features = rows.select(pl.col(list(FLIGHTS.features)).to_physical().cast(pl.Float32))
    matrix = xgb.DMatrix(features, label=rows["_target"].cast(pl.Float32))
    return xgb.train({**FLIGHTS.training.params, "objective": "binary:logistic"}, matrix, ROUNDS)


# Environments and processes


def environment(peer: str) -> Path:
    """The Python of a peer's own environment, made on the first run."""
    folder, packages = PEERS[peer]
    python = BENCH / folder / "bin" / "python"
    if not (BENCH / folder / ".ready").exists():
        uv = str(Path(sys.executable).with_name("uv"))
        shutil.rmtree(BENCH / folder, ignore_errors=True)
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(BENCH / folder)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *packages], check=True)
        (BENCH / folder / ".ready").touch()
    return python


@contextmanager
def process(command: list[str], folder: Path, ready: str, more: Mapping[str, str] | None = None) -> Iterator[int]:
    """A running server in a process group of its own, from when it answers until the block ends; yields its id."""
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("w") as out:
        started = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **ONE_THREAD, **(more or {})},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 180
        while not answers(ready):
            if started.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield started.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        started.wait(30)


def answers(url: str) -> bool:
    """Whether a URL answers with a 200."""
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


# Swaps


def swaps(home: Home, count: int) -> None:
    """Change the champion so often while callers check every answer; prints what went wrong."""
    from mlflow import MlflowClient

    from tasks.registry import CHAMPION
    from tests.services.test_serving_swap import Load, expected

    client = MlflowClient(home.settings.registry_url, home.settings.registry_url)
    row = as_json(FLIGHTS, prepared(home)[0][:1])[0]
    began = time.monotonic()
    with serving(home.settings, environment=ONE_THREAD) as server, Load(server, row, expected(home, row)) as load:
        for at in range(1, count + 1):
            version = home.models[at % len(home.models)].version
            client.set_registered_model_alias("flights", CHAMPION, str(version))
            server.until(lambda wanted=version: server.version() == wanted)  # type: ignore[misc]
    calls = sum(load.versions.values())
    print(f"{count} swaps in {time.monotonic() - began:.0f} s, {calls} requests, {len(load.wrong)} failed or mixed")
    for each in load.wrong[:5]:
        print(f"  {each}")


if __name__ == "__main__":
    main()

"""The peers that serve the same model: MLServer and BentoML in environments of their own, and `mlflow models serve`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from schemas.refs import DataRef
from schemas.usecases.flights import FLIGHTS
from tasks.datasets import loading
from tasks.models.xgboost_runtime import load_xgboost
from tasks.versions.factory import open_store
from tests.benches._http_load import Target
from tests.ports import free_port
from tests.serving_kit import ROOT, Home

ENVIRONMENTS = Path(os.environ.get("PENSTOCK_BENCH_PEERS", ROOT / ".bench")).absolute()
ROUNDS = 150
PACKAGES = {
    "MLServer": ("mlserver", ["mlserver>=1.7,<1.8", "mlserver-xgboost>=1.7,<1.8", "uvloop<0.22", "xgboost==3.2.*"]),
    "BentoML": ("bentoml", ["bentoml>=1.4,<1.5", "xgboost==3.2.*"]),
}
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
    store = open_store(home.settings.store_url("flights"))
    rows = loading.load_training_rows(FLIGHTS, DataRef(store=store.url, commit=store.head()))
    features = rows.select(pl.col(list(FLIGHTS.features)).to_physical().cast(pl.Float32))
    matrix = xgb.DMatrix(features, label=rows["_target"].cast(pl.Float32))
    return xgb.train({**FLIGHTS.training.params, "objective": "binary:logistic"}, matrix, ROUNDS)


# Environments and processes


class NotInstalled(Exception):
    """A peer cannot be had here."""


def environment(peer: str) -> Path:
    """The Python of a peer's own environment: one that has it, else made now. Raises NotInstalled."""
    folder, packages = PACKAGES[peer]
    python = ENVIRONMENTS / folder / "bin" / "python"
    if not python.with_name(folder).exists():
        uv = str(Path(sys.executable).with_name("uv"))
        shutil.rmtree(ENVIRONMENTS / folder, ignore_errors=True)
        for command in (
            [uv, "venv", "--quiet", "--python", sys.executable, str(ENVIRONMENTS / folder)],
            [uv, "pip", "install", "--quiet", "--python", str(python), *packages],
        ):
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                said = " ".join(str(getattr(error, "stderr", None) or error).split())[:300]
                raise NotInstalled(f"no {peer} in {ENVIRONMENTS / folder}, and it cannot be installed: {said}") from None
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

"""Candidates, verdicts and an MLflow server for the tests of the registry."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from schemas.digests import sha256
from schemas.refs import ModelRef
from schemas.verdicts import Evaluation, GateVerdict
from tasks.registry.protocol import Candidate, ModelRegistry

COMMIT = "c0ffee"
CATEGORIES = ("EWR", "JFK", "LGA")


def unique() -> str:
    """A model's name that no other test uses."""
    return f"m{uuid4().hex[:10]}"


def candidate(name: str, seed: int = 1, *, until: str | None = "2013-03-01T00:00:00+00:00", **changes: Any) -> Candidate:
    """A candidate whose bytes and manifest follow from `seed` and `until`; no library reads the bytes."""
    model = changes.pop("model", f"model {seed}".encode())
    manifest = {"seed": seed, "data_commit": COMMIT, "model_sha256": sha256(model), "fitted_until": until}
    return Candidate(
        **{
            "name": name,
            "model": model,
            "manifest": manifest | changes.pop("manifest", {}),
            "evaluation": evaluation(sha256(model), **changes.pop("metrics", {})),
            "golden": b"golden rows",
            "params": {"max_depth": 3},
            "tags": {"owner": "team"},
            "documents": {"reference": {"origin": {"EWR": 0.5}}},
            "input_dtypes": {"origin": f"Enum(categories={list(CATEGORIES)})", "distance": "Float32"},
            "classes": ("on time", "late"),
            **changes,
        }
    )


def evaluation(digest: str, **metrics: float) -> Evaluation:
    """An evaluation of the model with that hash."""
    return Evaluation(
        model_sha256=digest, data_commit=COMMIT, rows=1000, blocks=7, metrics={"auc": 0.7, "log_loss": 0.5, **metrics}
    )


def verdict(**changes: Any) -> GateVerdict:
    """A verdict that promotes, unless changed."""
    says: dict[str, Any] = {"promoted": True, "why": "It gains enough.", "metric": "log_loss", "rows": 1000, "blocks": 7}
    numbers = {"challenger": 0.50, "champion": 0.52, "baseline": 0.60, "interval": (0.01, 0.03), "data_commit": COMMIT}
    return GateVerdict(**{**says, **numbers, **changes})


def crowned(registry: ModelRegistry, name: str, seed: int = 1, **changes: Any) -> ModelRef:
    """A recorded champion."""
    ref = registry.record(candidate(name, seed, **changes))
    assert registry.promote(ref, verdict(), expected=registry.champion(name))
    return ref


@dataclass(frozen=True)
class Server:
    """A running MLflow server and the folder it keeps artifacts in."""

    url: str
    artifacts: Path


@cache
def server() -> Server:
    """One MLflow server for the length of this test process."""
    home = Path(tempfile.mkdtemp(prefix="penstock-mlflow-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database, artifacts = f"sqlite:///{home / 'mlflow.db'}", home / "artifacts"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", database, "--artifacts-destination", str(artifacts)]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log)
    atexit.register(_stop, process)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 240
    while not _healthy(url):
        assert process.poll() is None, (home / "log").read_text()
        assert time.monotonic() < deadline, (home / "log").read_text()
        time.sleep(0.2)
    return Server(url, artifacts)


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)

"""The parts of the local system: each a process of its own, and how to see that it is ready."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deployments.local_stack.services import API, ARRIVALS, FOR_ALL, HOST, MLFLOW, PENSTOCK, PREFECT, Part, Plan, Ports
from deployments.prefect_server.apply import POOL
from schemas.settings import Settings


def plan(settings: Settings, project: Path, deployment: str, ports: Ports, use_cases: Sequence[str]) -> Plan:
    """What runs here: MLflow and lakeFS only where no others are set, and a prediction server for each of the use cases."""
    from deployments.local_stack.lakefs import lake_parts

    root = settings.root
    prefect = f"http://{HOST}:{ports.take(PREFECT)}"
    environment = {
        **FOR_ALL,
        "PREFECT_HOME": str(root / "prefect"),
        "PREFECT_PROFILES_PATH": str(root / "prefect" / "profiles.toml"),
        "PREFECT_API_URL": f"{prefect}/api",
        "PENSTOCK_HOME": str(root),
        "PENSTOCK_PROJECT": str(project),
        "PENSTOCK_LANDING": str(settings.landing_dir),
        "PENSTOCK_REPORTS": str(settings.reports_dir),
        "PENSTOCK_DEPLOYMENT": deployment,
    }
    mlflow = [] if settings.mlflow_url else [_mlflow(root, ports.take(MLFLOW))]
    environment |= {"PENSTOCK_MLFLOW_URL": settings.mlflow_url or mlflow[0].address}
    lake, lake_told, notes = lake_parts(settings, ports)
    parts = (_prefect(prefect), *mlflow, *lake, *_workers(prefect), _landing(root), *_apis(ports, use_cases))
    return Plan(parts, {**inherited(), **environment, **lake_told}, notes)


def inherited() -> dict[str, str]:
    """This process's environment without the user's Prefect and MLflow: the system has its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}


def _module(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", *arguments)


def _prefect(address: str) -> Part:
    port = address.rpartition(":")[2]
    command = _module("prefect", "server", "start", "--host", HOST, "--port", port)
    return Part("prefect", command, address, f"{address}/api/health")


def _mlflow(root: Path, port: int) -> Part:
    """The small form: one worker, no jobs. Artifacts lie where they lie without the server, so that both can read them."""
    store = ("--backend-store-uri", f"sqlite:///{root / 'mlflow' / 'mlflow.db'}")
    artifacts = ("--default-artifact-root", str(root / "mlflow" / "artifacts"), "--no-serve-artifacts")
    command = _module("mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1", *store, *artifacts)
    return Part("mlflow", command, f"http://{HOST}:{port}", f"http://{HOST}:{port}/health")


def _workers(prefect: str) -> list[Part]:
    """One for trainings alone: arrivals that wait for their turn must not keep them waiting."""
    workers = []
    for name, queue, at_once in (
        ("worker", "default", ARRIVALS),
        ("trainer", "training", max(1, (os.cpu_count() or 1) // 2)),
    ):
        options = ("--pool", POOL, "--work-queue", queue, "--name", name, "--limit", str(at_once))
        health = f"{prefect}/api/work_pools/{POOL}/workers/filter"
        workers.append(Part(name, _module("prefect", "worker", "start", *options), health=health))
    return workers


def _landing(root: Path) -> Part:
    ready = root / "up" / "landing.ready"
    return Part("landing", (*PENSTOCK, "watch", "--ready-file", str(ready)), ready_file=ready)


def _apis(ports: Ports, use_cases: Sequence[str]) -> list[Part]:
    apis = []
    for name in use_cases:
        port = ports.take(API)
        address = f"http://{HOST}:{port}"
        command = (*PENSTOCK, "serve", name, "--port", str(port))
        apis.append(Part(f"api-{name}", command, address, f"{address}/healthz"))
    return apis

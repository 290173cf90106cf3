"""The `penstock` command in processes that are forked with its imports behind them, all of one environment from one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from prefect.settings import PREFECT_API_URL

from tests.forked import ROOT, fork

MAIN = "from deployments.cli import main; main()"
# What commands import late; test_command_imports.py is about what they import, and when.
IMPORTS = """
import deployments.commands.base, deployments.prefect_server.in_process
import flows.lifecycle, flows.promote, flows.rollback
import tasks.registry.mlflow.registry, xgboost
import mlflow.store.tracking.sqlalchemy_store, mlflow.store.model_registry.sqlalchemy_store
import tasks.versions.local.store, tasks.orchestration.locks
import tasks.reporting.model_card
"""


def penstock(home: Path, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with a home and this process's Prefect server."""
    api = PREFECT_API_URL.value() or ""
    environment = {**os.environ, "PENSTOCK_HOME": str(home), "PREFECT_API_URL": api, "PYTHONPATH": str(ROOT)}
    child = fork(MAIN, arguments, environment, imports=IMPORTS, strict=False)
    try:
        out, err = child.communicate(timeout=timeout)
        return subprocess.CompletedProcess(child.args, child.wait(), out, err)
    finally:
        child.kill()
        child.close()

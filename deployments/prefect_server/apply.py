"""The deployed system's definitions, brought to a Prefect server: work pool, limits, deployments and automations.

Everything here can be run again: what is there is brought up to date.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml  # type: ignore[import-untyped]

from schemas.errors import PenstockError, ServiceUnavailable, UsageError
from schemas.usecase import registered

FILE = "prefect.yaml"
POOL = "penstock"
SECONDS = 300
# Flows whose runs come one after another, within one use case.
IN_TURN = ("lifecycle", "train")


def definitions(folder: Path) -> Path:
    """The prefect.yaml that counts: the project's, where the folder has one, else Penstock's own."""
    ours = Path(str(files("deployments"))).resolve()
    places = (folder / FILE, ours.parent / FILE, ours / FILE)  # a checkout has it beside the package, a wheel inside
    file = next((place for place in places if place.is_file() and deployment_name(place)), None)
    if file is None:
        raise UsageError(f"no {FILE} that deploys flows.lifecycle in {', '.join(str(p.parent) for p in places)}")
    return file


def deployment_name(file: Path) -> str | None:
    """The name under which a prefect.yaml deploys the lifecycle."""
    return next((d["name"] for d in _deployments(file) if d.get("entrypoint") == "flows.lifecycle:lifecycle"), None)


def flows_of(file: Path) -> list[str]:
    """The flows of Penstock that a prefect.yaml deploys under the lifecycle's name."""
    name = deployment_name(file)
    entrypoints = (d.get("entrypoint", "").partition(":") for d in _deployments(file) if d.get("name") == name)
    return [flow for module, _, flow in entrypoints if module.startswith("flows.")]


def _deployments(file: Path) -> list[dict[str, Any]]:
    document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return document.get("deployments") or []


def apply(file: Path) -> Iterator[str]:
    """Bring all of it to the server in force; yields a line for each part. Raises ServiceUnavailable, PenstockError."""
    from prefect.client.orchestration import get_client

    from deployments.prefect_server import automations
    from tasks.orchestration import limit_name

    name = deployment_name(file)
    assert name
    with get_client(sync_client=True) as client:
        _reachable(client)
        yield _pool(client)
        limits = [limit_name(flow, use_case) for use_case in sorted(registered()) for flow in IN_TURN]
        for limit in limits:
            client.upsert_global_concurrency_limit_by_name(limit, 1)
        yield f"limits: {', '.join(limits) or 'none'}"
        _deploy(file)
        ids = _ids(client, name)
        for deployment in ids.values():
            _close(client, deployment)
        yield f"deployments: {', '.join(f'{flow}/{name}' for flow in sorted(ids))}"
        wanted = automations.automations(name, ids)
        automations.apply(client, wanted)
        yield f"automations: {len(wanted)}"


def _reachable(client: Any) -> None:
    if error := client.api_healthcheck():
        raise ServiceUnavailable(f"Prefect's server does not answer ({error}): start it, or set PREFECT_API_URL")


def _pool(client: Any) -> str:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    except ObjectAlreadyExists:
        return f"work pool: {POOL} ({client.read_work_pool(POOL).type}) is there"
    return f"work pool: {POOL} (process) is made"


def start_at_once() -> None:
    """Let the pool's processes be the engine from the start, with this interpreter, on a machine that is ours alone.

    Left to itself Prefect prepares the working directory of each run in a first process, which then loads all of Prefect
    again as the engine: that is a second of each start.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolUpdate
    from prefect.workers.process import ProcessWorker

    with get_client(sync_client=True) as client:
        # A pool that no worker has looked at yet has no template.
        template = client.read_work_pool(POOL).base_job_template or ProcessWorker.get_default_base_job_template()
        template["variables"]["properties"]["command"]["default"] = shlex.join(
            [sys.executable, "-P", "-m", "prefect.engine"]
        )
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))


def _deploy(file: Path) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    done = subprocess.run(
        command, cwd=file.parent, capture_output=True, text=True, check=False, timeout=SECONDS, env=_environment()
    )
    if done.returncode:
        last = " ".join((done.stderr or done.stdout).split())[-300:]
        raise PenstockError(f"prefect deploy --all with {file} failed: {last}")


def _close(client: Any, deployment: UUID) -> None:
    """Let the server refuse parameters that the flow does not name: Prefect would start the run, and it would crash."""
    schema = client.read_deployment(deployment).parameter_openapi_schema or {"type": "object"}
    closed = {**dict(schema), "additionalProperties": False}
    client.request(
        "PATCH", "/deployments/{id}", path_params={"id": deployment}, json={"parameter_openapi_schema": closed}
    ).raise_for_status()


def _environment() -> dict[str, str]:
    """Ours, with the server in force, whichever profile names it."""
    from prefect.settings import PREFECT_API_URL

    return {**os.environ, **({"PREFECT_API_URL": url} if (url := PREFECT_API_URL.value()) else {})}


def _ids(client: Any, name: str) -> dict[str, UUID]:
    from prefect.client.schemas.filters import DeploymentFilter

    deployments = client.read_deployments(deployment_filter=DeploymentFilter.model_validate({"name": {"any_": [name]}}))
    return {client.read_flow(each.flow_id).name: each.id for each in deployments}

"""What doctor sees of the deployed system: landing folder, deployments, automations, workers, and the processes of `up`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from deployments.diagnostics.finding import Finding
from deployments.local_stack.services import binary, read_state
from deployments.prefect_server.apply import POOL, definitions, flows_of
from schemas.distribution import install_command
from schemas.errors import UsageError
from schemas.settings import Settings
from tasks import ingestion

APPLY = "penstock deploy"


def deployment_findings(settings: Settings) -> list[Finding]:
    """Every part; nothing of Prefect where no server is set."""
    from deployments.prefect_server.in_process import api_url

    findings = [_landing(settings), *_system(settings)]
    if url := api_url():
        with suppress(httpx.HTTPError):  # that it does not answer is a finding of its own
            findings += _server(settings, url)
    return findings


def _landing(settings: Settings) -> Finding:
    folder = settings.landing_dir
    if not folder.exists():
        return Finding(name="landing", status="note", detail=f"{folder} is made by penstock up")
    if not os.access(folder, os.R_OK | os.X_OK):
        return Finding(name="landing", status="wrong", detail=f"{folder} cannot be read", mend="mend its permissions")
    files, strange = 0, []
    for path in ingestion.scan_landing_zone(folder):
        try:
            ingestion.locate_landed(folder, path)
            files += 1
        except UsageError as error:
            strange.append(str(error))
    if strange:
        mend = "move it to <landing>/<use case>/<input>/, or register the use case"
        return Finding(name="landing", status="note", detail=strange[0], mend=mend)
    return Finding(name="landing", status="ok", detail=f"{folder} ({files} files)")


def _system(settings: Settings) -> Iterator[Finding]:
    missing = [name for name in ("circus", "watchfiles") if not _installed(name)]
    if missing:
        yield Finding(
            name="up",
            status="note",
            detail=f"{' and '.join(missing)} not installed: penstock up needs both",
            mend=install_command("up"),
        )
    if binary("lakefs") is None:
        yield Finding(name="up", status="note", detail="lakefs is not installed: penstock up takes the embedded store")
    if state := read_state(settings):
        for name, pids in state["processes"].items():
            yield _process(name, pids, state)


def _process(name: str, pids: list[int], state: dict[str, Any]) -> Finding:
    where, log = state["addresses"].get(name, ""), f"{state['logs']}/{name}.log"
    if where and not _answers(where):
        return Finding(name=f"up {name}", status="wrong", detail=f"{where} does not answer", mend=f"see {log}")
    if not where and not any(_alive(pid) for pid in pids):
        # It may have died and been started again since the system came up.
        mend = f"circusctl --endpoint {state['circus']} status; its log is {log}"
        return Finding(name=f"up {name}", status="note", detail="is not the process that was started", mend=mend)
    return Finding(name=f"up {name}", status="ok", detail=where or f"process {pids[0]}")


def _server(settings: Settings, url: str) -> Iterator[Finding]:
    query = {"deployments": {"name": {"any_": [settings.deployment]}}}
    names = {_flow(url, each["flow_id"]) for each in _post(url, "deployments/filter", query)}
    if not names:
        yield Finding(name="deployments", status="note", detail=f"nothing is deployed to {url}", mend=APPLY)
        return
    missing = [flow for flow in flows_of(definitions(Path.cwd())) if flow not in names]
    if missing:
        lacking = ", ".join(f"{flow}/{settings.deployment}" for flow in missing)
        yield Finding(name="deployments", status="wrong", detail=f"no {lacking}", mend=APPLY)
    else:
        detail = ", ".join(f"{flow}/{settings.deployment}" for flow in sorted(names))
        yield Finding(name="deployments", status="ok", detail=detail)
    yield _automations(settings, url)
    yield _workers(url)


def _automations(settings: Settings, url: str) -> Finding:
    from deployments.prefect_server.automations import automations

    ours = [a for a in _post(url, "automations/filter", {}) if a["name"].startswith(f"{settings.deployment}: ")]
    if not ours:
        detail = "none: no event starts anything, and dead runs stay Running"
        return Finding(name="automations", status="wrong", detail=detail, mend=APPLY)
    wanted = {core.name for core in automations(settings.deployment, defaultdict(uuid4))}  # whatever they start
    if missing := sorted(wanted - {a["name"] for a in ours}):
        return Finding(name="automations", status="wrong", detail=f"no {missing[0]!r}", mend=APPLY)
    if off := [a["name"] for a in ours if not a["enabled"]]:
        mend = "switch it on in the dashboard"
        return Finding(name="automations", status="wrong", detail=f"{off[0]!r} is switched off", mend=mend)
    return Finding(name="automations", status="ok", detail=f"{len(ours)}")


def _workers(url: str) -> Finding:
    try:
        workers = _post(url, f"work_pools/{POOL}/workers/filter", {})
    except httpx.HTTPStatusError:
        return Finding(name="worker", status="wrong", detail=f"there is no work pool {POOL}", mend=APPLY)
    online = [worker["name"] for worker in workers if worker.get("status") == "ONLINE"]
    if not online:
        mend = f"prefect worker start --pool {POOL}"
        return Finding(name="worker", status="wrong", detail=f"nobody works for the pool {POOL}", mend=mend)
    return Finding(name="worker", status="ok", detail=", ".join(online))


def _post(url: str, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = httpx.post(f"{url}/{path}", json=body, timeout=10, trust_env=False)
    records: list[dict[str, Any]] = answer.raise_for_status().json()
    return records


def _flow(url: str, identity: str) -> str:
    return str(httpx.get(f"{url}/flows/{identity}", timeout=10, trust_env=False).raise_for_status().json()["name"])


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None

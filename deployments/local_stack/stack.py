"""The order of the start: servers first, then what is told to them, then what works with them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock, Timeout

from deployments.local_stack.plan import plan
from deployments.local_stack.process_manager import ProcessManager
from deployments.local_stack.services import STATE, Part, Plan, Ports, read_state
from deployments.prefect_server.apply import apply, definitions, deployment_name, start_at_once
from schemas.errors import PenstockError, Refused, ServiceUnavailable, UsageError
from schemas.settings import Settings, read_settings
from tasks.orchestration import stop_server

ENVIRONMENT = "environment.sh"
FOR_TERMINALS = ("PENSTOCK_", "LAKECTL_", "PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILES_PATH")
STOP_SECONDS = 300.0  # in which every part has come to its end, or was killed
WORKERS = ("worker", "trainer", "landing")


@dataclass(frozen=True)
class Running:
    """A system that is up."""

    settings: Settings
    plan: Plan
    keeper: ProcessManager

    def addresses(self) -> dict[str, str]:
        """Where each part answers."""
        return {part.name: part.address for part in self.plan.parts if part.address}


@contextmanager
def up(
    settings: Settings,
    project: Path,
    use_cases: Sequence[str],
    tell: Callable[[str], None],
    ports: Ports | None = None,
) -> Iterator[Running]:
    """The whole system with a prediction server for each use case, ready when the block begins and gone when it ends.

    Raises UsageError where the home's system is up already, PenstockError for a part that does not get ready.
    """
    folder = settings.root / "up"
    folder.mkdir(parents=True, exist_ok=True)
    file = definitions(project)
    with _alone(folder):
        _end_local_server(settings, tell)
        planned = plan(settings, project, deployment_name(file) or "", ports or Ports(), use_cases)
        _make_folders(settings, use_cases)
        with _in_environment(planned.environment), ProcessManager(folder, planned.parts, planned.environment) as keeper:
            _bring_up(keeper, planned, file, use_cases, tell)
            running = Running(read_settings(), planned, keeper)
            _write_state(folder, running)
            try:
                yield running
            finally:
                (folder / STATE).unlink(missing_ok=True)


def _end_local_server(settings: Settings, tell: Callable[[str], None]) -> None:
    """The system has a Prefect server of its own on the same database."""
    try:
        stop_server(settings.root)
    except Refused as why:
        tell(f"{why}; it ends when it is no longer used")


def _bring_up(
    keeper: ProcessManager, planned: Plan, file: Path, use_cases: Sequence[str], tell: Callable[[str], None]
) -> None:
    for note in planned.notes:
        tell(note)
    servers = [part for part in planned.parts if part.name not in WORKERS]
    for part in servers:
        keeper.start(part)
    for part in servers:
        _wait(keeper, part)
        tell(f"{part.name}: {part.address}")
    _init_lake(planned, use_cases)
    for line in apply(file):
        tell(line)
    start_at_once()
    workers = [part for part in planned.parts if part.name in WORKERS]
    for part in workers:
        keeper.start(part)
    for part in workers:
        _wait(keeper, part)
        tell(f"{part.name}: ready")


def _init_lake(planned: Plan, use_cases: Sequence[str]) -> None:
    """Repositories, protection and hook of every use case that is served, on our own lakeFS."""
    if any(part.name == "lakefs" for part in planned.parts):
        from deployments.lakefs_server.setup import init

        settings = read_settings()
        with settings.active():
            for name in use_cases:
                init(settings, name, check=False)


def _wait(keeper: ProcessManager, part: Part) -> None:
    deadline = time.monotonic() + part.seconds
    while not is_ready(part):
        if not keeper.alive() or time.monotonic() > deadline:
            raise PenstockError(f"{part.name} is not ready after {part.seconds:.0f} s; see {keeper.log(part)}")
        time.sleep(0.2)


def is_ready(part: Part) -> bool:
    """Whether a part answers, or has said that it is ready."""
    if part.ready_file:
        return part.ready_file.exists()
    try:
        if part.health.endswith("/workers/filter"):
            runs = httpx.post(part.health, json={}, timeout=5, trust_env=False).json()
            return any(worker["name"] == part.name and worker.get("status") == "ONLINE" for worker in runs)
        return httpx.get(part.health, timeout=5, trust_env=False).is_success
    except (httpx.HTTPError, ValueError):
        return False


def _make_folders(settings: Settings, use_cases: Sequence[str]) -> None:
    for folder in (settings.landing_dir, settings.root / "prefect", settings.root / "mlflow"):
        folder.mkdir(parents=True, exist_ok=True)
    for name in use_cases:
        (settings.landing_dir / name).mkdir(exist_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"the system of {folder.parent} is up already; stop it, or set PENSTOCK_HOME") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _in_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """This process sees what the parts see: it talks to them."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _write_state(folder: Path, running: Running) -> None:
    state: dict[str, Any] = {
        "format_version": 1,
        "pid": os.getpid(),
        "circus": running.keeper.endpoint,
        "addresses": running.addresses(),
        "processes": {part.name: running.keeper.pids(part) for part in running.plan.parts},
        "landing": str(running.settings.landing_dir),
        "logs": str(running.keeper.logs),
    }
    (folder / STATE).write_text(json.dumps(state, indent=2) + "\n")
    _write_environment(folder / ENVIRONMENT, running.plan.environment)


def _write_environment(path: Path, environment: Mapping[str, str]) -> None:
    """What another terminal needs to work with the system; it may hold keys, so it is its owner's alone."""
    ours = {name: value for name, value in sorted(environment.items()) if name.startswith(FOR_TERMINALS)}
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(terminal_script(ours))


def terminal_script(variables: Mapping[str, str]) -> str:
    """A script for a shell to source: it sets variables, and defines `penstock_deactivate`, which brings back what was.

    Args:
        variables: Names and values.

    Returns:
        Lines that sh, bash and zsh understand; sourced twice, it still brings back what was before the first time.
    """
    lines = ["if command -v penstock_deactivate > /dev/null; then penstock_deactivate; fi"]
    back = []
    for name, value in variables.items():
        kept = f"_PENSTOCK_WAS_{name}"
        lines += [f'if [ -n "${{{name}+x}}" ]; then {kept}="${name}"; else unset {kept}; fi']
        lines += [f"export {name}={shlex.quote(value)}"]
        back += [f'  if [ -n "${{{kept}+x}}" ]; then {name}="${kept}"; else unset {name}; fi', f"  unset {kept}"]
    return "\n".join([*lines, "penstock_deactivate() {", *back, "  unset -f penstock_deactivate", "}", ""])


def stop_system(settings: Settings) -> int | None:
    """Have the home's `penstock up` end, and wait for it.

    Returns its process, or None where nothing is up. Raises ServiceUnavailable where it does not end.
    """
    lock = FileLock(settings.root / "up" / "lock", thread_local=False)
    state = read_state(settings)
    if state is None or not _is_taken(lock):  # then the process is not that of the state
        return None
    os.kill(state["pid"], signal.SIGTERM)
    try:
        with lock.acquire(timeout=STOP_SECONDS):
            return int(state["pid"])
    except Timeout:
        raise ServiceUnavailable(f"the system of {settings.root} does not end; see {state['logs']}") from None


def _is_taken(lock: FileLock) -> bool:
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True

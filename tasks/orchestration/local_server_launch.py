"""The start of a home's Prefect server as a process of its own."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from importlib.resources import files as resources
from pathlib import Path
from urllib.parse import urlsplit

from tasks.orchestration.local_server_files import ServerFiles, ServerState, held
from tasks.orchestration.prefect_environment import SERVER_SETTINGS, prefect_home

LOOK_SECONDS = 2.0  # that others may take who only look whether a server lives, and between two looks of who uses it
OF_A_SERVER = ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_BASE_PATH")
LOGGING = {
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
}


def start(files: ServerFiles, port: int, idle_minutes: float) -> None:
    """Start a server as a process of its own, which inherits the lock that says that it lives."""
    home = prefect_home(files.root)
    files.make_key()
    files.shorten_log()
    home.mkdir(parents=True, exist_ok=True)  # Prefect makes no parents
    with held(files.alive_lock, seconds=LOOK_SECONDS) as alive, files.log.open("ab") as log:
        if alive is None:
            return
        files.forget_state()
        command = [sys.executable, "-P", "-m", "tasks.orchestration.local_server_process"]
        subprocess.run(
            [*command, str(files.root), str(port), str(idle_minutes)],
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=files.folder,
            pass_fds=[alive],
            start_new_session=True,
            check=False,  # that it failed is seen by the lock, which is free then
        )


def _environment(home: Path) -> dict[str, str]:
    """What the server's process sees: nothing of ours, no other server, and paths that hold in its working directory."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith("PENSTOCK_") and n not in OF_A_SERVER}
    ours = Path(str(resources("tasks"))).resolve().parent
    paths = [os.path.abspath(path) for path in kept.get("PYTHONPATH", "").split(os.pathsep) if path]
    if str(ours) not in (*paths, *site.getsitepackages()):
        paths.append(str(ours))
    kept["PYTHONPATH"] = os.pathsep.join(paths)
    return {**SERVER_SETTINGS, **kept, "PREFECT_HOME": str(home), **LOGGING}


def port_of(before: ServerState | None) -> int:
    """The port of a server before, since a long process may still talk to it; 0 where there was none."""
    return (urlsplit(before.url).port or 0) if before else 0

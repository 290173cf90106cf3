"""Prefect in this process: quiet, without telemetry, its home under ours unless the user has a server of their own.

Call `prepare` before anything imports prefect: Prefect reads its settings from the environment at import.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import UsageError
from schemas.settings import Settings
from tasks.orchestration import SERVER_SETTINGS, begin_server, has_own_prefect

QUIET = {
    **SERVER_SETTINGS,
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",  # of its background threads, which print whole events
    # The lines of a flow run are for the dashboard and not for the terminal; those of its task runs for neither.
    "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
FLUSH = 5.0  # s that the last lines of a log may take to be sent
LOUD = ("mlflow", "alembic", "prefect", "EventsWorker", "APILogWorker", "httpx", "evidently", "distributed", "stamina")
OURS = ("PREFECT_", "MLFLOW_", "PENSTOCK_")
KEPT = ("PENSTOCK_SERVER", "PENSTOCK_SERVER_IDLE_MINUTES")  # how a server is started says nothing of data or places


def clear_user_settings() -> None:
    """Drop every Prefect, MLflow and Penstock setting of data and places from this process, as the demo must."""
    for name in [n for n in os.environ if n.startswith(OURS) and n not in KEPT]:
        del os.environ[name]


def prepare(
    settings: Settings,
    *,
    isolated: bool = False,
    debug: bool = False,
    flows: bool = False,
    check: Callable[[], None] | None = None,
) -> None:
    """Set the environment for Prefect in this process.

    `isolated` takes the home's own Prefect even where the user has one. `flows` says that flows will run: where they will
    need the home's server, it starts while this process imports what it needs. `check` is called before anything is made or
    started, and raises what can be refused at once.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if debug:
        os.environ |= {"PREFECT_LOGGING_LEVEL": "INFO", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO"}
    if own := isolated or not has_own_prefect():
        os.environ["PREFECT_HOME"] = str(settings.root / "prefect")
        os.environ["PREFECT_PROFILES_PATH"] = str(settings.root / "prefect" / "profiles.toml")
    if check:
        with settings.active():
            check()
    if own:
        _make_home(settings.root / "prefect", required=flows)
        if flows and settings.server == "shared" and not api_url():
            begin_server(settings.root, settings.server_idle_minutes)
    silence_third_parties()


def _make_home(folder: Path, *, required: bool) -> None:
    """Make the folder, since Prefect makes no parents. Commands that only read do without it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if required:
            raise UsageError(f"cannot make {folder} ({error.strerror}): set PENSTOCK_HOME to another folder") from None


def api_url() -> str | None:
    """URL of the Prefect server that is set, told without the import of Prefect where only the environment may set one."""
    if "prefect.settings" not in sys.modules and not _has_settings_file():
        return os.environ.get("PREFECT_API_URL") or None
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    return str(url) if url else None


def _has_settings_file() -> bool:
    """Whether there is a file that Prefect would read settings from."""
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    files = {profiles: "", Path("prefect.toml"): "", Path(".env"): "PREFECT_", Path("pyproject.toml"): "[tool.prefect"}
    return any(path.is_file() and word in path.read_text(errors="replace") for path, word in files.items())


def silence_third_parties() -> None:
    """Third-party warnings and log lines are not for the person at the terminal."""
    warnings.simplefilter("ignore")
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def in_process() -> Iterator[None]:
    """Flows run in this process without Prefect's heartbeat, whose thread costs a second at the exit of every flow.

    Lines that are still to be sent to the API are sent at the end, while its server is there.
    """
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        try:
            yield
        finally:
            APILogWorker.drain_all(timeout=FLUSH)

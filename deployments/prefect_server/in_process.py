"""Prefect in this process: quiet, without telemetry, its home under ours unless the user has a server of their own.

Call `prepare` before anything imports prefect: Prefect reads its settings from the environment at import.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.settings import Settings

QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    # The lines of a flow run are for the dashboard and not for the terminal; those of its task runs for neither.
    "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # SQLite stalls where each task event is a transaction of its own.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
FLUSH = 5.0  # s that the last lines of a log may take to be sent
LOUD = ("mlflow", "alembic", "prefect", "EventsWorker", "APILogWorker", "httpx", "evidently", "distributed", "stamina")
OURS = ("PREFECT_", "MLFLOW_", "PENSTOCK_")


def clear_user_settings() -> None:
    """Drop every Prefect, MLflow and Penstock setting of the user's from this process, as the demo must."""
    for name in [n for n in os.environ if n.startswith(OURS)]:
        del os.environ[name]


def prepare(settings: Settings, *, isolated: bool = False, debug: bool = False) -> None:
    """Set the environment for Prefect in this process.

    `isolated` takes the home's own Prefect even where the user has one.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if debug:
        os.environ |= {"PREFECT_LOGGING_LEVEL": "INFO", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO"}
    if isolated or not has_prefect_of_their_own():
        (settings.root / "prefect").mkdir(parents=True, exist_ok=True)  # Prefect makes no parents
        os.environ["PREFECT_HOME"] = str(settings.root / "prefect")
        os.environ["PREFECT_PROFILES_PATH"] = str(settings.root / "prefect" / "profiles.toml")
    silence_third_parties()


def has_prefect_of_their_own() -> bool:
    """Whether the user has told Prefect where its server or its home is."""
    configured = any(
        os.environ.get(n) for n in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")
    )
    return configured or (Path.home() / ".prefect" / "profiles.toml").exists()


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

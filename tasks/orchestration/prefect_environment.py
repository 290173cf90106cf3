"""Which Prefect this process works with, told from its environment alone: Prefect reads its settings at import."""

from __future__ import annotations

import os
from pathlib import Path

# Of the servers that we start. SQLite stalls where each task event is a transaction of its own.
SERVER_SETTINGS = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
OF_THE_USER = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")


def has_own_prefect() -> bool:
    """Whether the user has told Prefect where its server or its home is.

    Returns:
        Whether an environment variable or a file of profiles says so.
    """
    return any(os.environ.get(name) for name in OF_THE_USER) or (Path.home() / ".prefect" / "profiles.toml").exists()


def prefect_home(root: Path) -> Path:
    """Where Prefect keeps what it keeps: the user's own place where there is one, else in ours.

    Args:
        root: Penstock's home.

    Returns:
        The folder, which may not exist yet.
    """
    if not has_own_prefect():
        return root / "prefect"
    return Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser().resolve()

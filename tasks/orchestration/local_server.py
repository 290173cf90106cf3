"""Flows without a Prefect server of the user's: all that run in one home share one, warm server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.context import FlowRunContext
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_SERVER_EPHEMERAL_ENABLED,
    get_current_settings,
    temporary_settings,
)

from schemas.errors import UsageError
from schemas.settings import in_force
from tasks.orchestration.local_server_control import server_in_use

_used: set[str] = set()  # URLs of servers of homes that this process has used


@contextmanager
def use_local_server() -> Iterator[None]:
    """Run flows of the block on the server of the home in force, which is started where none runs.

    Nothing is done where a server is set, within a flow run, where Prefect may start no server, or where the settings ask
    for an ephemeral one. Where the home can have none (another user's runs there, or it cannot be written), Prefect starts
    one for this process alone.

    Yields:
        Nothing.

    Raises:
        ServiceUnavailable: The server did not start.
        UsageError: Prefect's database cannot be written.
    """
    if PREFECT_API_URL.value() or FlowRunContext.get() or not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        yield
        return
    settings = in_force()
    if settings.server == "ephemeral":
        _require_writable_database()
        yield
        return
    with server_in_use(settings.root, settings.server_idle_minutes) as server:
        if server is None:
            _require_writable_database()
            yield
            return
        _used.add(server.url)
        with temporary_settings({PREFECT_API_URL: server.url, PREFECT_API_AUTH_STRING: server.key}):
            yield


def is_local_server(url: str) -> bool:
    """Whether this is the server of a home, which serves one machine.

    Args:
        url: URL of an API.

    Returns:
        Whether this process has used it as one.
    """
    return url in _used


def _require_writable_database() -> None:
    """Raise UsageError where Prefect's database is a file that cannot be written: Prefect would try for ever."""
    configured = get_current_settings().server.database.connection_url
    url = configured.get_secret_value() if configured else ""
    if not url.startswith("sqlite+aiosqlite:////"):
        return
    path = Path(url.removeprefix("sqlite+aiosqlite:///"))
    lowest = next(place for place in (path, *path.parents) if place.exists())
    if not os.access(lowest, os.W_OK):
        raise UsageError(f"Prefect cannot keep its runs in {path}, which cannot be written: set PENSTOCK_HOME elsewhere")

"""The process of a home's Prefect server: `python -m tasks.orchestration.local_server_process HOME PORT IDLE_MINUTES`.

It listens on loopback alone, asks for the home's key, ends after its idle time, and ends at once when its home is gone:
what it would write then would be left behind. It runs Prefect's server as Prefect does for a process without one: no user
interface, no scheduler.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import platform
import socket
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.orchestration.local_server_control import PROOF, proof
from tasks.orchestration.local_server_files import ServerFiles, ServerState, take

HOST = "127.0.0.1"
GRACE = 5  # s that requests under way have at the end
LOOK = 0.5  # s between two looks at the home, the log and the idle time

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


@dataclass
class Watched:
    """An ASGI application that notes when it was last asked for something, and shows that it has the key."""

    app: App
    key: str
    last_used: float = field(default_factory=time.monotonic)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope["path"] == PROOF:
            await self._show(scope["query_string"].decode("latin-1"), send)
            return
        self.last_used = time.monotonic()
        try:
            await self.app(scope, receive, send)
        finally:
            self.last_used = time.monotonic()

    async def _show(self, nonce: str, send: Any) -> None:
        unused = time.monotonic() - self.last_used
        body = json.dumps({"proof": proof(self.key, nonce), "unused_seconds": unused}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@dataclass
class Home:
    """What the server knows of its home: whether it is still there, and whether anybody uses the server."""

    files: ServerFiles
    state: ServerState
    written: tuple[int, int] = (0, 0)

    def say(self, state: ServerState) -> None:
        """Write the state file, and remember which file it is."""
        self.files.write_state(state)
        self.state, self.written = state, self._identity()

    def is_there(self) -> bool:
        """Whether the state file at the home's path is the one that was written."""
        with suppress(OSError):
            return self._identity() == self.written
        return False

    def close(self) -> bool:
        """Take the lock of those who use the server, unless somebody has it, and with it the state file away."""
        descriptor = os.open(self.files.use_lock, os.O_RDWR | os.O_CREAT, 0o600)
        if take(descriptor, fcntl.LOCK_EX):
            self.files.forget_state()
            return True  # the lock goes with this process
        os.close(descriptor)
        return False

    def _identity(self) -> tuple[int, int]:
        status = self.files.state_file.stat()
        return status.st_dev, status.st_ino


async def watch(home: Home, app: Watched, server: Any) -> None:
    """Look after the home, the log and the idle time until the server ends."""
    while not server.should_exit:
        await asyncio.sleep(LOOK)
        if not home.is_there():
            os._exit(0)
        home.files.shorten_log()
        if time.monotonic() - app.last_used > home.state.idle_minutes * 60:
            if home.close():
                server.should_exit = True
            app.last_used = time.monotonic()  # somebody uses it: the idle time begins when they are done


async def serve(home: Home, listening: socket.socket, key: str) -> None:
    """Run Prefect's server until it is told to end, or nobody needs it."""
    import uvicorn
    from prefect.server.api.server import create_app

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            remember_schema(home.files)
            home.say(replace(home.state, ready=True))

    app = Watched(create_app(ephemeral=True, final=True), key)
    config = uvicorn.Config(app, log_level="warning", use_colors=False, timeout_graceful_shutdown=GRACE)
    server = Server(config)
    watcher = asyncio.create_task(watch(home, app, server))
    await server.serve([listening])
    watcher.cancel()


def is_newest(files: ServerFiles) -> bool:
    """Whether the database has the schema that this version of Prefect left there: it need not be migrated again."""
    with suppress(OSError, ValueError):
        known, found = json.loads((files.folder / "schema.json").read_text()), _schema()
        # Wherever it lies now: a home that was copied or moved has brought its database along.
        return found["revision"] != "" and all(known[name] == found[name] for name in ("prefect", "revision"))
    return False


def remember_schema(files: ServerFiles) -> None:
    """Note which schema the database has, after Prefect has brought it to its newest."""
    (files.folder / "schema.json").write_text(json.dumps(_schema()))


def _schema() -> dict[str, str]:
    """Prefect's version, its database, and the revision of that database; '' where it is not a file or cannot be read."""
    from prefect.settings import get_current_settings

    configured = get_current_settings().server.database.connection_url
    url, revision = configured.get_secret_value() if configured else "", ""
    with suppress(sqlite3.Error):
        path = Path(url.removeprefix("sqlite+aiosqlite:///"))
        if url.startswith("sqlite+aiosqlite:///") and path.exists():
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
                revision = str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    return {"prefect": version("prefect"), "database": url if revision else "", "revision": revision}


def listen(port: int) -> socket.socket:
    """A socket on loopback: at this port where it is free, else at any."""
    for wanted in (port, 0):
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((HOST, wanted))
        except OSError:
            bound.close()
            continue
        return bound
    raise OSError("no free port on loopback")


def main(root: Path, port: int, idle_minutes: float) -> None:
    """Serve the home."""
    files, listening = ServerFiles(root), listen(port)
    url = f"http://{HOST}:{listening.getsockname()[1]}/api"
    state = ServerState(
        url=url,
        pid=os.getpid(),
        home=str(root),
        prefect_home=os.environ["PREFECT_HOME"],
        host=platform.node(),
        prefect=version("prefect"),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        idle_minutes=idle_minutes,
    )
    home = Home(files, state)
    home.say(state)
    key = files.key()
    os.environ.update(
        PREFECT_SERVER_API_AUTH_STRING=key,
        PREFECT_SERVER_UI_ENABLED="false",
        # Blocks register themselves when they are saved. Not memoized: a later server with a dashboard must do it.
        PREFECT_SERVER_REGISTER_BLOCKS_ON_START="false",
        PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION="false",
    )
    from prefect.settings import PREFECT_SERVER_DATABASE_MIGRATE_ON_START, temporary_settings

    with temporary_settings({PREFECT_SERVER_DATABASE_MIGRATE_ON_START: not is_newest(files)}):
        asyncio.run(serve(home, listening, key))
    if home.is_there():
        files.forget_state()


if __name__ == "__main__":
    # Whoever started this process waits for its end: the server is a child of its own, and inherits the lock alive.lock.
    if os.fork():
        os._exit(0)
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
    os._exit(0)  # threads of the database may still wait for work

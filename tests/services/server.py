"""A real lakeFS server for tests: one a process, started when it is first needed, stopped when the process ends."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import httpx
import pytest

from schemas.settings import Settings
from tasks.versions.lakefs.client import Lake
from tasks.versions.lakefs.store import LakeFSStore
from tests.ports import free_port

KEY_ID, SECRET = "AKIAPENSTOCKTESTS000", "only-for-servers-that-tests-start-000000"
HOOK_TOKEN = "token-that-the-test-server-shows-its-hooks"
PREFIX = "penstock-lakefs-"
SECONDS = 60.0
HOW = "no lakeFS server on PATH or in ~/.lakefs/bin: python -m lakefs.download fetches one"
_DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG


@dataclass
class Server:
    """A running server with data of its own."""

    process: subprocess.Popen[bytes]
    home: Path
    port: int

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """lakeFS's own variables for a client."""
        return {
            "LAKECTL_SERVER_ENDPOINT_URL": self.url,
            "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": KEY_ID,
            "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": SECRET,
        }

    def lake(self, url: str | None = None, **credentials: str) -> Lake:
        """A client; `url` may lead through a proxy."""
        return Lake(**{"host": url or self.url, "username": KEY_ID, "password": SECRET, **credentials})

    def store(self, name: str = "", url: str | None = None, **settings: object) -> LakeFSStore:
        """A repository of its own, not made yet."""
        told = Settings(**settings)  # type: ignore[arg-type]
        return LakeFSStore(f"lakefs://{name or new_repository()}", told, self.lake(url))

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again on its data, at its address."""
        self.process = _start(self.home, self.port)
        _wait(self.process, self.port, self.home)

    def stop(self) -> None:
        """Stop it and remove its data."""
        self.process.terminate()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


def new_repository() -> str:
    """A name that no other test uses."""
    return f"t-{uuid.uuid4().hex[:20]}"


def binary() -> str | None:
    """The server's binary, where lakeFS's Python package looks for it."""
    return shutil.which("lakefs") or shutil.which("lakefs", path=str(Path.home() / ".lakefs" / "bin"))


@lru_cache(maxsize=1)
def server() -> Server:
    """The server of this process; its address and credentials are put into the environment. Skips where there is none."""
    found = started()
    os.environ.update(found.environment)
    return found


def started() -> Server:
    """A server of the caller's own, which must not live longer than this process."""
    if binary() is None:
        pytest.skip(HOW)
    _remove_what_killed_tests_left()
    home = Path(tempfile.mkdtemp(prefix=PREFIX))
    (home / "owner").write_text(str(os.getpid()))
    for _ in range(3):
        port = free_port()
        process = _start(home, port)
        if _wait(process, port, home):
            found = Server(process, home, port)
            atexit.register(found.stop)
            return found
    raise RuntimeError(f"lakeFS did not start: {_tail(home)}")


def _remove_what_killed_tests_left() -> None:
    """A server dies with its test process, but its folder stays where that could not tidy up."""
    for home in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            os.kill(int((home / "owner").read_text()), 0)
        except ProcessLookupError:
            shutil.rmtree(home, ignore_errors=True)
        except (OSError, ValueError):
            pass  # somebody else's, or just being made


def _start(home: Path, port: int) -> subprocess.Popen[bytes]:
    command = binary()
    assert command
    environment = {
        "HOME": str(home),
        "PATH": os.environ.get("PATH", ""),
        "LAKEFS_LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "LAKEFS_INSTALLATION_USER_NAME": "admin",
        "LAKEFS_INSTALLATION_ACCESS_KEY_ID": KEY_ID,
        "LAKEFS_INSTALLATION_SECRET_ACCESS_KEY": SECRET,
        "LAKEFS_STATS_ENABLED": "false",
        "LAKEFS_SECURITY_CHECK_LATEST_VERSION": "false",
        "LAKEFSACTION_PENSTOCK_TOKEN": HOOK_TOKEN,
    }
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            [command, "run", "--local-settings"],
            env=environment,
            cwd=home,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,
        )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)


def _wait(process: subprocess.Popen[bytes], port: int, home: Path) -> bool:
    """Whether the server came up; False where it ended, as when another process took the port."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/_health", timeout=5, trust_env=False).is_success:
                return True
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            process.kill()
            raise TimeoutError(f"lakeFS is not up after {SECONDS} s: {_tail(home)}")
        time.sleep(0.05)
    return False


def _tail(home: Path) -> str:
    return (home / "log").read_text(errors="replace")[-500:]

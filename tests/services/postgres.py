"""A PostgreSQL server of Debian's packages for tests: its own folder and port, no durability, stopped by its process."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.distribution import install_command
from tests.ports import free_port

SECONDS = 60.0
HOW = "no PostgreSQL server in /usr/lib/postgresql: Debian's package postgresql brings one"
USER = "penstock"
_DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG
FAST = ("-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=60")


@dataclass(frozen=True)
class Server:
    """A running server."""

    binaries: Path
    port: int

    def url(self, database: str, driver: str) -> str:
        """SQLAlchemy's URL of a database that is made here. The server trusts its own machine."""
        self.ask(f'CREATE DATABASE "{database}"')
        return f"postgresql+{driver}://{USER}@127.0.0.1:{self.port}/{database}"

    def ask(self, query: str, database: str = "postgres") -> str:
        """What psql prints for a query."""
        told = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database, "-tAc", query]
        done = subprocess.run([str(self.binaries / "psql"), *told], capture_output=True, text=True, check=True)
        return done.stdout.strip()


def wanted() -> Path:
    """PostgreSQL's programs; skips the test where they or a driver are missing."""
    programs = binaries()
    if programs is None:
        pytest.skip(HOW)
    for driver in ("psycopg2", "asyncpg"):
        if importlib.util.find_spec(driver) is None:
            pytest.skip(f"{driver} is not installed: {install_command('postgres')}")
    return programs


def binaries() -> Path | None:
    """The newest server's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parents[1].name))
    return found[-1].parent if found else None


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    """A server for the block."""
    home = Path(tempfile.mkdtemp(prefix="penstock-postgres-", dir="/tmp"))
    data, port = home / "data", free_port()
    if os.getuid() == 0:
        who = pwd.getpwnam(_user())
        os.chown(home, who.pw_uid, who.pw_gid)
    try:
        init = ["initdb", "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(_as_user(programs, init), check=True, capture_output=True, cwd=home)
        where = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(home)]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                _as_user(programs, ["postgres", *where, *FAST]),
                stdout=log,
                stderr=log,
                cwd=home,
                preexec_fn=_die_with_parent,
            )
        try:
            _wait(programs, process, port, home / "log")
            yield Server(programs, port)
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown
            process.wait(SECONDS)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _user() -> str:
    """Who runs the server where the tests run as root, which PostgreSQL refuses."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _as_user(programs: Path, command: list[str]) -> list[str]:
    told = [str(programs / command[0]), *command[1:]]
    if os.getuid() != 0:
        return told
    who = pwd.getpwnam(_user())
    return ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "--", *told]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _wait(programs: Path, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    deadline = time.monotonic() + SECONDS
    while subprocess.run(ready, check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)

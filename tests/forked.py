"""Children forked by a process that has their imports behind it, and what a parent does with them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
# Read when they are used, not at import: children that differ in them come from one process.
READ_LATE = ("PENSTOCK_", "LAKECTL_", "PYTEST_")
# What products import when they are first asked: a child has it behind it where its parent has.
LATE = (
    "tasks.registry.mlflow.registry",  # first: it imports MLflow quietly
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "tasks.versions.lakefs.store",
    "tasks.versions.local.store",
    "lakefs.client",
    "scipy.special",
    "xgboost",
)
SERVER = """
import socket, sys
from tests.fork_server import run, serve
with socket.socket(fileno=int(sys.argv[1])) as connection:
    request = serve(connection)
if request:
    run(request)
"""


class Child:
    """A running child; its interface is that of `subprocess.Popen`, as far as tests need it."""

    def __init__(self, args: list[str], stdin: IO[str], stdout: IO[str], stderr: IO[str], report: IO[str]) -> None:
        self.args, self.stdin, self.stdout, self.stderr, self._report = args, stdin, stdout, stderr, report
        self.pid = int(report.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Exit code, None while it runs."""
        if self.returncode is None and select.select([self._report], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Returns the exit code, minus the signal where one ended it."""
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._report.readline())
        return self.returncode

    def communicate(self, input: str = "", timeout: float | None = None) -> tuple[str, str]:
        """Write its last input, collect what it says, and wait for its end."""
        with contextlib.suppress(BrokenPipeError):  # it has ended and did not read everything
            self.stdin.write(input)
        self._close_input()
        with ThreadPoolExecutor(2) as readers:
            told = [readers.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            return told[0].result(), told[1].result()

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Wait for its end and close its streams."""
        self.wait()
        self._close_input()
        for stream in (self.stdout, self.stderr, self._report):
            stream.close()

    def _close_input(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()


def fork(
    script: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    imports: str | None = None,
    strict: bool = True,
    errors: int | None = None,
) -> Child:
    """A child that runs a script in the project's folder, all three streams piped.

    Args:
        script: As for Python's -c. What it begins by importing is imported before the fork.
        arguments: Its arguments.
        environment: All of its variables.
        imports: Statements that import what the script imports late; None for what this process has imported of LATE.
        strict: Whether warnings are errors.
        errors: A file that takes its standard error instead of a pipe.

    Returns:
        The child, which runs.
    """
    early = frozenset((name, value) for name, value in environment.items() if not name.startswith(READ_LATE))
    pipes = [os.pipe() for _ in range(4)]
    theirs = [pipes[0][0], *(write for _, write in pipes[1:])]
    request: dict[str, object] = {"script": script, "arguments": [*arguments], "environment": {**environment}}
    if errors is not None:
        os.dup2(errors, theirs[2])
    request["imports"] = _late() if imports is None else imports
    _server(early, ("-W", "error") if strict else ()).send(request, theirs)
    for fd in theirs:
        os.close(fd)
    stdin = os.fdopen(pipes[0][1], "w")
    stdout, stderr, report = (os.fdopen(read) for read, _ in pipes[1:])
    return Child([sys.executable, "-c", script, *arguments], stdin, stdout, stderr, report)


def _late() -> str:
    return "\n".join(f"import {name}" for name in LATE if name in sys.modules)


class _Server:
    """A process that forks the children of an environment; it ends with this one, or where many others are used since."""

    def __init__(self, environment: Mapping[str, str], warnings: tuple[str, ...]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, *warnings, "-c", SERVER, str(number)]
            process = subprocess.Popen(command, env=environment, cwd=ROOT, pass_fds=[number], stdin=subprocess.DEVNULL)
        weakref.finalize(self, _end, self._socket, process)

    def send(self, request: Mapping[str, object], fds: Sequence[int]) -> None:
        """Ask for a child with these files as its streams."""
        socket.send_fds(self._socket, [json.dumps(request).encode()], fds)


def _end(connection: socket.socket, process: subprocess.Popen[bytes]) -> None:
    connection.close()
    process.wait(60)


@lru_cache(maxsize=2)
def _server(environment: frozenset[tuple[str, str]], warnings: tuple[str, ...]) -> _Server:
    return _Server(dict(environment), warnings)

"""A process that has imported what children need and forks one for each request: a script then starts at once.

A child is a process like any other: it can be killed, has its own streams, environment and end. Only the imports that the
script begins with were done before it was forked, under the same warning filters and with the same environment.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from types import ModuleType
from typing import Any

FDS = 4  # of a child: standard input, output, error, and where its process id and its end are written
LIMIT = 1 << 20  # bytes of a request


def serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork a child for each request. Returns the request in the child, None in the parent once nobody asks any more."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    reports: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([connection, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _report_ends(reports)
        if connection not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(connection, LIMIT, FDS)
        if not message:
            return _end(reports)
        request = json.loads(message)
        _import(request["script"])
        _import(request["imports"])
        gc.freeze()
        if not (child := os.fork()):
            connection.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (woken, wake, *reports.values()):
                os.close(fd)
            _become(request, fds)
            return dict(request)
        for fd in fds[:3]:
            os.close(fd)
        os.write(fds[3], b"%d\n" % child)
        reports[child] = fds[3]


def _report_ends(reports: dict[int, int]) -> None:
    """Write the exit codes of the children that have ended where they are waited for."""
    while reports:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        report = reports.pop(child)
        with contextlib.suppress(BrokenPipeError):
            os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(report)


def _end(reports: dict[int, int]) -> None:
    """No child outlives who asked for it."""
    for child in reports:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _import(script: str) -> None:
    """Import what a script begins with. What fails here fails, or does not, in the child."""
    for statement in ast.parse(script).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            with contextlib.suppress(Exception):
                exec(compile(ast.Module([statement], []), "<imports>", "exec"), {})


def _become(request: dict[str, Any], fds: list[int]) -> None:
    """Take the streams, environment and arguments that were asked for."""
    for number, fd in enumerate(fds[:3]):
        os.dup2(fd, number)
    for fd in fds:
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[:] = ["-c", *request["arguments"]]


def run(request: dict[str, Any]) -> None:
    """Run the script as Python's -c does. Its exceptions and the interpreter's end are those of this process."""
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(request["script"], "<string>", "exec"), vars(main))

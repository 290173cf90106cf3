"""Find, start and end the Prefect server that the processes of one home share.

Prefect's own `server start --background` keeps one process id in a file, asks nobody whether it is still that process,
takes a port that must be free, writes to a pipe that nobody reads, and never ends by itself; hence this module. The server
itself is Prefect's, in the form that it starts for a process without one.
"""

from __future__ import annotations

import fcntl
import hmac
import http.client
import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from schemas.errors import Refused, ServiceUnavailable
from tasks.orchestration.local_server_files import ServerFiles, ServerState, held, take
from tasks.orchestration.local_server_launch import LOOK_SECONDS, port_of, start
from tasks.orchestration.prefect_environment import prefect_home

PROOF = "/penstock/proof"  # where a server shows that it has the home's key
START_SECONDS = 180.0  # to get ready: 20 with a new database on a quiet machine, 90 on one with six times its load
END_SECONDS = 15.0  # that it may take to end
ANSWER_SECONDS = 10.0  # that it may take to answer, on a machine that is busy
HUNG_SECONDS = 3.0  # that one has to end which does not answer
MOVED_SECONDS = 5.0  # in which a server notices that its home was moved away, and ends
_PAUSE = 0.05  # s between two looks


@dataclass(frozen=True)
class LocalServer:
    """A server that has just shown that it is the home's own."""

    url: str
    pid: int
    started: str
    idle_minutes: float
    unused_seconds: float
    key: str

    @property
    def described(self) -> str:
        """Its process, since when it runs, and when it will end."""
        left = f"ends {self.idle_minutes:g} minutes after its last use, {self.unused_seconds:.0f} s ago"
        return f"process {self.pid} since {self.started}, {left}"


def find_server(root: Path) -> LocalServer | None:
    """The home's server, if it runs, answers and is ours. It is not started, and nothing is written.

    Args:
        root: The home.

    Returns:
        The server, or None.
    """
    files = ServerFiles(root)
    state = files.state()
    with suppress(OSError):
        if state and state.ready and not files.stranger(prefect_home(root)) and files.is_alive():
            return _proven(files, state)
    return None


def foreign_server(root: Path) -> str:
    """Why the server that the home's state file names is not used.

    Args:
        root: The home.

    Returns:
        One sentence; '' where it may be used, or none is named.
    """
    files = ServerFiles(root)
    try:
        return files.stranger(prefect_home(root)) if files.is_alive() else ""
    except OSError as error:
        return f"{files.folder} cannot be read ({error.strerror})"


def begin_server(root: Path, idle_minutes: float) -> None:
    """Have the home's server started meanwhile, where none runs. Who needs it later waits for it, and is told what failed.

    Args:
        root: The home.
        idle_minutes: After how many minutes without use it ends.
    """

    def begin() -> None:
        with suppress(Exception), server_in_use(root, idle_minutes):
            pass

    threading.Thread(target=begin, daemon=True, name="penstock-local-server").start()


@contextmanager
def server_in_use(root: Path, idle_minutes: float) -> Iterator[LocalServer | None]:
    """The home's server, started where none runs, and kept for the block: one that dies meanwhile is started again.

    Args:
        root: The home.
        idle_minutes: After how many minutes without use it ends, where it has to be started.

    Yields:
        The server; None where the home can have none: it cannot be written, or what runs there is not ours or hangs.

    Raises:
        ServiceUnavailable: It did not start.
    """
    files = ServerFiles(root)
    with ExitStack() as use:
        server = None
        with suppress(OSError):  # a read-only disk, a folder of somebody else's, a file system without locks
            files.make()
            # One that is just ending has this lock for a moment.
            descriptor = use.enter_context(held(files.use_lock, shared=True, seconds=END_SECONDS))
            server = _server(files, descriptor, idle_minutes) if descriptor is not None else None
        if server:
            use.enter_context(_kept_alive(files, idle_minutes))
        yield server


def stop_server(root: Path, *, force: bool = False) -> int | None:
    """End the home's server.

    Args:
        root: The home.
        force: End it although somebody uses it.

    Returns:
        The process that was ended, or None where no server ran.

    Raises:
        Refused: Somebody uses it, or it is not ours.
        ServiceUnavailable: It does not end.
    """
    files = ServerFiles(root)
    if not files.is_alive():
        return None
    with held(files.start_lock, seconds=END_SECONDS), held(files.use_lock) as unused:
        if not files.is_alive():
            return None
        if why := files.stranger(prefect_home(root)):
            raise Refused(f"the Prefect server of {root} is not ours to stop: {why}")
        if unused is None and not force:
            raise Refused(f"a command or flow uses the Prefect server of {root}: wait for its end, or say --force")
        return _end(files)


def _server(files: ServerFiles, use: int, idle_minutes: float) -> LocalServer | None:
    """The server that runs, or one that is started now; None where there can be none."""
    home, port = prefect_home(files.root), port_of(files.state())
    for _ in range(2):
        with held(files.start_lock, seconds=END_SECONDS) as turn:
            if turn is None:
                return None
            if files.is_alive() and files.stranger(home) and not _wait(lambda: not files.is_alive(), MOVED_SECONDS):
                return None
            if not files.is_alive():
                start(files, port, idle_minutes)
        server = _when_ready(files)
        if server and files.is_current():
            return server
        if not _is_only_user(use):
            return None
        with held(files.start_lock, seconds=END_SECONDS):
            _end(files, grace=HUNG_SECONDS)
    return None


@contextmanager
def _kept_alive(files: ServerFiles, idle_minutes: float) -> Iterator[None]:
    """Start the server again where it dies within the block. Requests of Prefect's client are repeated, and find it."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(LOOK_SECONDS):
            with suppress(OSError):
                if not files.is_alive():
                    _restart(files, idle_minutes)

    watcher = threading.Thread(target=watch, daemon=True, name="penstock-local-server-watch")
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _restart(files: ServerFiles, idle_minutes: float) -> None:
    """Start a server in the place of one that died: one that was ended, or never got ready, leaves no such state."""
    with held(files.start_lock) as turn:
        state = files.state()
        if turn is not None and state and state.ready and not files.is_alive():
            start(files, port_of(state), idle_minutes)


def _when_ready(files: ServerFiles) -> LocalServer | None:
    """The server, once it is ready; None where it does not answer then. Raises ServiceUnavailable where it never is."""
    if not _wait(lambda: files.is_ready() or not files.is_alive(), START_SECONDS):
        raise ServiceUnavailable(f"the home's Prefect server is not ready after {START_SECONDS:.0f} s; see {files.log}")
    state = files.state()
    if state is None or not files.is_alive():
        raise ServiceUnavailable(f"the home's Prefect server did not start ({files.last_words()}); see {files.log}")
    return _proven(files, state)


def _end(files: ServerFiles, grace: float = END_SECONDS) -> int | None:
    """End the server that lives; whoever calls has the start lock, so that the state is that process' own.

    `grace`: s that it has before it is killed.
    """
    _wait(lambda: files.state() is not None or not files.is_alive(), END_SECONDS)
    pid = state.pid if (state := files.state()) else None
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, END_SECONDS)):
        if pid is not None and files.is_alive():
            os.kill(pid, number)
        if _wait(lambda: not files.is_alive(), seconds):
            files.forget_state()
            return pid
    raise ServiceUnavailable(f"the Prefect server of {files.root} does not end; see {files.log}")


def _is_only_user(use: int) -> bool:
    """Whether nobody else has the lock of those who use the server."""
    alone = take(use, fcntl.LOCK_EX)
    _wait(lambda: take(use, fcntl.LOCK_SH), END_SECONDS)
    return alone


def _proven(files: ServerFiles, state: ServerState) -> LocalServer | None:
    """The server, if what listens at its port has the home's key and says so in time."""
    nonce = secrets.token_hex(16)
    connection = http.client.HTTPConnection(urlsplit(state.url).netloc, timeout=ANSWER_SECONDS)
    try:
        key = files.key()
        connection.request("GET", f"{PROOF}?{nonce}")
        answer = json.loads(connection.getresponse().read(4096))
        if not hmac.compare_digest(str(answer["proof"]), proof(key, nonce)):
            return None
        unused = float(answer["unused_seconds"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    finally:
        connection.close()
    return LocalServer(state.url, state.pid, state.started, state.idle_minutes, unused, key)


def proof(key: str, nonce: str) -> str:
    """What only somebody with the key can answer to a nonce."""
    return hmac.new(key.encode(), nonce.encode(), "sha256").hexdigest()


def _wait(is_so: Callable[[], bool], seconds: float) -> bool:
    """Whether it came to be so in time."""
    deadline = time.monotonic() + seconds
    while not (so := is_so()) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return so

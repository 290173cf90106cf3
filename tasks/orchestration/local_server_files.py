"""Where a home keeps what its processes know of their Prefect server: one state file, one key, three locks and a log.

- `start.lock` is held for the moment in which a server is looked for, started or ended: one process at a time.
- `use.lock` is shared by all who use the server. It takes that lock for itself before it ends, so nobody loses it in a run.
- `alive.lock` is held by the server for as long as it lives: while it is taken, process and port of the state are its own.

The kernel gives a lock back when its process is gone, however it went, so nothing here has to be cleaned up. Only what the
standard library has is imported: commands that look a server up do it without Prefect.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

from tasks.atomic_files import write_atomically

FOLDER = "local-server"
FORMAT = 1
LOG_BYTES = 1 << 20  # of the log; as much again is kept of what came before
_PAUSE = 0.05  # s between two tries for a lock


@dataclass(frozen=True)
class ServerState:
    """What a server says of itself in its state file."""

    url: str
    pid: int
    home: str
    prefect_home: str
    host: str
    prefect: str
    started: str
    idle_minutes: float
    ready: bool = False
    format_version: int = FORMAT


class ServerFiles:
    """The files of one home's server."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / FOLDER
        self._key = self.folder / "key"
        self.state_file, self.log = self.folder / "state.json", self.folder / "server.log"
        self.start_lock, self.use_lock, self.alive_lock = (
            self.folder / f"{name}.lock" for name in ("start", "use", "alive")
        )

    def make(self) -> None:
        """Make the folder, for its owner alone. Raises OSError where that cannot be."""
        self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)

    def state(self) -> ServerState | None:
        """What the state file says, whoever wrote it; None where there is none, or it says nothing that we understand."""
        try:
            record = json.loads(self.state_file.read_text())
            state = ServerState(**{field.name: record[field.name] for field in fields(ServerState)})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return state if state.format_version == FORMAT else None

    def write_state(self, state: ServerState) -> None:
        """Write the state file, whole or not at all."""
        write_atomically(self.state_file, lambda path: path.write_text(json.dumps(asdict(state), indent=2) + "\n"))

    def forget_state(self) -> None:
        """Remove the state file."""
        with suppress(OSError):
            self.state_file.unlink()

    def make_key(self) -> None:
        """Make the secret that the server and those who use it share, once a home."""
        if not self._key.exists():
            descriptor, unfinished = tempfile.mkstemp(dir=self.folder, prefix=".key.")  # readable by its owner alone
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(32))
            os.replace(unfinished, self._key)

    def key(self) -> str:
        """The secret. Raises OSError where there is none, or it is not for this user to read."""
        return self._key.read_text()

    def is_alive(self) -> bool:
        """Whether a server of this home lives, ready or not. Raises OSError where that cannot be seen."""
        with suppress(FileNotFoundError), open(self.alive_lock, "rb") as file:
            return not take(file.fileno(), fcntl.LOCK_SH)
        return False

    def is_ready(self) -> bool:
        """Whether the state file says that its server takes requests."""
        state = self.state()
        return state is not None and state.ready

    def last_words(self) -> str:
        """The last line of the log that names an error, or the last one."""
        with suppress(OSError):
            text = self.log.read_bytes()[-16384:].decode(errors="replace")
            lines = [line.strip() for line in text.split("\n") if line.strip()]
            errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
            return (errors or lines or ["it said nothing"])[-1][:300]
        return "its log cannot be read"

    def is_current(self) -> bool:
        """Whether the state's server runs the version of Prefect that this process has."""
        state = self.state()
        return state is not None and state.prefect == version("prefect")

    def stranger(self, prefect_home: Path) -> str:
        """Why the server of the state file is not for this process to use; '' where it is, or where there is none."""
        state = self.state()
        if state is None:
            return ""
        if (owner := self.state_file.stat().st_uid) != os.getuid():
            return f"{self.state_file} belongs to another user ({owner})"
        if state.home != str(self.root):
            return f"{self.state_file} is of another home, {state.home}"
        if state.host != platform.node():
            return f"it runs on another machine, {state.host}"
        if state.prefect_home != str(prefect_home):
            return f"it keeps its runs in {state.prefect_home}, not in {prefect_home}"
        return ""

    def shorten_log(self) -> None:
        """Keep the log within bounds. Its writers append, so what they write next comes to its new end."""
        with suppress(OSError):
            if self.log.stat().st_size > LOG_BYTES:
                self.log.with_suffix(".log.1").write_bytes(self.log.read_bytes()[-LOG_BYTES:])
                os.truncate(self.log, 0)


def take(descriptor: int, kind: int) -> bool:
    """Take a lock if it is free now. Raises OSError where the file system knows no locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def held(path: Path, *, shared: bool = False, seconds: float = 0.0) -> Iterator[int | None]:
    """A lock for the block: its descriptor, or None where others did not give it back in time. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while not (taken := take(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        yield descriptor if taken else None
    finally:
        os.close(descriptor)

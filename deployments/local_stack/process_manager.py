"""circus keeps the processes: it starts them when told, starts again what dies, and stops all of it in order."""

from __future__ import annotations

import configparser
import ctypes
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployments.local_stack.services import Part
from schemas.distribution import install_command
from schemas.errors import PenstockError, UsageError

GRACE = 20  # s that a process has to stop
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class ProcessManager:
    """One circusd, its child processes and their logs; a block that ends stops all of them, and nothing else."""

    def __init__(self, folder: Path, parts: tuple[Part, ...], environment: Mapping[str, str]) -> None:
        self.folder, self.logs = folder, folder / "logs"
        self._parts, self._environment = parts, dict(environment)
        # A socket's path may have no more than 107 characters.
        self._sockets = Path(tempfile.mkdtemp(prefix="penstock-up-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where circus takes commands: `circusctl --endpoint ... status`."""
        return f"ipc://{self._sockets}/control"

    def __enter__(self) -> ProcessManager:
        """Start circusd, and none of the parts yet. Raises UsageError where it is not installed."""
        try:
            import circus  # type: ignore[import-untyped]  # noqa: F401
        except ImportError:
            raise UsageError(f"penstock up needs circus and watchfiles: {install_command('up')}") from None
        self.logs.mkdir(parents=True, exist_ok=True)
        config = self.folder / "circus.ini"
        config.write_text(self._config())
        command = [sys.executable, "-P", "-W", "ignore", "-c", "from circus.circusd import main; main()", str(config)]
        with (self.logs / "circus.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, preexec_fn=_follow_parent, start_new_session=True
            )
        self._wait_for_circus()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the parts, the last one first, then circus."""
        for part in reversed(self._parts if self.alive() else ()):
            self._ask("stop", name=part.name, waiting=True)
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(GRACE * 2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def start(self, part: Part) -> None:
        """Start one part. Raises PenstockError where circus says no."""
        if part.ready_file:
            part.ready_file.unlink(missing_ok=True)
        answer = self._ask("start", name=part.name, waiting=True)
        if answer.get("status") != "ok":
            raise PenstockError(f"{part.name} could not be started ({answer.get('reason', 'circus does not answer')})")

    def pids(self, part: Part) -> list[int]:
        """The process of a part, or nothing."""
        return list(self._ask("list", name=part.name).get("pids", []))

    def log(self, part: Part) -> Path:
        """Where a part's output goes."""
        return self.logs / f"{part.name}.log"

    def alive(self) -> bool:
        """Whether circus runs."""
        return self._process is not None and self._process.poll() is None

    def _wait_for_circus(self) -> None:
        deadline = time.monotonic() + 60
        while self._ask("list").get("status") != "ok":
            if not self.alive() or time.monotonic() > deadline:
                raise PenstockError(f"circus did not start; see {self.logs / 'circus.log'}")
            time.sleep(0.1)

    def _ask(self, command: str, **properties: Any) -> dict[str, Any]:
        from circus.client import CircusClient  # type: ignore[import-untyped]
        from circus.exc import CallError  # type: ignore[import-untyped]

        client = CircusClient(endpoint=self.endpoint, timeout=GRACE * 2 if properties.get("waiting") else 5)
        try:
            answer: dict[str, Any] = client.send_message(command, **properties)
        except CallError as error:
            return {"status": "error", "reason": str(error)}
        finally:
            client.stop()
        return answer

    def _config(self) -> str:
        """The configuration file; it holds no secret, since everybody inherits one environment."""
        config = configparser.RawConfigParser()
        endpoints = {"endpoint": self.endpoint, "pubsub_endpoint": f"ipc://{self._sockets}/events"}
        config["circus"] = {**endpoints, "check_delay": "1", "loglevel": "CRITICAL"}
        for part in self._parts:
            config[f"watcher:{part.name}"] = {
                "cmd": part.cmd,
                "copy_env": "True",
                "autostart": "False",
                "graceful_timeout": str(GRACE),
                "stop_children": "True",
                "stdout_stream.class": "FileStream",
                "stdout_stream.filename": str(self.log(part)),
                "stderr_stream.class": "FileStream",
                "stderr_stream.filename": str(self.log(part)),
            }
        with tempfile.TemporaryFile("w+") as file:
            config.write(file)
            file.seek(0)
            return file.read()


def _follow_parent() -> None:
    """circusd stops with all of its children when the command that started it is gone, however it went."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)

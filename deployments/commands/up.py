"""penstock up."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import click

from deployments.commands.base import command as make


@make()
@click.argument("use_cases", nargs=-1, metavar="[USE_CASE]...")
@click.option("--any-port", is_flag=True, help="Take any free port for each part; the usual ones where left out.")
@click.option("--exit-when-ready", is_flag=True, hidden=True, help="Stop as soon as all parts are ready.")
def command(use_cases: tuple[str, ...], any_port: bool, exit_when_ready: bool, as_json: bool) -> int:
    """Start the whole local system on loopback: Prefect, worker, MLflow, lake, watcher and APIs, until Ctrl-C.

    An API each for the use cases that are named; else for those that the project at hand registers, or outside a project for
    all that are registered.
    """
    from deployments.local_stack.served import served_use_cases
    from deployments.local_stack.services import Ports
    from deployments.prefect_server.in_process import prepare
    from deployments.serving.auth import token_file
    from schemas.settings import read_settings

    settings, served = read_settings(), served_use_cases(use_cases, Path.cwd())
    # Prefect reads its settings when it is imported: from here on this process is the system's own.
    for name in [n for n in os.environ if n.startswith("PREFECT_")]:
        del os.environ[name]
    prepare(settings, isolated=True)
    stopped, ready = _on_signals()
    from deployments.local_stack.stack import ENVIRONMENT, up

    for note in served.notes:
        click.echo(note, err=True)
    tell = _nothing if as_json else click.echo
    with up(settings, Path.cwd(), served.names, tell, Ports(usual=not any_port)) as running:
        document = {**running.addresses(), "landing": str(running.settings.landing_dir), "logs": str(running.keeper.logs)}
        document["environment"] = str(running.keeper.folder / ENVIRONMENT)
        if settings.api_token is None:
            document["tokens"] = str(token_file(settings, "*"))
        ready.set()
        click.echo(json.dumps(document) if as_json else _text(document))
        while not exit_when_ready and not stopped.wait(1):
            if not running.keeper.alive():
                click.echo(f"circus is gone; see {running.keeper.logs}", err=True)
                return 1
        if not as_json:
            click.echo("stopping")
    return 0


def _nothing(line: str) -> None:
    """Where the result is JSON, the steps are not told."""


def _on_signals() -> tuple[threading.Event, threading.Event]:
    """Whether Ctrl-C was pressed, and whether the system is ready: before that, Ctrl-C interrupts its start."""
    stopped, ready = threading.Event(), threading.Event()

    def stop(number: int, frame: object) -> None:
        first = not stopped.is_set()
        stopped.set()
        if first and not ready.is_set():
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return stopped, ready


def _text(addresses: dict[str, str]) -> str:
    width = max(map(len, addresses))
    lines = [f"  {name:<{width}}  {where}" for name, where in addresses.items()]
    use = f"other commands in another terminal: . {addresses['environment']} (penstock_deactivate undoes it)"
    return "\n".join(
        ["ready:", *lines, "a file copied to <landing>/<use case>/<input>/ starts the loop", use, "Ctrl-C stops"]
    )

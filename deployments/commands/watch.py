"""penstock watch."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from threading import Event

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready


@make()
@click.option("--ready-file", type=click.Path(path_type=Path), help="Made when the watching has begun.")
def command(ready_file: Path | None, as_json: bool) -> int:
    """Start the lifecycle of each file that lands, until stopped; part of penstock up."""
    settings = ready()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("penstock").setLevel(logging.INFO)
    from prefect.settings import PREFECT_API_URL

    from deployments.landing_watcher import watch
    from schemas.errors import UsageError

    if not PREFECT_API_URL.value():
        raise UsageError("no Prefect server is named: set PREFECT_API_URL or a profile, or run penstock up")
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with settings.active():
        watch(settings, stop, (lambda: ready_file.touch()) if ready_file else (lambda: None))
    return 0

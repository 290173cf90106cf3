"""penstock serve."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready

if TYPE_CHECKING:
    from pathlib import Path


@make()
@click.argument("use_case")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others only behind TLS.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free port.")
@click.option(
    "--poll",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    show_default=True,
    help="Seconds between looks at the champion's alias.",
)
@click.option(
    "--publish",
    type=click.FloatRange(0.1, 3600),
    default=30.0,
    show_default=True,
    help="Seconds between publishes of receipts.",
)
def command(use_case: str, host: str, port: int, poll: float, publish: float, as_json: bool) -> int:
    """Answer predictions of the champion over HTTP, with receipts, until stopped."""
    # One row is one thread's work. XGBoost reads both when it is loaded; later, beside its threads, no variable may change.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    settings = ready()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    logging.getLogger("penstock").setLevel(logging.INFO)
    from deployments.serving.auth import token
    from deployments.serving.server import Options, Server, listen, run
    from schemas.usecase import resolve

    case = resolve(use_case)
    secret, path = token(settings, case.name)
    listening = listen(host, port)
    with settings.active():
        server = Server(case, settings, secret, Options(poll_seconds=poll, publish_seconds=publish))
        _tell(case.name, host, listening.getsockname()[1], path, as_json)
        run(server, listening)
    return 0


def _tell(use_case: str, host: str, port: int, path: Path | None, as_json: bool) -> None:
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}/"
    if as_json:
        click.echo(json.dumps({"use_case": use_case, "url": url, "token_file": str(path) if path else None}))
        return
    click.echo(f"{use_case} at {url}")
    click.echo(f"token: {path} (only you can read it)" if path else "token: PENSTOCK_API_TOKEN")

"""penstock down."""

from __future__ import annotations

from typing import Any

import click

from deployments.commands.base import command as make
from deployments.commands.base import show


@make()
@click.option("--force", is_flag=True, help="End it although a command or a flow uses it.")
def command(force: bool, as_json: bool) -> None:
    """Stop what runs for the home: the Prefect server that its commands share, and the system of penstock up."""
    from deployments.local_stack.stack import stop_system
    from schemas.settings import read_settings
    from tasks.orchestration import stop_server

    settings = read_settings()
    system = stop_system(settings)
    server = stop_server(settings.root, force=force)
    show({"home": str(settings.root), "server": server, "up": system}, as_json, _print)


def _print(stopped: dict[str, Any]) -> None:
    if stopped["up"]:
        click.echo(f"stopped the system of penstock up (process {stopped['up']})")
    if stopped["server"]:
        click.echo(f"stopped the Prefect server of {stopped['home']} (process {stopped['server']})")
    if not stopped["up"] and not stopped["server"]:
        click.echo(f"nothing runs for {stopped['home']}")

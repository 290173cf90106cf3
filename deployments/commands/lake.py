"""penstock lake init, penstock lake hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import show

if TYPE_CHECKING:
    from deployments.lakefs_server.setup import Step

COLOURS = {"ok": "green", "made": "green", "missing": "red", "note": "yellow"}


@click.group()
def command() -> None:
    """Make a lakeFS repository ready for a use case, or run its hook. Both take --json and --debug."""


@make(name="init")
@click.argument("use_case")
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 where something is missing.")
def init_command(use_case: str, check: bool, as_json: bool) -> int:
    """Make repository, protection of main and hook for USE_CASE; what is there stays."""
    from deployments.lakefs_server.setup import init
    from schemas.settings import read_settings
    from schemas.usecase import resolve

    settings = read_settings()
    with settings.active():
        steps = init(settings, resolve(use_case).name, check=check)
    show([step.model_dump() for step in steps], as_json, lambda _: _print(steps))
    return 1 if any(step.status == "missing" for step in steps) else 0


@make(name="hook")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8008, show_default=True, help="Port to listen on.")
def hook_command(host: str, port: int, as_json: bool) -> int:
    """Run the application that lakeFS asks before it merges into main."""
    import uvicorn

    from deployments.lakefs_server.webhook import create_app

    uvicorn.run(create_app(), host=host, port=port, log_level="warning")
    return 0


def _print(steps: list[Step]) -> None:
    for step in steps:
        click.echo(f"{click.style(f'{step.status:<7}', fg=COLOURS[step.status])} {step.name}: {step.detail}")


command.add_command(init_command)
command.add_command(hook_command)

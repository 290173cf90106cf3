"""The `penstock` command. Help is instant: a command's module is light, and what it needs is imported when it runs."""

from __future__ import annotations

import importlib
import sys

import click

COMMANDS = (
    "demo",
    "init",
    "new",
    "ingest",
    "retract",
    "contract",
    "plan",
    "train",
    "score",
    "monitor",
    "report",
    "lifecycle",
    "replay",
    "backfill",
    "serve",
    "deploy",
    "watch",
    "up",
    "down",
    "status",
    "trace",
    "models",
    "promote",
    "rollback",
    "freeze",
    "thaw",
    "reproduce",
    "lake",
    "sweep",
    "doctor",
)


class Menu(click.Group):
    """Commands in the order of the story, each loaded from deployments/commands/ when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the story."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"deployments.commands.{cmd_name}")
        command: click.Command = module.command
        return command


@click.group(cls=Menu, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, wanted: _print_version(context) if wanted else None,
    help="Show the version and exit.",
)
def penstock() -> None:
    """Gated pipelines from data lake to model.

    New data is audited against its contract on a branch of its own, published, scored and monitored; a challenger is
    trained when the champion's value falls, and promoted only through the gate.

    Exit code: 0 done, 1 refused by a gate or contract, 2 usage, 3 a service could not be reached.
    """


def _print_version(context: click.Context) -> None:
    from schemas.distribution import own_version

    click.echo(f"penstock {own_version()}")
    context.exit()


def main() -> None:
    """Entry point of the console script."""
    try:
        penstock(prog_name="penstock", standalone_mode=True)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
        sys.exit(130)

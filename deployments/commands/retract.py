"""penstock retract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready_to_run, show

if TYPE_CHECKING:
    from schemas.results import Retraction


@make()
@click.argument("use_case")
@click.argument("source")
@click.option("--reason", required=True, help="Why, in a sentence; it is kept with the commit.")
@click.option("--input", "input_name", help="Which input it was delivered to, where it was delivered to several.")
def command(use_case: str, source: str, reason: str, input_name: str | None, as_json: bool) -> int:
    """Take a published SOURCE back (a file, its SHA-256 or the name it came under)."""
    if len(reason.strip()) < 3:
        raise click.UsageError("--reason: say in a few words why the source is taken back")
    settings = ready_to_run(use_case)
    from deployments.prefect_server.in_process import in_process
    from flows.retract import retract

    with settings.active(), in_process():
        result = retract(use_case, source, reason, input=input_name)
    show(result, as_json, print_retraction)
    return 0


def print_retraction(result: Retraction) -> None:
    """What became of the source, for a person."""
    status = click.style(result.status, fg="green" if result.status == "retracted" else "cyan")
    click.echo(f"{result.source} -> {result.input}: {status} ({result.why})")
    if result.trained_on:
        versions = ", ".join(f"v{version}" for version in result.trained_on)
        click.echo(
            f"  fitted on a commit with its rows: {versions}; penstock train {result.use_case} makes a new challenger"
        )

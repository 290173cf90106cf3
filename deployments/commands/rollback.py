"""penstock rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.base import acting_user, ready_to_run, show
from deployments.commands.base import command as make

if TYPE_CHECKING:
    from schemas.results import Training


@make()
@click.argument("use_case")
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--reason", required=True, help="Why; it stays in the history.")
def command(use_case: str, version: int | None, reason: str, as_json: bool) -> int:
    """Make an earlier version champion again, once it has been loaded and has scored its golden rows.

    Without a VERSION it goes back to the one that the champion replaced.
    """
    if not reason.strip():
        raise click.UsageError("--reason takes a reason, which stays in the history")
    settings = ready_to_run(use_case, needs_data=True)
    from deployments.prefect_server.in_process import in_process
    from flows.rollback import rollback

    with settings.active(), in_process():
        result = rollback(use_case, reason, version=version, by=acting_user())
    show(result, as_json, _print)
    return 0


def _print(result: Training) -> None:
    version = result.model.version if result.model else 0
    if result.status == "promoted":
        click.echo(f"{result.use_case}: {click.style(f'rolled back to v{version}', fg='green')} ({result.why})")
    else:
        click.echo(f"{result.use_case}: {click.style(result.status, fg='cyan')} ({result.why})")

"""penstock promote."""

from __future__ import annotations

import click

from deployments.commands.base import acting_user, ready, show
from deployments.commands.base import command as make


@make()
@click.argument("use_case")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--override", metavar="REASON", help="Promote it whatever the gate says; the reason stays in the history.")
@click.option("--commit", help="Data commit that the window is read at; the head of main where left out.")
def command(use_case: str, version: int, override: str | None, commit: str | None, as_json: bool) -> int:
    """Put a version through the gate by hand, on labelled rows that neither it nor the champion has seen."""
    if override is not None and not override.strip():
        raise click.UsageError("--override takes the reason, which stays in the history")
    settings = ready(flows=True)
    from deployments.commands.train import print_training
    from deployments.prefect_server.in_process import in_process
    from flows.promote import promote

    with settings.active(), in_process():
        result = promote(use_case, version, override=override, by=acting_user(), commit=commit)
    show(result, as_json, print_training)
    return 0 if result.status in ("promoted", "already done") else 1

"""penstock deploy."""

from __future__ import annotations

from pathlib import Path

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready, show


@make()
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A prefect.yaml; the working directory's or Penstock's own where left out.",
)
def command(path: Path | None, as_json: bool) -> None:
    """Bring work pool, limits, deployments and automations to the Prefect server in force; again changes nothing."""
    settings = ready()
    from prefect.settings import PREFECT_API_URL

    from deployments.prefect_server.apply import apply, definitions
    from schemas.errors import UsageError

    if not PREFECT_API_URL.value():
        raise UsageError("no Prefect server is named: set PREFECT_API_URL or a profile, or run penstock up")
    with settings.active():
        lines = list(apply(path or definitions(Path.cwd())))
    show(lines, as_json, lambda texts: click.echo("\n".join(texts)))

"""penstock score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.common import command as make
from deployments.commands.common import ready, show

if TYPE_CHECKING:
    from schemas.results import Scores


@make()
@click.argument("use_case")
@click.option("--arrival", help="Commit of main whose rows are scored; the newest publish of rows where left out.")
@click.option("--commit", help="Data commit at which other inputs are looked up; the head of main where left out.")
def command(use_case: str, arrival: str | None, commit: str | None, as_json: bool) -> int:
    """Score the rows that one publish brought, with receipts."""
    settings = ready()
    from deployments.local import in_process
    from flows.score import score

    with settings.active(), in_process():
        result = score(use_case, arrival=arrival, commit=commit)
    show(result, as_json, print_scores)
    return 0


def print_scores(result: Scores) -> None:
    """Counts by category and where the predictions lie."""
    model = f" by v{result.model.version}" if result.model else ""
    click.echo(f"{result.use_case}: {result.status}{model} ({result.why})")
    for name, count in result.categories.items():
        click.echo(f"  {count:>10,} {name}")
    if result.predictions:
        click.echo(f"  {result.predictions.store} at {result.predictions.commit[:12]}: {result.path}")

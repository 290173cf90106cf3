"""penstock score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready, show
from deployments.commands.rejection_table import print_reasons

if TYPE_CHECKING:
    from schemas.results import Scores


@make()
@click.argument("use_case")
@click.option("--arrival", help="Commit of main whose rows are scored; the newest publish of rows where left out.")
@click.option("--commit", help="Data commit at which other inputs are looked up; the head of main where left out.")
@click.option("--file", help="Score the rows of this file instead: audited, not ingested; outcomes may be missing.")
def command(use_case: str, arrival: str | None, commit: str | None, file: str | None, as_json: bool) -> int:
    """Score the rows that one publish brought, or those of a file, with receipts.

    Rows of any number; a run that was killed goes on where it was. The same rows are scored once by a model.
    """
    settings = ready(flows=True)
    from deployments.prefect_server.in_process import in_process
    from flows.score import score

    with settings.active(), in_process():
        result = score(use_case, arrival=arrival, commit=commit, file=file)
    show(result, as_json, print_scores)
    return 1 if result.status == "rejected" else 0


def print_scores(result: Scores) -> None:
    """Counts by category and where the predictions lie."""
    model = f" by v{result.model.version}" if result.model else ""
    click.echo(f"{result.use_case}: {result.status}{model} ({result.why})")
    for name, count in result.categories.items():
        click.echo(f"  {count:>10,} {name}")
    if result.audit:
        audit = result.audit
        click.echo(f"  {audit.rows:,} rows = {audit.accepted:,} accepted + {audit.rejected:,} rejected")
        print_reasons(audit.reasons, audit.rows)
    if result.predictions:
        click.echo(f"  {result.predictions.store} at {result.predictions.commit[:12]}: {result.path}")
    if result.predictions and result.rejected:
        click.echo(f"  rejected rows: {result.rejected}")

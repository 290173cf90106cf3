"""penstock backfill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready_to_run, show

if TYPE_CHECKING:
    from schemas.replaying import Backfill


@make()
@click.argument("use_case")
@click.option("--from", "since", required=True, metavar="DATE", help="First partition or day, e.g. 2013-04.")
@click.option("--to", "until", required=True, metavar="DATE", help="Last partition or day, included.")
@click.option(
    "--score", "scoring", is_flag=True, help="Score published rows that no model has scored, instead of ingesting."
)
@click.option("--source", metavar="GLOB", help="Files to ingest, each with its date in its name; the landing folder's.")
@click.option("--input", "input_name", help="Which input the files deliver; told by their folder or name where left out.")
@click.option("--at-once", type=click.IntRange(1, 64), default=2, show_default=True, help="How many at the same time.")
def command(
    use_case: str,
    since: str,
    until: str,
    scoring: bool,
    source: str | None,
    input_name: str | None,
    at_once: int,
    as_json: bool,
) -> int:
    """Ingest or score a range of partitions; run it again to finish one that was stopped."""
    settings = ready_to_run(use_case)
    from deployments.prefect_server.in_process import in_process
    from flows.backfill import backfill

    with settings.active(), in_process():
        what: Literal["ingest", "score"] = "score" if scoring else "ingest"
        result = backfill(use_case, since, until, what, source, at_once, input_name)
    show(result, as_json, _print)
    return 0 if result.complete else 1


def _print(result: Backfill) -> None:
    for partition in result.partitions:
        click.echo(f"{partition.name}: {partition.status} ({partition.why})")
    click.echo(f"{result.use_case}: {result.why}")

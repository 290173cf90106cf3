"""penstock ingest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready_to_run, show
from deployments.commands.rejection_table import print_reasons

if TYPE_CHECKING:
    from schemas.results import Delivery, IngestResult

COLOURS = {"published": "green", "already done": "cyan", "skipped": "yellow", "rejected": "red"}


@make()
@click.argument("use_case")
@click.argument("source")
@click.option("--input", "input_name", help="Which input the source delivers; told by its folder or name where left out.")
def command(use_case: str, source: str, input_name: str | None, as_json: bool) -> int:
    """Audit SOURCE against the contract and publish what may be published.

    SOURCE is a path or a glob of Parquet, CSV or JSON Lines files, also at lakefs:// or s3://, or a file NAME.sql: a query
    whose first line, `-- connection: VARIABLE`, names the environment variable that holds the database's SQLAlchemy URL.
    """
    settings = ready_to_run(use_case, source=source, input_name=input_name)
    from deployments.prefect_server.in_process import in_process
    from flows.ingest import ingest

    with settings.active(), in_process():
        result = ingest(use_case, source, input=input_name)
    show(result, as_json, print_ingest)
    return 1 if result.refused else 0


def print_ingest(result: IngestResult) -> None:
    """What became of each source, for a person."""
    for delivery in result.deliveries:
        status = click.style(delivery.status, fg=COLOURS[delivery.status])
        click.echo(f"{delivery.source} -> {delivery.input}: {status} ({delivery.why})")
        _print_audit(delivery)
        if delivery.branch:
            click.echo(f"  left for inspection on branch {delivery.branch}")


def _print_audit(delivery: Delivery) -> None:
    if delivery.audit is None:
        return
    audit = delivery.audit
    redelivered = f", {audit.redelivered:,} redelivered" if audit.redelivered else ""
    click.echo(f"  {audit.rows:,} rows = {audit.accepted:,} accepted + {audit.rejected:,} rejected{redelivered}")
    print_reasons(audit.reasons, audit.rows)

"""penstock sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready, show

if TYPE_CHECKING:
    from schemas.results import Sweep


@make()
@click.argument("use_case", required=False)
@click.option("--older-than", "days", type=click.FloatRange(min=0), default=14.0, show_default=True, help="Days.")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
def command(use_case: str | None, days: float, dry_run: bool, as_json: bool) -> int:
    """Remove branches that are finished, and those whose last commit is older than some days.

    A refused source's rows and reasons lie on such a branch until then. Where PENSTOCK_RECEIPT_DAYS is set, older receipts
    of predictions leave the log repository's head. Without USE_CASE: of all that are registered.
    """
    settings = ready(flows=True)
    from deployments.prefect_server.in_process import in_process
    from flows.sweep import sweep

    with settings.active(), in_process():
        result = sweep(use_case, older_than_days=days, dry_run=dry_run)
    show(result, as_json, print_sweep)
    return 0


def print_sweep(result: Sweep) -> None:
    """Every branch looked at, for a person."""
    verb = "would remove" if result.dry_run else "removed"
    for branch in result.branches:
        word = click.style("kept", fg="cyan") if branch.what == "kept" else click.style(verb, fg="yellow")
        click.echo(
            f"{word} {branch.branch} ({branch.what}: {branch.why})"
            if branch.what != "kept"
            else f"{word} {branch.branch} ({branch.why})"
        )
    for old in result.receipts:
        word = click.style("kept", fg="cyan") if old.what == "kept" else click.style(verb, fg="yellow")
        click.echo(f"{word} {old.path} ({old.why})")
    kept = len(result.branches) - len(result.removed)
    click.echo(f"{verb} {len(result.removed)} branches, kept {kept} younger than {result.older_than_days:g} days")

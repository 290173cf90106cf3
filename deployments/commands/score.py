"""penstock score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready_to_run, show
from deployments.commands.rejection_table import print_reasons

if TYPE_CHECKING:
    from schemas.results import Scores


@make()
@click.argument("use_case")
@click.option("--arrival", help="Commit of main whose rows are scored; the newest publish of rows where left out.")
@click.option("--commit", help="Data commit at which other inputs are looked up; the head of main where left out.")
@click.option("--file", help="Score the rows of this file instead: audited, not ingested; outcomes may be missing.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the predictions to this .csv, .parquet or .jsonl file.")
@click.option("--reasons", is_flag=True, help="With --out: add the three features that moved each prediction most.")
def command(
    use_case: str,
    arrival: str | None,
    commit: str | None,
    file: str | None,
    out: Path | None,
    reasons: bool,
    as_json: bool,
) -> int:
    """Score the rows that one publish brought, or those of a file, with receipts.

    Rows of any number; a run that was killed goes on where it was. The same rows are scored once by a model.
    """
    _check(out, reasons, file)
    settings = ready_to_run(use_case, needs_data=True)
    from deployments.prefect_server.in_process import in_process
    from flows.score import score

    with settings.active(), in_process():
        result = score(use_case, arrival=arrival, commit=commit, file=file)
        written = result.write(out, reasons=reasons) if out and result.predictions else None
    show({**result.model_dump(mode="json"), "out": written} if out else result, as_json, lambda _: print_scores(result))
    if out and not as_json:
        click.echo(f"  written to {written}" if written else f"  {out} was not written: nothing was predicted")
    return 1 if result.status == "rejected" else 0


def _check(out: Path | None, reasons: bool, file: str | None) -> None:
    """Refuse what cannot be written, before any server starts. Raises UsageError."""
    from schemas.errors import UsageError
    from tasks.inference import check_destination

    if out:
        check_destination(out, file)
    elif reasons:
        raise UsageError("score: --reasons are columns of a file; say which: --out predictions.csv")


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

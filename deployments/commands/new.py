"""penstock new."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import show

if TYPE_CHECKING:
    from deployments.scaffold.new_use_case import Drafted
    from schemas.verdicts import Kind


@make()
@click.argument("name")
@click.option("--from", "source", required=True, metavar="FILE", help="CSV, JSON Lines (plain or compressed) or Parquet.")
@click.option("--target", required=True, metavar="COLUMN", help="What is to be predicted.")
@click.option(
    "--kind", type=click.Choice(["binary", "multiclass", "regression"]), help="Kind of problem; told by the target."
)
@click.option("--key", multiple=True, metavar="COLUMN", help="What tells the rows apart; repeat it for several columns.")
@click.option("--time", metavar="COLUMN", help="When each row's event took place.")
@click.option(
    "--read",
    "facts",
    multiple=True,
    metavar="FACT=VALUE",
    help="How the file is written, where that was seen wrong: separator=; missing=NA COLUMN.times=%d/%m/%Y (repeat it).",
)
@click.option("--force", is_flag=True, help="Overwrite a module and a test that are there.")
def command(
    name: str,
    source: str,
    target: str,
    kind: Kind | None,
    key: tuple[str, ...],
    time: str | None,
    facts: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Draft the use case NAME from a file: its contract, features, policies and a test.

    In a project made by `penstock init` it is added there, elsewhere NAME.py is written to the working directory. What the
    options leave open is guessed from the rows; each guess is a comment in the module.
    """
    from deployments.scaffold.draft import NewUseCaseOptions
    from deployments.scaffold.new_use_case import new_use_case
    from deployments.scaffold.read_options import reader_facts
    from schemas.settings import read_settings
    from tasks.parsing import Limits

    settings = read_settings()
    limits = Limits(settings.parse_memory_mb, settings.parse_seconds)
    options = NewUseCaseOptions(target, kind, key, time, reader_facts(facts))
    drafted = new_use_case(name, Path(source), options, Path.cwd(), limits, force=force)
    show(drafted, as_json, lambda result: _print(result, source))


def _print(drafted: Drafted, source: str) -> None:
    says = f": {', '.join(drafted.classes)}" if drafted.classes else ""
    click.echo(f"{click.style(drafted.name, bold=True)} predicts {drafted.outcome} ({drafted.kind}{says})")
    _print_columns(drafted)
    click.echo(f"  key       {', '.join(drafted.key)}")
    click.echo(f"  time      {drafted.time or 'none: rows are split by a hash of their key'}")
    rest = " ..." if len(drafted.features) > 12 else ""
    click.echo(f"  features  {len(drafted.features)}: {', '.join(drafted.features[:12])}{rest}")
    for seen in drafted.reader:
        click.echo(f"  read      {seen}")
    for note in drafted.notes:
        click.echo(f"  {click.style('confirm', fg='yellow')}   {note}")
    audit = drafted.audit
    read = f"{'' if drafted.whole else 'the first '}{audit.rows:,} rows"
    click.echo(f"  audit     {read} = {audit.accepted:,} accepted + {audit.rejected:,} rejected")
    for reason in audit.reasons[:5]:
        click.echo(f"            {reason.rows:,} x {reason.column or 'row'} {reason.check}")
    if not audit.publishable:
        click.secho(f"  this file would not be published: {audit.why}", fg="red")
    click.echo(f"wrote {', '.join(drafted.files)}")
    click.echo(f"next: penstock lifecycle {drafted.name} {source}")


def _print_columns(drafted: Drafted) -> None:
    """What each column is, why, and five of its values."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("column", "what it is", "why", "values"):
        table.add_column(head, overflow="fold", max_width=40)
    for column in drafted.columns:
        what = column.kind if column.role in ("none", column.kind) else f"{column.kind}, {column.role}"
        table.add_row(_shown(column.name), what, _shown(column.why), _shown(", ".join(column.values), 60))
    Console(highlight=False, markup=False).print(table)


def _shown(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

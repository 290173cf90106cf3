"""Why rows were rejected, as a table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from schemas.verdicts import Reason

PIPED = 120  # columns, where the output is no terminal


def print_reasons(reasons: Sequence[Reason], rows: int) -> None:
    """The most frequent reasons of `rows` audited rows, each with example rows."""
    if not reasons:
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tasks import reporting

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("rows", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("column", style="bold", overflow="fold")
    table.add_column("check", overflow="fold")
    table.add_column("for example", overflow="fold", ratio=1)
    for reason in reporting.rejection_rows(reasons, rows):
        table.add_row(*(Text(_printable(cell)) for cell in reason))
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED)
    console.print(table)
    if (left := len(reasons) - reporting.MOST) > 0:
        click.echo(f"  and {left} more checks; every rejected row is kept with all checks that it fails")


def _printable(text: str) -> str:
    """Without what would move the cursor or change colours: the text comes from a file that nobody trusts."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)

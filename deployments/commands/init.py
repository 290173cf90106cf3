"""penstock init."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from deployments.commands.base import command as make
from deployments.commands.base import show


@make()
@click.argument("directory", metavar="DIR")
@click.option("--name", help="The project's name; DIR's own where left out.")
def command(directory: str, name: str | None, as_json: bool) -> None:
    """Write a project for a team's own use cases to DIR, which is empty or not there yet."""
    from deployments.scaffold.project import create, requirement_note

    files = create(Path(directory), name)
    notes = [note] if (note := requirement_note()) else []
    show({"directory": directory, "files": [str(path) for path in files], "notes": notes}, as_json, _print)


def _print(result: dict[str, Any]) -> None:
    for path in result["files"]:
        click.echo(f"  {path}")
    for note in result["notes"]:
        click.echo(note)
    click.echo(f"next: cd {result['directory']} && penstock new NAME --from FILE --target COLUMN")

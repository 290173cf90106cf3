"""penstock models."""

from __future__ import annotations

from typing import Any

import click

from deployments.commands.common import command as make
from deployments.commands.common import ready, show


@make()
@click.argument("use_case")
def command(use_case: str, as_json: bool) -> int:
    """List the versions, what each was made from and what became of it."""
    settings = ready()
    from schemas.usecase import resolve
    from tasks.registry import open_registry

    case = resolve(use_case)
    registry = open_registry(settings.registry_url)
    champion, challenger = registry.champion(case.name), registry.challenger(case.name)
    rows = [
        {
            "version": ref.version,
            "alias": " ".join(a for a, r in (("champion", champion), ("challenger", challenger)) if r == ref),
            "sha256": ref.sha256,
            **registry.tags(ref),
        }
        for ref in registry.versions(case.name)
    ]
    show(rows, as_json, lambda _: _print(rows))
    return 0


def _print(rows: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("no versions yet: penstock train makes the first")
    for row in rows:
        state, why = row.get("penstock.state", ""), row.get("penstock.why", "")
        alias = click.style(f" {row['alias']}", fg="green") if row["alias"] else ""
        click.echo(f"v{row['version']}{alias}  {state}  data {row.get('data_commit', '')[:12]}  {why}")

"""penstock plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import show

if TYPE_CHECKING:
    from schemas.change_plan import ChangePlan


@make()
@click.argument("use_case")
def command(use_case: str, as_json: bool) -> int:
    """Say what a change of the use case's code would do, before it is merged: contract, rows, champion, columns, training.

    Exit code 1 where published rows would fail, or the champion could not be used any more.
    """
    from schemas.settings import read_settings
    from schemas.usecase import resolve
    from tasks.registry import open_registry
    from tasks.reporting import plan_change
    from tasks.versions import open_store

    case, settings = resolve(use_case), read_settings()
    with settings.active():
        store, registry = open_store(settings.store_url(case.name)), open_registry(settings.registry_url)
        plan = plan_change(case, store, registry, settings.engine)
    show(plan, as_json, _print)
    return 1 if plan.breaks else 0


def _print(plan: ChangePlan) -> None:
    for stage in plan.stages:
        colour = "red" if stage.breaks else "yellow" if stage.changes else "green"
        click.echo(f"{click.style(f'{stage.name:<9}', fg=colour, bold=stage.breaks)} {stage.what}")
    click.echo(f"{plan.use_case}: {plan.why}")

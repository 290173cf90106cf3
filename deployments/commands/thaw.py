"""penstock thaw."""

from __future__ import annotations

import click

from deployments.commands.base import command as make
from deployments.commands.base import set_frozen


@make()
@click.argument("use_case")
@click.option("--reason", default="thawed", help="Why; it stays in the history.")
def command(use_case: str, reason: str, as_json: bool) -> int:
    """Let trainings and promotions go on."""
    if not reason.strip():
        raise click.UsageError("--reason takes a reason, which stays in the history")
    return set_frozen(use_case, reason, frozen=False, as_json=as_json)

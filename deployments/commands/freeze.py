"""penstock freeze."""

from __future__ import annotations

import click

from deployments.commands.base import command as make
from deployments.commands.base import set_frozen


@make()
@click.argument("use_case")
@click.option("--reason", required=True, help="Why; it stays in the history.")
def command(use_case: str, reason: str, as_json: bool) -> int:
    """Let nothing be trained or promoted until it is thawed; a rollback goes through still."""
    if not reason.strip():
        raise click.UsageError("--reason takes a reason, which stays in the history")
    return set_frozen(use_case, reason, frozen=True, as_json=as_json)

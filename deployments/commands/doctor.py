"""penstock doctor."""

from __future__ import annotations

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready, show

SIGNS = {"ok": ("ok   ", "green"), "note": ("note ", "yellow"), "wrong": ("wrong", "red")}


@make()
def command(as_json: bool) -> int:
    """Check every part and say how to mend it."""
    settings = ready()
    from deployments.diagnostics.doctor import examine

    findings = examine(settings)
    show([f.model_dump() for f in findings], as_json, lambda _: _print(findings))
    return 1 if any(f.status == "wrong" for f in findings) else 0


def _print(findings: list) -> None:  # type: ignore[type-arg]
    for finding in findings:
        sign, colour = SIGNS[finding.status]
        click.echo(f"{click.style(sign, fg=colour)} {finding.name}: {finding.detail}")
        if finding.mend:
            click.echo(f"      mend: {finding.mend}")

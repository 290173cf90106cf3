"""penstock monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready_to_run, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.results import Monitoring
    from schemas.verdicts import Estimate


@make()
@click.argument("use_case")
@click.option("--arrival", help="Commit of main whose scored rows are the window; the newest scored ones where left out.")
def command(use_case: str, arrival: str | None, as_json: bool) -> int:
    """Compare a window with the model's reference, reconcile labels, decide."""
    settings = ready_to_run(use_case, needs_data=True)
    from deployments.prefect_server.in_process import in_process
    from flows.monitor import monitor

    with settings.active(), in_process():
        result = monitor(use_case, arrival=arrival)
    show(result, as_json, print_monitoring)
    return 0


def print_monitoring(result: Monitoring) -> None:
    """Drift, realized metrics and the decision, for a person."""
    if result.drift:
        click.echo(f"drift: {result.drift.status} ({result.drift.why})")
        for column in sorted(result.drift.columns, key=lambda c: -c.score)[:5]:
            mark = "*" if column.drifted else " "
            click.echo(f"  {mark} {column.column}: {column.method} {column.score:.3f} (threshold {column.threshold})")
        if result.drift.report:
            click.echo(f"  report: {result.drift.report}")
    if result.estimate:
        click.echo(f"estimated without labels: {', '.join(_estimates(result.estimate))}")
    if result.realized:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in sorted(result.realized.metrics.items()))
        click.echo(f"labels: {result.coverage:.0%} have come; {metrics}")
    if result.in_sample:
        click.echo(f"in-sample: {result.in_sample_note}")
    for pair in result.shadow:
        click.echo(f"shadow: {pair.sentence}")
    word = "retrain" if result.decision.retrain else "keep the champion"
    click.echo(f"decision: {word} ({result.decision.why})")


def _estimates(estimate: Estimate) -> Iterator[str]:
    for name, value in sorted(estimate.metrics.items()):
        low, high = estimate.intervals.get(name, (None, None))
        yield f"{name} {value:.4f}" + ("" if low is None else f" ({low:.4f} to {high:.4f})")

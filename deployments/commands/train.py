"""penstock train."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready_to_run, show

if TYPE_CHECKING:
    from schemas.fitting import Device, Engine
    from schemas.results import Training

COLOURS = {"promoted": "green", "already done": "cyan", "skipped": "yellow", "refused": "red"}


@make()
@click.argument("use_case")
@click.option("--commit", help="Data commit to train on; the head of main where left out.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Where XGBoost computes.")
@click.option("--engine", type=click.Choice(["memory", "external", "dask"]), help="Where the rows lie meanwhile.")
@click.option("--search", type=click.IntRange(min=0), default=0, metavar="N", help="Search parameters in N trials first.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Trials that run at once.")
def command(
    use_case: str,
    commit: str | None,
    device: Device | None,
    engine: Engine | None,
    search: int,
    jobs: int,
    as_json: bool,
) -> int:
    """Train a challenger and put it through the gate."""
    settings = ready_to_run(use_case, needs_data=True)
    from deployments.prefect_server.in_process import in_process
    from flows.train import train

    with settings.active(), in_process():
        result = train(use_case, commit=commit, device=device, engine=engine, search=search, jobs=jobs)
    show(result, as_json, print_training)
    return 0 if result.status in ("promoted", "already done") else 1


def print_training(result: Training) -> None:
    """The verdict with its evidence, for a person."""
    model = f" v{result.model.version}" if result.model else ""
    click.echo(f"{result.use_case}{model}: {click.style(result.status, fg=COLOURS[result.status])} ({result.why})")
    if result.metrics:
        click.echo("  " + ", ".join(f"{name} {value:.4f}" for name, value in sorted(result.metrics.items())))
    for check in result.verdict.checks if result.verdict else ():
        sign = click.style("passed" if check.passed else "failed", fg="green" if check.passed else "red")
        click.echo(f"  {sign} {check.name}: {check.detail}")

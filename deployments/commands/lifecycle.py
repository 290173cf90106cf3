"""penstock lifecycle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready_to_run, show

if TYPE_CHECKING:
    from schemas.results import Loop


@make()
@click.argument("use_case")
@click.argument("source")
@click.option("--input", "input_name", help="Which input the source delivers; told by its folder or name where left out.")
def command(use_case: str, source: str, input_name: str | None, as_json: bool) -> int:
    """Take in one arrival and do all that follows from it."""
    settings = ready_to_run(use_case, source=source, input_name=input_name)
    from deployments.prefect_server.in_process import in_process
    from flows.lifecycle import lifecycle

    with settings.active(), in_process():
        result = lifecycle(use_case, source, input=input_name)
    show(result, as_json, _print)
    return 1 if result.refused else 0


def _print(result: Loop) -> None:
    from deployments.commands.ingest import print_ingest
    from deployments.commands.monitor import print_monitoring
    from deployments.commands.score import print_scores
    from deployments.commands.train import print_training

    print_ingest(result.ingested)
    for scores in result.scored:
        print_scores(scores)
    for record in result.monitored:
        print_monitoring(record)
    for training in result.trained:
        print_training(training)

"""penstock promote."""

from __future__ import annotations

import click

from deployments.commands.base import acting_user, ready_to_run, show
from deployments.commands.base import command as make


@make()
@click.argument("use_case")
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--override", metavar="REASON", help="Promote it whatever the gate says; the reason stays in the history.")
@click.option("--threshold", type=float, help="In place of VERSION: the champion's new threshold; --override says why.")
@click.option("--commit", help="Data commit that the window is read at; the head of main where left out.")
def command(
    use_case: str,
    version: int | None,
    override: str | None,
    threshold: float | None,
    commit: str | None,
    as_json: bool,
) -> int:
    """Put a version through the gate by hand, on labelled rows that neither it nor the champion has seen.

    With --threshold the champion gets another threshold at once: its scores stay, and the words follow.
    """
    if override is not None and not override.strip():
        raise click.UsageError("--override takes the reason, which stays in the history")
    if (version is None) == (threshold is None):
        raise click.UsageError("give the VERSION to gate, or the champion's new --threshold")
    if threshold is not None and not (0 < threshold < 1 and override):
        raise click.UsageError("--threshold takes a probability above 0 and below 1, and --override the reason")
    settings = ready_to_run(use_case, needs_data=True)
    from deployments.commands.train import print_training
    from deployments.prefect_server.in_process import in_process
    from flows.promote import promote

    with settings.active(), in_process():
        result = promote(use_case, version, override=override, by=acting_user(), commit=commit, threshold=threshold)
    show(result, as_json, print_training)
    return 0 if result.status in ("promoted", "already done") else 1

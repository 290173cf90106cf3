"""penstock trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready, show

if TYPE_CHECKING:
    from schemas.settings import Settings
    from schemas.trace import Trace, TracedSource


@make()
@click.argument("prediction_id")
@click.option("--use-case", help="Where to look; every registered use case where left out.")
def command(prediction_id: str, use_case: str | None, as_json: bool) -> int:
    """Walk back from a prediction to its model, its evaluation, and the files it was trained on."""
    settings = ready()
    from schemas.errors import NotFound
    from schemas.usecase import registered

    names = [use_case] if use_case else sorted(registered())
    for name in names:
        if trace := _trace(name, prediction_id, settings):
            show(trace, as_json, print_trace)
            return 0
    removed = "".join(_expired_note(name, settings) for name in names)
    raise NotFound(f"no prediction {prediction_id} of {', '.join(names)}; give its id in full, or --use-case{removed}")


def _expired_note(name: str, settings: Settings) -> str:
    from schemas.usecase import resolve
    from tasks.maintenance import expired_summary
    from tasks.versions import open_store

    return expired_summary(open_store(settings.store_url(f"{resolve(name).name}-log")))


def _trace(name: str, prediction_id: str, settings: Settings) -> Trace | None:
    from schemas.usecase import resolve
    from tasks.inference import trace_prediction
    from tasks.registry import open_registry
    from tasks.versions import open_store

    case = resolve(name)
    return trace_prediction(
        case,
        prediction_id,
        open_registry(settings.registry_url),
        open_store(settings.store_url(case.name)),
        open_store(settings.store_url(f"{case.name}-log")),
        settings.root / "serving" / case.name / "receipts",
    )


def print_trace(trace: Trace) -> None:
    """The way back, one step a paragraph."""
    receipt, model = trace.receipt, trace.model
    predicted = receipt.get("category", receipt.get("prediction"))
    share = f" ({receipt['probability']:.4f})" if "probability" in receipt else ""
    click.echo(f"prediction {trace.prediction_id}: {predicted}{share}, {receipt.get('scored_at')}")
    click.echo(f"  recorded in {trace.lies_in}")
    click.echo(f"model {model.name} v{model.version}, {trace.state}, sha256 {model.sha256[:12]}, run {model.run_id}")
    click.echo(f"  let through: {trace.approved or 'no reason recorded'}")
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in sorted(trace.evaluation.get("metrics", {}).items()))
    click.echo(f"  evaluated: {metrics}")
    click.echo(f"trained on {trace.manifest.get('data_store')} at {trace.training_commit[:12]}")
    click.echo(f"  {trace.manifest.get('rows'):,} rows until {trace.manifest.get('fitted_until')}")
    for source in trace.sources:
        click.echo(_line(source))


def _line(source: TracedSource) -> str:
    reasons = "; ".join(f"{check} {count:,}" for check, count in source.reasons.items())
    rejected = f", {source.rejected:,} rejected ({reasons})" if source.rejected else ""
    return f"  {source.input}: {source.name}, {source.accepted:,} of {source.rows:,} rows{rejected}, {source.sha256[:12]}"

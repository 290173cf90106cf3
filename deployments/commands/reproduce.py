"""penstock reproduce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready, show

if TYPE_CHECKING:
    from schemas.results import Reproduction


@make()
@click.argument("use_case")
@click.argument("version")
@click.option("--threads", type=click.IntRange(min=1), help="Threads that XGBoost computes with; they change no byte.")
def command(use_case: str, version: str, threads: int | None, as_json: bool) -> int:
    """Train VERSION again from its manifest and compare the model's bytes.

    VERSION is a number, champion, challenger, or all (the champion first).
    """
    settings = ready()
    from schemas.usecase import resolve
    from tasks.registry import open_registry
    from tasks.training import named_versions, reproduce

    case, registry = resolve(use_case), open_registry(settings.registry_url)
    results = []
    with settings.active():
        for model in named_versions(registry, case.name, version):
            results.append(reproduce(case, registry, model, settings.store_url(case.name), threads))
            if not as_json:
                _print(results[-1])
    document: Any = results[0] if len(results) == 1 else [result.model_dump(mode="json") for result in results]
    show(document, as_json, lambda _: None)
    return 0 if all(result.identical for result in results) else 1


def _print(result: Reproduction) -> None:
    colour = "green" if result.identical else "red"
    click.echo(
        f"{result.use_case} v{result.model.version}: {click.style(result.why, fg=colour)} "
        f"(SHA-256 {result.sha256[:12]}, {result.rows:,} rows)"
    )

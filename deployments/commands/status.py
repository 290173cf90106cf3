"""penstock status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready, show

if TYPE_CHECKING:
    from deployments.prefect_server.queries import Now, Open
    from schemas.settings import Settings
    from tasks.orchestration import LocalServer
    from tasks.reporting import UseCaseStatus


@make()
@click.argument("use_case")
def command(use_case: str, as_json: bool) -> int:
    """Where USE_CASE stands: champion, watermark, last publish, open branches and alerts, labels, what runs now."""
    settings = ready()
    from deployments.prefect_server import queries
    from schemas.usecase import resolve
    from tasks.alerting import open_alerts
    from tasks.registry import open_registry
    from tasks.reporting import use_case_status
    from tasks.versions import open_store

    case = resolve(use_case)
    store, log = (open_store(settings.store_url(name)) for name in (case.name, f"{case.name}-log"))
    stands = use_case_status(case, store, log, open_registry(settings.registry_url))
    url, server = _server(settings)
    key = server.key if server else ""
    runs = queries.running(url, case.name, use_case, key=key) if url else None
    alerts = queries.open_alerts(open_alerts(log), queries.alerts_from_events(url, case.name, key) if url else [])
    document: dict[str, Any] = stands.model_dump(mode="json")
    document["server"] = {"url": url, "shared": server.described if server else None} if url else None
    document["running"] = [run.model_dump(mode="json") for run in runs] if runs is not None else None
    document["alerts"] = [alert.model_dump(mode="json") for alert in alerts]
    show(document, as_json, lambda _: _print(stands, runs, alerts, server))
    return 0


def _server(settings: Settings) -> tuple[str | None, LocalServer | None]:
    """The Prefect server that knows what runs: the one that is set, that of `penstock up`, or the home's own."""
    from deployments.local_stack.services import read_state
    from deployments.prefect_server.in_process import api_url
    from tasks.orchestration import find_server

    if url := api_url():
        return url, None
    if state := read_state(settings):
        return f"{state['addresses']['prefect']}/api", None
    server = find_server(settings.root)
    return (server.url, server) if server else (None, None)


def _print(stands: UseCaseStatus, runs: list[Now] | None, alerts: list[Open], server: LocalServer | None) -> None:
    champion = f"v{stands.champion.version} ({stands.champion_why})" if stands.champion else "none"
    _line("champion", champion)
    if stands.champion_fitted_until:
        _line("fitted until", f"{stands.champion_fitted_until:%Y-%m-%d %H:%M}")
    if stands.challenger:
        _line("challenger", f"v{stands.challenger.version}")
    for name, newest in stands.watermarks.items():
        _line(f"{name} until", f"{newest:%Y-%m-%d %H:%M}" if newest else "nothing published")
    if last := stands.last_publish:
        counts = f"{last.accepted:,} rows, {last.rejected:,} rejected"
        _line("last publish", f"{last.source} at {last.time:%Y-%m-%d %H:%M} ({counts})")
    _line("branches", ", ".join(stands.branches) or "none open")
    if stands.coverage is not None:
        _line("labels", f"{stands.coverage:.0%} of the {stands.scored:,} rows scored last")
    if server:
        _line("server", f"{server.url}, {server.described}")
    _print_now(runs, alerts)


def _print_now(runs: list[Now] | None, alerts: list[Open]) -> None:
    if runs is None:
        _line("running", "not known: no Prefect server is set (PREFECT_API_URL), and the home's own does not run")
    else:
        _line("running", "; ".join(f"{run.name} ({run.state})" for run in runs) or "nothing")
    for alert in alerts:
        _line("alert", f"{alert.alert.severity}: {alert.alert.summary} (docs/runbook.md#{alert.alert.runbook})")
    if not alerts:
        _line("alerts", "none open")


def _line(name: str, text: str) -> None:
    click.echo(f"{name + ':':<15} {text}")

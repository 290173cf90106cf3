"""What flows say of their results: pages of the dashboard, events, alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from schemas.errors import ServiceUnavailable, UsageError
from schemas.results import Delivery, Monitoring, Retraction, Scores, Sweep, Training
from schemas.settings import in_force
from schemas.usecase import UseCase
from schemas.verdicts import Alert, Decision
from tasks import alarm, alerts, pages, unaudited
from tasks.catalog import deliver_alerts, note_told, settle_alerts, unaudited_standing, untold_moves
from tasks.killpoints import reach


def announce(event: str, use_case: str, payload: Mapping[str, Any]) -> None:
    """Emit the event `penstock.<event>` with the use case as its resource."""
    resource = {"prefect.resource.id": f"penstock.use-case.{use_case}", "prefect.resource.name": use_case}
    emit_event(f"penstock.{event}", resource=resource, payload=dict(payload))


def raise_alerts(use_case: str, scope: Iterable[str], now: Iterable[Alert]) -> None:
    """Make `now` the open alerts among the causes of `scope`: events and messages for what is new and for what is over.

    Messages that no sink takes wait in the log repository: the next flow of the use case tries again.
    """
    log = in_force().store_url(f"{use_case}-log")
    changed = settle_alerts(use_case, log, tuple(scope), tuple(now))
    for alert in changed.raised:
        announce("alert.raised", use_case, alert.model_dump(mode="json"))
    for alert in changed.resolved:
        announce("alert.resolved", use_case, alert.model_dump(mode="json"))
    if alarm.targets():
        with suppress(ServiceUnavailable, UsageError):  # the task's failure says it; the work of the flow stands
            deliver_alerts(use_case, log)


def call_off_unaudited(use_case: str, store_url: str, log_url: str) -> None:
    """Close the alerts about merges past the lake's hook whose rows are gone."""
    raise_alerts(use_case, (unaudited.CAUSE,), unaudited_standing(store_url, log_url))


def show(kind: str, use_case: str, page: str, description: str) -> None:
    """Keep a page with the flow run; pages of one kind and use case form a history in the dashboard."""
    create_markdown_artifact(page, key=f"{kind}-{use_case}", description=description)


def tell(case: UseCase, done: Delivery) -> None:
    """Page, event and alerts of one delivery."""
    show("audit", case.name, pages.audit_page(done), f"audit of {done.source}")
    told = {"source": done.source, "source_sha256": done.sha256, "input": done.input, "why": done.why}
    if done.status == "published":
        announce("data.published", case.name, {**told, "commit": done.commit, "origin": "flow"})
    elif done.status == "rejected":
        announce("data.rejected", case.name, {**told, "branch": done.branch})
    if done.status in ("published", "rejected"):
        causes = (f"{kind}.{done.input}" for kind in ("audit.rejected", "audit.unpublished", "source.unreadable"))
        raise_alerts(case.name, causes, alerts.of_delivery(case, done))


def tell_retraction(case: UseCase, result: Retraction) -> None:
    """Page and event of one retraction."""
    show("retraction", case.name, pages.retraction_page(result), f"retraction of {result.source}")
    if result.status == "retracted":
        told = {"source": result.source, "source_sha256": result.sha256, "input": result.input, "why": result.why}
        announce("data.retracted", case.name, {**told, "commit": result.commit})


def tell_sweep(result: Sweep) -> None:
    """Page of one sweep."""
    create_markdown_artifact(pages.sweep_page(result), key="sweep", description=result.why)


def tell_training(case: UseCase, result: Training) -> None:
    """Page, event and alerts of one training."""
    show("training", case.name, pages.training_page(result), f"training: {result.status}")
    reach("training.before_telling")
    made = result.model if result.made_a_model else None
    if made:
        announce(f"model.{result.status}", case.name, {"version": made.version, "why": result.why})
    if result.status == "refused" and result.verdict:
        raise_alerts(case.name, ("gate.",), alerts.alerts(case, result.verdict))
    elif result.status == "promoted":  # what was said of its predecessor is over
        raise_alerts(case.name, ("gate.", "drift.", "model."), ())
    if made:
        note_told(made, in_force().registry_url)


def tell_untold(case: UseCase) -> None:
    """Tell of promotions and refusals that a kill kept from being told; at least once, so that none stays unsaid."""
    for outcome in untold_moves(case.name, in_force().registry_url):
        tell_training(case, Training(**dict(outcome), use_case=case.name))


def tell_scores(case: UseCase, result: Scores) -> None:
    """Page and event of one scoring."""
    show("predictions", case.name, pages.scores_page(result), f"predictions: {result.status}")
    if result.status == "published" and result.predictions:
        told = {"commit": result.predictions.commit, "path": result.path, "rows": result.rows}
        announce("predictions.published", case.name, told)


def tell_monitoring(case: UseCase, result: Monitoring) -> None:
    """Page, event and alerts of one window. One whose labels came late calls off nothing that a newer one said."""
    show("monitoring", case.name, pages.monitoring_page(result), result.decision.why)
    found = alerts.alerts(case, result.decision)
    if result.current and result.newest:
        raise_alerts(case.name, ("drift.", "model."), (*found, *(alerts.alerts(case, result.drift) if result.drift else ())))
    elif result.current and found:
        raise_alerts(case.name, [alert.cause for alert in found], found)
    if result.drift and result.drift.status == "drift":
        told = {"share": result.drift.share, "why": result.drift.why, "report": result.drift.report}
        announce("drift.detected", case.name, told)


def request_training(case: UseCase, decision: Decision) -> None:
    """Ask for a training by event."""
    announce("retrain.requested", case.name, {"cause": decision.cause, "why": decision.why})

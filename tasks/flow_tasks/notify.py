"""What flows say of their results: lines of the run's log, pages of the dashboard, events, alerts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from prefect import task
from prefect.artifacts import create_markdown_artifact

from schemas.errors import ServiceUnavailable, UsageError
from schemas.results import Delivery, Monitoring, Retraction, Scores, Sweep, Training
from schemas.settings import in_force
from schemas.usecase import UseCase
from schemas.verdicts import Alert, AlertChanges, Decision
from tasks import alerting, reporting
from tasks.fault_injection import fault_point
from tasks.flow_tasks.train import mark_notified, unnotified_versions
from tasks.orchestration import TASK_OPTIONS, create_page, emit, log_step


@task(**TASK_OPTIONS, tags={"alert", "lake"})
def sync_alerts(use_case: str, log_url: str, scope: Sequence[str], now: Sequence[Alert]) -> AlertChanges:
    """Make `now` the open alerts among those whose cause begins with one of `scope`.

    Messages for the channels of the settings are queued in the same commit.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        log_url: URL of the use case's log repository, `<use case>-log`.
        scope: Prefixes of causes, like `drift.`.
        now: The alerts that are open from now on.

    Returns:
        The alerts that are new and those that are over.

    Raises:
        StaleCheck: Others keep changing the alerts.
    """
    return alerting.sync_alerts(use_case, log_url, scope, now)


@task(**TASK_OPTIONS, tags={"alert", "lake"})
def send_pending_alerts(use_case: str, log_url: str) -> int:
    """Send the queued messages to their channels, oldest first.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        log_url: URL of the use case's log repository, `<use case>-log`.

    Returns:
        How many messages were sent.

    Raises:
        ServiceUnavailable: A channel takes nothing, or nobody understands its URL; its messages wait for the next call and
            hold up no other channel.
    """
    return alerting.send_pending(use_case, log_url)


@task(**TASK_OPTIONS, tags={"alert", "lake"})
def standing_unaudited_alerts(store_url: str, log_url: str) -> tuple[Alert, ...]:
    """The open alerts of merges past the audit whose rows still lie on main.

    Args:
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        log_url: URL of the use case's log repository, `<use case>-log`.

    Returns:
        The alerts; empty where there are none.
    """
    return alerting.standing_unaudited_alerts(store_url, log_url)


def raise_alerts(use_case: str, scope: Iterable[str], now: Iterable[Alert]) -> None:
    """Make `now` the open alerts among the causes of `scope`: events and messages for what is new and for what is over.

    Messages that no sink takes wait in the log repository: the next flow of the use case tries again.

    Args:
        use_case: Name of the use case.
        scope: Prefixes of causes, like `drift.`.
        now: The alerts that are open from now on.
    """
    log = in_force().store_url(f"{use_case}-log")
    changed = sync_alerts(use_case, log, tuple(scope), tuple(now))
    for alert in changed.raised:
        emit("alert.raised", use_case, alert.model_dump(mode="json"))
    for alert in changed.resolved:
        emit("alert.resolved", use_case, alert.model_dump(mode="json"))
    if alerting.alert_sinks():
        with suppress(ServiceUnavailable, UsageError):  # the task's failure says it; the work of the flow stands
            send_pending_alerts(use_case, log)


def resolve_unaudited_alerts(use_case: str, store_url: str, log_url: str) -> None:
    """Close the alerts about merges past the lake's hook whose rows are gone.

    Args:
        use_case: Name of the use case.
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        log_url: URL of the use case's log repository, `<use case>-log`.
    """
    raise_alerts(use_case, (alerting.UNAUDITED,), standing_unaudited_alerts(store_url, log_url))


def report_delivery(case: UseCase, done: Delivery) -> None:
    """Log line, page, event and alerts of one delivery.

    Args:
        case: The use case.
        done: What became of the source.
    """
    log_step(reporting.delivery_line(case, done), headline=True)
    create_page("audit", case.name, reporting.audit_page(done), f"audit of {done.source}")
    payload = {"source": done.source, "source_sha256": done.sha256, "input": done.input, "why": done.why}
    if done.status == "published":
        emit("data.published", case.name, {**payload, "commit": done.commit, "origin": "flow"})
    elif done.status == "rejected":
        emit("data.rejected", case.name, {**payload, "branch": done.branch})
    if done.status in ("published", "rejected"):
        causes = (f"{kind}.{done.input}" for kind in ("audit.rejected", "audit.unpublished", "source.unreadable"))
        raise_alerts(case.name, causes, alerting.alerts_of_delivery(case, done))


def report_retraction(case: UseCase, result: Retraction) -> None:
    """Log line, page and event of one retraction.

    Args:
        case: The use case.
        result: What the flow came to.
    """
    log_step(reporting.retraction_line(result))
    create_page("retraction", case.name, reporting.retraction_page(result), f"retraction of {result.source}")
    if result.status == "retracted":
        payload = {"source": result.source, "source_sha256": result.sha256, "input": result.input, "why": result.why}
        emit("data.retracted", case.name, {**payload, "commit": result.commit})


def report_sweep(result: Sweep) -> None:
    """Log line and page of one sweep.

    Args:
        result: What the flow came to.
    """
    log_step(reporting.sweep_line(result))
    create_markdown_artifact(reporting.sweep_page(result), key="sweep", description=result.why)


def report_training(case: UseCase, result: Training) -> None:
    """Log line, page, event and alerts of one training.

    Args:
        case: The use case.
        result: What the flow came to.
    """
    log_step(reporting.training_line(result), headline=True)
    create_page("training", case.name, reporting.training_page(result), f"training: {result.status}")
    fault_point("training.before_telling")
    model = result.model if result.made_a_model else None
    if model:
        emit(f"model.{result.status}", case.name, {"version": model.version, "why": result.why})
    if result.status == "refused" and result.verdict:
        raise_alerts(case.name, ("gate.",), alerting.alerts_of_verdict(case, result.verdict))
    elif result.status == "promoted":  # what was said of its predecessor is over
        raise_alerts(case.name, ("gate.", "drift.", "model."), ())
    if model:
        mark_notified(model, in_force().registry_url)


def report_unnotified_versions(case: UseCase) -> None:
    """Tell of promotions and refusals that a kill kept from being told; at least once, so that none stays unsaid.

    Args:
        case: The use case.
    """
    for outcome in unnotified_versions(case.name, in_force().registry_url):
        report_training(case, Training(**dict(outcome), use_case=case.name))


def report_scores(case: UseCase, result: Scores) -> None:
    """Log line, page and event of one scoring.

    Args:
        case: The use case.
        result: What the flow came to.
    """
    log_step(reporting.scores_line(result), headline=True)
    create_page("predictions", case.name, reporting.scores_page(result), f"predictions: {result.status}")
    if result.status == "published" and result.predictions:
        payload = {"commit": result.predictions.commit, "path": result.path, "rows": result.rows}
        emit("predictions.published", case.name, payload)


def report_monitoring(case: UseCase, result: Monitoring) -> None:
    """Log lines, page, event and alerts of one window.

    One whose labels came late calls off nothing that a newer one said.

    Args:
        case: The use case.
        result: What the flow came to.
    """
    log_step(reporting.window_line(case, result))
    log_step(reporting.decision_line(result), headline=True)
    create_page("monitoring", case.name, reporting.monitoring_page(result), result.decision.why)
    alerts = alerting.alerts_of_verdict(case, result.decision)
    if result.current and result.newest:
        raise_alerts(
            case.name,
            ("drift.", "model."),
            (*alerts, *(alerting.alerts_of_verdict(case, result.drift) if result.drift else ())),
        )
    elif result.current and alerts:
        raise_alerts(case.name, [alert.cause for alert in alerts], alerts)
    if result.drift and result.drift.status == "drift":
        payload = {"share": result.drift.share, "why": result.drift.why, "report": result.drift.report}
        emit("drift.detected", case.name, payload)


def request_training(case: UseCase, decision: Decision) -> None:
    """Ask for a training by event.

    Args:
        case: The use case.
        decision: The decision that asks for it.
    """
    log_step(f"A training is asked for by the event penstock.retrain.requested, cause: {decision.cause}.")
    emit("retrain.requested", case.name, {"cause": decision.cause, "why": decision.why})

"""Alerts: what a person should look at, from verdicts. Records only; tasks/alerting/outbox.py keeps and sends them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from schemas.results import Delivery
from schemas.usecase import UseCase
from schemas.verdicts import Alert, AlertChanges, AuditVerdict, Decision, DriftVerdict, GateVerdict

Verdict = AuditVerdict | DriftVerdict | GateVerdict | Decision
Severity = Literal["info", "warning", "critical"]


def alerts_of_verdict(use_case: UseCase, verdict: Verdict) -> tuple[Alert, ...]:
    """The alerts that a verdict gives, one a cause. Each names its section of the runbook.

    Args:
        use_case: The use case.
        verdict: A verdict of audit, drift, gate or retraining policy.

    Returns:
        The alerts; empty where all is well.
    """
    match verdict:
        case AuditVerdict():
            return _of_audit(use_case, verdict)
        case DriftVerdict():
            return _of_drift(use_case, verdict)
        case GateVerdict():
            return () if verdict.promoted else (_alert(use_case, "gate.refused", "warning", verdict.why),)
        case Decision():
            return _of_decision(use_case, verdict)


def alerts_of_delivery(use_case: UseCase, done: Delivery) -> tuple[Alert, ...]:
    """The alerts that one source gives: of its audit, or that it could not be read at all.

    Args:
        use_case: The use case.
        done: What became of the source.

    Returns:
        The alerts; empty where all is well.
    """
    if done.audit is not None:
        return alerts_of_verdict(use_case, done.audit) if done.status not in ("already done", "skipped") else ()
    if done.status != "rejected":
        return ()
    return (_alert(use_case, f"source.unreadable.{done.input}", "critical", done.why),)


def alert_changes(before: Iterable[Alert], now: Iterable[Alert]) -> AlertChanges:
    """What is new and what is over between two states, told apart by use case and cause."""
    old, new = ({(a.use_case, a.cause): a for a in state} for state in (before, now))
    return AlertChanges(
        raised=tuple(alert for key, alert in new.items() if key not in old),
        resolved=tuple(alert for key, alert in old.items() if key not in new),
    )


def _of_audit(use_case: UseCase, verdict: AuditVerdict) -> tuple[Alert, ...]:
    if not verdict.publishable:
        return (_alert(use_case, f"audit.unpublished.{verdict.input}", "critical", verdict.why),)
    if verdict.rejected:
        return (_alert(use_case, f"audit.rejected.{verdict.input}", "warning", verdict.why),)
    return ()


def _of_drift(use_case: UseCase, verdict: DriftVerdict) -> tuple[Alert, ...]:
    alerts = []
    if verdict.status == "drift":
        level: Severity = "warning" if verdict.impact >= use_case.monitor.impact else "info"
        alerts.append(_alert(use_case, "drift.features", level, verdict.why))
    if verdict.unscored or verdict.status == "not enough evidence":
        alerts.append(_alert(use_case, "drift.undecided", "warning", verdict.why))
    return tuple(alerts)


def _of_decision(use_case: UseCase, verdict: Decision) -> tuple[Alert, ...]:
    if verdict.loss is not None and verdict.limit is not None and verdict.loss > verdict.limit:
        return (_alert(use_case, "model.loss", "critical", verdict.why),)
    if verdict.cause == "age":
        return (_alert(use_case, "model.age", "info", verdict.why),)
    return ()


def _alert(use_case: UseCase, cause: str, severity: Severity, summary: str) -> Alert:
    # Each kind of cause has a section of docs/runbook.md, of the same name with dashes.
    section = "-".join(cause.split(".")[:2])
    return Alert(use_case=use_case.name, cause=cause, severity=severity, summary=summary, runbook=section)

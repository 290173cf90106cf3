"""Which alerts are open after what happened."""

from typing import Any

import pytest

from deployments.prefect_server.queries import open_alerts, still_open


def told(event: str, cause: str, summary: str = "") -> dict[str, Any]:
    alert = {"use_case": "flights", "cause": cause, "severity": "warning", "summary": summary, "runbook": "x"}
    return {"event": f"penstock.alert.{event}", "payload": alert, "occurred": "2013-01-01T00:00:00Z"}


def raised(cause: str, summary: str = "") -> dict[str, Any]:
    return told("raised", cause, summary)


def over(cause: str) -> dict[str, Any]:
    return told("resolved", cause)


@pytest.mark.parametrize(
    ("events", "causes"),
    [
        ([], []),
        ([raised("gate.refused")], ["gate.refused"]),
        ([raised("gate.refused"), over("gate.refused")], []),
        ([over("gate.refused"), raised("gate.refused")], ["gate.refused"]),
        ([raised("audit.unpublished.weather"), over("audit.unpublished.flights")], ["audit.unpublished.weather"]),
        ([raised("drift.features"), raised("model.loss"), over("drift.features")], ["model.loss"]),
    ],
)
def test_an_alert_is_open_until_it_is_called_off(events: list[dict[str, Any]], causes: list[str]) -> None:
    assert [found.alert.cause for found in still_open(events)] == causes


def test_a_cause_that_is_raised_again_is_one_alert() -> None:
    assert [found.alert.summary for found in still_open([raised("model.loss", "a"), raised("model.loss", "b")])] == ["b"]


def test_what_the_log_keeps_open_counts_and_events_tell_since_when() -> None:
    events = still_open([raised("model.loss"), raised("drift.features")])
    kept = [found.alert for found in still_open([raised("model.loss"), raised("gate.refused")])]  # one too old for events
    found = open_alerts(kept, events)
    assert [(each.alert.cause, each.raised is None) for each in found] == [
        ("model.loss", False),
        ("gate.refused", True),
    ]

"""Which alerts are open after what happened."""

from typing import Any

import pytest

from deployments.oncall import still_open


def raised(cause: str, summary: str = "") -> dict[str, Any]:
    told = {"use_case": "flights", "cause": cause, "severity": "warning", "summary": summary, "runbook": "x"}
    return {"event": "penstock.alert.raised", "payload": told, "occurred": "2013-01-01T00:00:00Z"}


def happened(event: str, **payload: str) -> dict[str, Any]:
    return {"event": f"penstock.{event}", "payload": payload, "occurred": "2013-01-02T00:00:00Z"}


PUBLISHED, PROMOTED = happened("data.published", input="flights"), happened("model.promoted")


@pytest.mark.parametrize(
    ("events", "causes"),
    [
        ([], []),
        ([raised("gate.refused")], ["gate.refused"]),
        ([raised("gate.refused"), PROMOTED], []),
        ([PROMOTED, raised("gate.refused")], ["gate.refused"]),
        ([raised("audit.unpublished.flights"), PUBLISHED], []),
        ([raised("audit.unpublished.weather"), PUBLISHED], ["audit.unpublished.weather"]),
        ([raised("source.unreadable.flights"), PROMOTED], ["source.unreadable.flights"]),
        ([raised("drift.features"), raised("model.loss"), PUBLISHED], ["drift.features", "model.loss"]),
        ([raised("lake.unaudited"), PUBLISHED, PROMOTED], ["lake.unaudited"]),
    ],
)
def test_an_alert_is_open_until_something_answers_it(events: list[dict[str, Any]], causes: list[str]) -> None:
    assert [found.alert.cause for found in still_open(events)] == causes


def test_a_cause_that_is_raised_again_is_one_alert() -> None:
    assert [found.alert.summary for found in still_open([raised("model.loss", "a"), raised("model.loss", "b")])] == ["b"]

"""Alerts from the steps that flows take: events and messages once a cause, through a notification block of Prefect too."""

import json

import pytest
from prefect import flow
from pydantic import SecretStr

from schemas.results import Monitoring
from schemas.settings import Settings
from schemas.usecases.flights import FLIGHTS
from schemas.verdicts import Alert, Decision, DriftVerdict
from tasks import flow_tasks
from tasks.alerting import outbox
from tasks.orchestration import events as event_module
from tasks.versions.factory import open_store
from tests.alert_kit import COLUMN, Sink, drifted


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def emit(event: str, resource: object, payload: dict[str, str]) -> None:
        found.extend([(event, payload["cause"])] if "alert" in event else [])

    monkeypatch.setattr(event_module, "emit_event", emit)
    return found


def test_events_and_messages_come_once_and_are_called_off(
    settings: Settings, sink: Sink, events: list[tuple[str, str]]
) -> None:
    with settings.model_copy(update={"alert_urls": SecretStr(sink.url)}).active():
        for now in (drifted(0.5), drifted(0.6), []):
            flow_tasks.raise_alerts("flights", ("drift.",), now)
    assert events == [("penstock.alert.raised", "drift.features"), ("penstock.alert.resolved", "drift.features")]
    assert sink.titles == ["flights: drift.features (warning)", "flights: drift.features is over"]


def test_a_notification_block_of_prefect_is_told(settings: Settings, sink: Sink) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    url = sink.url.replace("json://", "http://")
    block = CustomWebhookNotificationBlock(name="x", url=url, json_data={"title": "{{subject}}", "message": "{{body}}"})
    block.save("on-call", overwrite=True)
    with settings.model_copy(update={"alert_urls": SecretStr("prefect://custom-webhook/on-call")}).active() as active:
        outbox.sync_alerts("flights", active.store_url("flights-log"), ("drift.",), drifted(0.5))
        assert outbox.send_pending("flights", active.store_url("flights-log")) == 1
    assert json.dumps(sink.told).count("drift.features") == 1


def test_a_block_that_is_not_there_costs_the_flow_nothing_and_the_alert_waits(settings: Settings) -> None:
    with settings.model_copy(update={"alert_urls": SecretStr("prefect://custom-webhook/nobody")}).active() as active:
        flow_tasks.raise_alerts("flights", ("drift.",), drifted(0.5))
        state = outbox.read_outbox(open_store(active.store_url("flights-log")))
    assert [alert.cause for alert in state.open] == ["drift.features"]
    assert len(state.waiting) == 1
    assert isinstance(state.open[0], Alert)
    assert state.open[0].use_case == FLIGHTS.name


def tell(seen: Monitoring) -> None:
    @flow
    def told() -> None:
        flow_tasks.report_monitoring(FLIGHTS, seen)

    told()


def test_labels_of_an_older_window_call_off_nothing_that_a_newer_one_said(
    settings: Settings, events: list[tuple[str, str]]
) -> None:
    moved = DriftVerdict(status="drift", why="dest", rows=500, columns=(COLUMN,))
    good, bad = (Decision(retrain=False, why="", loss=loss, limit=0.5) for loss in (0.4, 0.6))
    seen = Monitoring(use_case="flights", why="", drift=moved, decision=bad)
    with settings.active():
        tell(seen)
        assert sorted(cause for _, cause in events) == ["drift.features", "model.loss"]
        tell(seen.model_copy(update={"drift": None, "decision": good, "newest": False}))
        assert len(events) == 2
        tell(seen.model_copy(update={"drift": None, "decision": good}))
        assert [kind for kind, _ in events[2:]] == ["penstock.alert.resolved"] * 2
        tell(seen.model_copy(update={"newest": False}))
        assert events[4:] == [("penstock.alert.raised", "model.loss")]

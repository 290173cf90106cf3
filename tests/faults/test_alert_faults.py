"""Alerts reach a sink once a cause, wait while it is down, and are called off when it is over."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from deployments.diagnostics import doctor
from schemas.errors import ServiceUnavailable
from schemas.settings import Settings
from schemas.usecases.flights import FLIGHTS
from tasks.alerting import outbox
from tasks.monitoring.retraining_policy import should_retrain
from tasks.versions.factory import open_store
from tasks.versions.protocol import MAIN
from tests.alert_kit import Sink, drifted

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"


@pytest.fixture
def told(settings: Settings, sink: Sink) -> Iterator[Settings]:
    with settings.model_copy(update={"alert_urls": SecretStr(sink.url)}).active() as active:
        yield active


def log_of(settings: Settings) -> str:
    return settings.store_url("flights-log")


def test_a_storm_of_drift_is_told_once_and_once_more_when_it_is_over(told: Settings, sink: Sink) -> None:
    for score in (0.5, 0.7, 0.6, 0.9, 0.4):
        outbox.sync_alerts("flights", log_of(told), ("drift.", "model."), drifted(score))
        outbox.send_pending("flights", log_of(told))
    assert sink.titles == ["flights: drift.features (warning)"]
    assert "docs/runbook.md#drift-features" in sink.told[0]["message"]
    outbox.sync_alerts("flights", log_of(told), ("drift.", "model."), drifted(0.0))
    assert outbox.send_pending("flights", log_of(told)) == 1
    assert sink.titles[1:] == ["flights: drift.features is over"]
    assert outbox.read_outbox(open_store(log_of(told))).open == ()


def test_the_same_state_again_writes_nothing(told: Settings) -> None:
    log = open_store(log_of(told))
    for _ in range(2):
        outbox.sync_alerts("flights", log_of(told), ("drift.",), drifted(0.5))
        outbox.send_pending("flights", log_of(told))
        first = log.head(MAIN)
    outbox.sync_alerts("flights", log_of(told), ("audit.",), [])
    assert log.head(MAIN) == first
    assert len(log.objects(MAIN, "alerts/")) == 1


@pytest.mark.parametrize("where", ["upload", "commit", "merge", "delete_branch"])
def test_a_run_that_dies_while_it_writes_the_state_is_finished_by_the_next(
    told: Settings, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    outbox.sync_alerts("flights", log_of(told), ("drift.",), drifted(0.5))
    log = open_store(log_of(told))
    with monkeypatch.context() as patched:
        patched.setattr(type(log), where, die)
        with pytest.raises(Killed):
            outbox.sync_alerts("flights", log_of(told), ("drift.",), [])
    outbox.sync_alerts("flights", log_of(told), ("drift.",), [])
    assert outbox.read_outbox(log).open == ()
    assert len(log.objects(MAIN, "alerts/")) == 1


@pytest.mark.parametrize("how", ["refuses connections", "answers 503"])
def test_a_sink_that_is_down_is_told_when_it_is_up_again(settings: Settings, how: str) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    down = None if how == "refuses connections" else Sink(port)
    if down:
        down.status = 503
    with settings.model_copy(update={"alert_urls": SecretStr(f"json://127.0.0.1:{port}/")}).active() as active:
        outbox.sync_alerts("flights", log_of(active), ("drift.",), drifted(0.5))
        for _ in range(2):
            with pytest.raises(ServiceUnavailable, match="they wait and are sent again") as said:
                outbox.send_pending("flights", log_of(active))
            assert str(port) not in str(said.value)  # no more of the URL than its scheme
        outbox.sync_alerts("flights", log_of(active), ("drift.",), [])
        if down:
            down.close()
        up = Sink(port)
        try:
            assert outbox.send_pending("flights", log_of(active)) == 2
            assert outbox.send_pending("flights", log_of(active)) == 0
        finally:
            up.close()
    assert up.titles == ["flights: drift.features (warning)", "flights: drift.features is over"]


@pytest.mark.parametrize("other", ["json://127.0.0.1:9/", "nonsense://hunter2"])
@pytest.mark.parametrize("first", [True, False])
def test_a_sink_that_is_down_or_not_understood_holds_up_no_other(
    settings: Settings, sink: Sink, other: str, first: bool
) -> None:
    both = SecretStr(" ".join([other, sink.url] if first else [sink.url, other]))
    with settings.model_copy(update={"alert_urls": both}).active() as active:
        outbox.sync_alerts("flights", log_of(active), ("drift.",), drifted(0.5))
        for _ in range(2):
            with pytest.raises(ServiceUnavailable):
                outbox.send_pending("flights", log_of(active))
    assert len(sink.told) == 1


def test_the_state_holds_no_secret(settings: Settings) -> None:
    url = "json://user:hunter2@127.0.0.1:9/"
    with settings.model_copy(update={"alert_urls": SecretStr(url)}).active() as active:
        outbox.sync_alerts("flights", log_of(active), ("drift.",), drifted(0.5))
        log = open_store(log_of(active))
        kept = log.read(MAIN, log.objects(MAIN, "alerts/")[0].path).decode()
        with pytest.raises(ServiceUnavailable) as said:
            outbox.send_pending("flights", log_of(active))
    assert "hunter2" not in kept + str(said.value) + repr(active)


def test_a_url_that_nothing_understands_is_named_without_its_secret(settings: Settings) -> None:
    with settings.model_copy(update={"alert_urls": SecretStr("nonsense://hunter2")}).active() as active:
        outbox.sync_alerts("flights", log_of(active), ("drift.",), drifted(0.5))
        with pytest.raises(ServiceUnavailable, match="a nonsense URL of PENSTOCK_ALERT_URLS") as said:
            outbox.send_pending("flights", log_of(active))
    assert "hunter2" not in str(said.value)


def test_doctor_sees_what_was_not_delivered_and_what_is_not_understood(settings: Settings, sink: Sink) -> None:
    def seen(urls: str) -> tuple[str, str]:
        found = doctor.alerts(settings.model_copy(update={"alert_urls": SecretStr(urls) if urls else None}))
        assert "hunter2" not in found.detail
        return found.status, found.detail

    assert seen("")[0] == "note"
    assert seen(sink.url) == ("ok", "1 sinks, nothing waits")
    assert seen(f"{sink.url} nonsense://hunter2") == ("wrong", "a nonsense URL of PENSTOCK_ALERT_URLS is not understood")
    assert seen("prefect://slack-webhook")[0] == "wrong"
    with settings.model_copy(update={"alert_urls": SecretStr(sink.url)}).active():
        outbox.sync_alerts("flights", log_of(settings), ("drift.",), drifted(0.5))
    assert seen(sink.url) == ("wrong", "1 messages were not delivered and wait")


def test_a_storm_of_bad_windows_asks_for_one_training_a_cool_down() -> None:
    case = replace(FLIGHTS, monitor=replace(FLIGHTS.monitor, cooldown_days=6))
    asked: list[int] = []
    for day in range(12):  # a window a day, each far too bad
        since = float(day - asked[-1]) if asked else None
        verdict = should_retrain(
            case, drift=None, promotion_loss=0.5, realized_loss=0.9, estimated_loss=None,
            model_age_days=1.0, days_since_request=since, champion_exists=True,
        )  # fmt: skip
        asked += [day] if verdict.retrain else []
    assert asked == [0, 6]


@pytest.mark.parametrize(
    "kind",
    [
        "source.unreadable",
        "audit.unpublished",
        "audit.rejected",
        "drift.features",
        "drift.undecided",
        "model.loss",
        "model.age",
        "gate.refused",
        "lake.unaudited",
    ],
)
def test_each_kind_of_alert_has_its_page_of_the_runbook(kind: str) -> None:
    sections = [line.removeprefix("## ") for line in RUNBOOK.read_text().splitlines() if line.startswith("## ")]
    assert sections.count(kind.replace(".", "-")) == 1

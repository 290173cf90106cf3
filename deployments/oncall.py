"""What a Prefect server knows of a use case: what runs now, and which alerts are open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from schemas.errors import ServiceUnavailable
from schemas.refs import Value
from schemas.verdicts import Alert

DAYS = 30
# What shows that the trouble of an alert is over, by the beginning of its cause.
OVER = {
    "audit.": "penstock.data.published",
    "source.": "penstock.data.published",
    "gate.": "penstock.model.promoted",
    "model.": "penstock.model.promoted",
    "drift.": "penstock.model.promoted",
}


class Now(Value):
    """A run that has not ended."""

    name: str
    state: str
    since: datetime | None


class Open(Value):
    """An alert that nothing has answered yet, as it was last raised."""

    alert: Alert
    raised: datetime


def running(url: str, use_case: str) -> list[Now]:
    """Runs of a use case that wait or run. Raises ServiceUnavailable."""
    unfinished = {"state": {"type": {"any_": ["PENDING", "RUNNING", "PAUSED", "CANCELLING"]}}}
    runs = _ask(url, "flow_runs/filter", {"flow_runs": unfinished, "limit": 200})
    mine = [run for run in runs if run["parameters"].get("use_case") == use_case]
    return [Now(name=run["name"], state=run["state_name"], since=run["start_time"] or run["created"]) for run in mine]


def open_alerts(url: str, use_case: str) -> list[Open]:
    """Alerts of the last days that were not answered: by a later publish of the input, or a later promotion."""
    names = ["penstock.alert.raised", *sorted(set(OVER.values()))]
    wanted = {
        "event": {"name": names},
        "resource": {"id": [f"penstock.use-case.{use_case}"]},
        "occurred": {"since": (datetime.now(UTC) - timedelta(days=DAYS)).isoformat()},
        "order": "ASC",
    }
    return still_open(_ask(url, "events/filter", {"filter": wanted, "limit": 50}, pages=True))


def still_open(events: Iterable[Mapping[str, Any]]) -> list[Open]:
    """The alerts that are open after these events, which come in their order."""
    found: dict[str, Open] = {}
    for event in events:
        payload = event["payload"]
        if event["event"] == "penstock.alert.raised":
            alert = Alert.model_validate(payload)
            found[alert.cause] = Open(alert=alert, raised=event["occurred"])
        else:
            found = {cause: told for cause, told in found.items() if not _answers(event["event"], payload, cause)}
    return list(found.values())


def _answers(event: str, payload: Mapping[str, Any], cause: str) -> bool:
    answer = next((over for begin, over in OVER.items() if cause.startswith(begin)), None)
    about_another = event == "penstock.data.published" and not cause.endswith(f".{payload.get('input')}")
    return event == answer and not about_another


def _ask(url: str, path: str, body: dict[str, Any], *, pages: bool = False) -> list[dict[str, Any]]:
    try:
        with httpx.Client(timeout=20, trust_env=False) as client:
            told = client.post(f"{url}/{path}", json=body).raise_for_status().json()
            if not pages:
                return list(told)
            found = list(told["events"])
            while told.get("next_page"):
                told = client.get(told["next_page"]).raise_for_status().json()
                found += told["events"]
            return found
    except httpx.HTTPError as error:
        raise ServiceUnavailable(f"Prefect's server at {url} does not answer ({type(error).__name__})") from None

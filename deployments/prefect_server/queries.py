"""What a Prefect server knows of a use case: what runs now, and which alerts are open."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import Field

from schemas.errors import ServiceUnavailable
from schemas.refs import Value
from schemas.verdicts import Alert

DAYS = 30
RAISED, RESOLVED = "penstock.alert.raised", "penstock.alert.resolved"


class Now(Value):
    """A run that has not ended."""

    name: str
    state: str
    since: datetime | None


class Open(Value):
    """An alert that was not called off yet, as it was last raised."""

    alert: Alert
    raised: datetime | None = Field(default=None, description="None where no server remembers it")


def running(url: str, *names: str, key: str = "") -> list[Now]:
    """Runs of a use case that wait or run, by whichever of its names they call it; `key` where the server asks for one.

    Raises ServiceUnavailable.
    """
    unfinished = {"state": {"type": {"any_": ["PENDING", "RUNNING", "PAUSED", "CANCELLING"]}}}
    runs = _ask(url, "flow_runs/filter", {"flow_runs": unfinished, "limit": 200}, key)
    mine = [run for run in runs if run["parameters"].get("use_case") in names]
    return [Now(name=run["name"], state=run["state_name"], since=run["start_time"] or run["created"]) for run in mine]


def open_alerts(alerts: Iterable[Alert], raised_events: Iterable[Open]) -> list[Open]:
    """What the log repository keeps open (`alerts`), however old, with the moment that the events tell of."""
    raised = {event.alert.cause: event.raised for event in raised_events}
    return [Open(alert=alert, raised=raised.get(alert.cause)) for alert in alerts]


def alerts_from_events(url: str, use_case: str, key: str = "") -> list[Open]:
    """Alerts of the last days that were not called off, as the server's events tell. Raises ServiceUnavailable."""
    wanted = {
        "event": {"name": [RAISED, RESOLVED]},
        "resource": {"id": [f"penstock.use-case.{use_case}"]},
        "occurred": {"since": (datetime.now(UTC) - timedelta(days=DAYS)).isoformat()},
        "order": "ASC",
    }
    return still_open(_ask(url, "events/filter", {"filter": wanted, "limit": 50}, key, pages=True))


def still_open(events: Iterable[Mapping[str, Any]]) -> list[Open]:
    """The alerts that are open after these events, which come in their order."""
    by_cause: dict[str, Open] = {}
    for event in events:
        alert = Alert.model_validate(event["payload"])
        if event["event"] == RAISED:
            by_cause[alert.cause] = Open(alert=alert, raised=event["occurred"])
        else:
            by_cause.pop(alert.cause, None)
    return list(by_cause.values())


def _ask(url: str, path: str, body: dict[str, Any], key: str, *, pages: bool = False) -> list[dict[str, Any]]:
    try:
        headers = {"Authorization": f"Basic {b64encode(key.encode()).decode()}"} if key else {}
        with httpx.Client(timeout=20, trust_env=False, headers=headers) as client:
            page = client.post(f"{url}/{path}", json=body).raise_for_status().json()
            if not pages:
                return list(page)
            events = list(page["events"])
            while page.get("next_page"):
                page = client.get(page["next_page"]).raise_for_status().json()
                events += page["events"]
            return events
    except httpx.HTTPError as error:
        raise ServiceUnavailable(f"Prefect's server at {url} does not answer ({type(error).__name__})") from None

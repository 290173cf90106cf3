"""Telling a person: one alert to one sink, through apprise or a notification block of Prefect."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from schemas.errors import ServiceUnavailable, UsageError
from schemas.settings import in_force
from schemas.verdicts import Alert

BLOCK = "prefect://"
TYPES = {"info": "info", "warning": "warning", "critical": "failure"}


def send(url: str, alert: Alert, *, resolved: bool = False) -> None:
    """Tell one sink: an apprise URL, or prefect://<block type>/<name>, and where the runbook says what to do.

    Raises UsageError for a URL that apprise cannot read, ServiceUnavailable where the sink does not take the message. The
    URL may hold a secret: no message holds more of it than its scheme.
    """
    title = f"{alert.use_case}: {alert.cause} {'is over' if resolved else f'({alert.severity})'}"
    body = f"{alert.summary}\n\nWhat to do: {in_force().runbook_url}#{alert.runbook}"
    if url.startswith(BLOCK):
        _by_block(url.removeprefix(BLOCK), title, body)
    else:
        _by_apprise(url, title, body, "success" if resolved else TYPES[alert.severity])


def is_supported_url(url: str) -> bool:
    """Whether a message could be sent there at all; asks nobody.

    Args:
        url: URL of a channel, as apprise reads it, or `prefect://<block type>/<block>`.

    Returns:
        Whether somebody understands it.
    """
    return url.count("/") > len("//") if url.startswith(BLOCK) else _sink(url) is not None


def _sink(url: str) -> Any:
    """What sends to an apprise URL, or None where apprise does not understand it."""
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # what it says of a sink that is down, we say ourselves
    sink = apprise.Apprise()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations in what its plugins import
        return sink if sink.add(url) else None


def _by_apprise(url: str, title: str, body: str, kind: str) -> None:
    from apprise import NotifyType

    scheme = url.partition(":")[0]
    sink = _sink(url)
    if sink is None:
        raise UsageError(f"cannot send alerts to a {scheme} URL of PENSTOCK_ALERT_URLS: apprise does not understand it")
    if not sink.notify(title=title, body=body, notify_type=NotifyType(kind)):
        raise ServiceUnavailable(f"the {scheme} sink of PENSTOCK_ALERT_URLS does not take messages")


def _by_block(reference: str, title: str, body: str) -> None:
    from tasks.orchestration import notify

    try:
        notify(reference, title, body)
    except ValueError:
        raise UsageError(f"cannot send alerts: there is no block {reference}; make it in the Prefect dashboard") from None
    except Exception as error:  # each kind of block has errors of its own
        raise ServiceUnavailable(f"the block {reference} does not take messages ({type(error).__name__})") from None

"""Open alerts, kept in the log repository: each cause is told once, again only after it was over, and never lost.

The state is one JSON object: the alerts that are open, and the messages that still wait for a sink. What changes and what is
to be told is committed together; messages leave the state once their sink has taken them. A sink that is down keeps its
messages waiting; a process killed between sending and noting that sends once more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress

from pydantic import Field

from schemas.digests import sha256, sorted_json
from schemas.errors import ServiceUnavailable, StaleCheck, UsageError
from schemas.refs import CommitId, Value
from schemas.settings import in_force
from schemas.verdicts import Alert, AlertChanges
from tasks import versions
from tasks.alerting import channels
from tasks.alerting.rules import alert_changes
from tasks.versions import MAIN, VersionStore, open_store

ALERTS_KIND = "alerts"
FOLDER = "alerts/"
ATTEMPTS = 8


class Message(Value):
    """One thing to tell, and the sinks that have not been told, by the digest of their URL."""

    resolved: bool
    alert: Alert
    left: tuple[str, ...]


class Outbox(Value):
    """What is open and what waits; `serial` makes each state's content its own."""

    format_version: int = 1
    serial: int = 0
    open: tuple[Alert, ...] = ()
    waiting: tuple[Message, ...] = Field(default=(), description="oldest first")


def sync_alerts(use_case: str, log_url: str, scope: Sequence[str], now: Sequence[Alert]) -> AlertChanges:
    """Make `now` the open alerts among those whose cause begins with one of `scope`.

    Messages for the channels of the settings are queued in the same commit.

    Args:
        use_case: Name of the use case.
        log_url: URL of the use case's log repository, `<use case>-log`.
        scope: Prefixes of causes, like `drift.`.
        now: The alerts that are open from now on.

    Returns:
        The alerts that are new and those that are over.

    Raises:
        StaleCheck: Others keep changing the alerts.
    """
    log = open_store(log_url)
    if not log.exists():
        if not now:
            return AlertChanges()
        log.create()
    for _ in range(ATTEMPTS):
        head = log.head(MAIN)
        state = read_outbox(log, head)
        changed = alert_changes((a for a in state.open if a.cause.startswith(tuple(scope))), now)
        if not changed.raised and not changed.resolved:
            return changed
        with suppress(StaleCheck):
            _write(log, use_case, head, _after(state, changed))
            return changed
    raise StaleCheck(f"{use_case}: the open alerts kept changing; run it again")


def send_pending(use_case: str, log_url: str) -> int:
    """Send the queued messages to their channels, oldest first.

    Args:
        use_case: Name of the use case.
        log_url: URL of the use case's log repository, `<use case>-log`.

    Returns:
        How many messages were sent.

    Raises:
        ServiceUnavailable: A channel takes nothing, or nobody understands its URL; its messages wait for the next call and
            hold up no other channel.
    """
    log, sinks = open_store(log_url), alert_sinks()
    waiting = read_outbox(log, log.head(MAIN)).waiting if log.exists() else ()
    delivered, down = _send(waiting, sinks)
    if delivered:
        _note(log, use_case, delivered)
    if down:
        raise ServiceUnavailable(
            f"alerts of {use_case} could not be delivered: {'; '.join(down)}; they wait and are sent again"
        )
    return len(delivered)


def alert_sinks() -> dict[str, str]:
    """URLs of the sinks in the settings, by their digest: the state holds no secrets.

    Returns:
        The URLs by the first digits of their SHA-256.
    """
    configured = in_force().alert_urls
    urls = configured.get_secret_value().split() if configured else []
    return {hashlib.sha256(url.encode()).hexdigest()[:16]: url for url in urls}


def read_outbox(log: VersionStore, ref: CommitId = MAIN) -> Outbox:
    """The state at a ref; an empty one where none was written.

    Args:
        log: The use case's log repository.
        ref: Branch or commit of the log repository.

    Returns:
        Open alerts and messages that wait.
    """
    stored = log.objects(ref, FOLDER)
    return Outbox.model_validate_json(log.read(ref, stored[-1].path)) if stored else Outbox()


def open_alerts(log: VersionStore) -> tuple[Alert, ...]:
    """The alerts that are open.

    Args:
        log: The use case's log repository.

    Returns:
        The alerts.
    """
    return read_outbox(log).open if log.exists() else ()


def _after(state: Outbox, changed: AlertChanges) -> Outbox:
    resolved = {alert.cause for alert in changed.resolved}
    sinks = tuple(alert_sinks())
    fresh = [Message(resolved=False, alert=alert, left=sinks) for alert in changed.raised]
    fresh += [Message(resolved=True, alert=alert, left=sinks) for alert in changed.resolved]
    still = (alert for alert in state.open if alert.cause not in resolved)
    return Outbox(
        serial=state.serial + 1,
        open=(*still, *changed.raised),
        waiting=(*state.waiting, *(message for message in fresh if message.left)),
    )


def _send(waiting: Iterable[Message], sinks: dict[str, str]) -> tuple[set[tuple[str, str]], list[str]]:
    """What went through, as (message, sink), and what each sink that is down said. After a failure a sink gets no more."""
    delivered: set[tuple[str, str]] = set()
    down: dict[str, str] = {}
    for message in waiting:
        for sink in message.left:
            if sink in down:
                continue
            try:
                if sink in sinks:  # a sink that is no longer in the settings is forgotten
                    channels.send(sinks[sink], message.alert, resolved=message.resolved)
                delivered.add((message.model_dump_json(exclude={"left"}), sink))
            except (ServiceUnavailable, UsageError) as error:
                down[sink] = str(error)
    return delivered, list(down.values())


def _note(log: VersionStore, use_case: str, delivered: set[tuple[str, str]]) -> None:
    """Take from the state what the sinks were told."""
    for _ in range(ATTEMPTS):
        head = log.head(MAIN)
        state = read_outbox(log, head)
        left = [_without_delivered(message, delivered) for message in state.waiting]
        after = state.model_copy(update={"serial": state.serial + 1, "waiting": tuple(m for m in left if m.left)})
        with suppress(StaleCheck):
            _write(log, use_case, head, after)
            return
    raise StaleCheck(f"{use_case}: the open alerts kept changing; what was sent is sent again")


def _without_delivered(message: Message, delivered: set[tuple[str, str]]) -> Message:
    name = message.model_dump_json(exclude={"left"})
    return message.model_copy(update={"left": tuple(sink for sink in message.left if (name, sink) not in delivered)})


def _write(log: VersionStore, use_case: str, head: CommitId, state: Outbox) -> None:
    payload = sorted_json(state.model_dump(mode="json")).encode()
    digest = sha256(payload)
    metadata = {"format_version": "1", "kind": ALERTS_KIND, "use_case": use_case}
    old = [stored.path for stored in log.objects(head, FOLDER)]
    added = {f"{FOLDER}{digest}.json": payload}
    versions.commit_and_merge(
        log, f"{ALERTS_KIND}/{digest[:32]}", FOLDER, head, added, f"alerts of {use_case}", metadata, old
    )

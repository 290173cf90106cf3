"""Listens for `penstock.model.promoted` where a Prefect server is set, so that a promotion is followed at once.

Nothing depends on it: the aliases are polled as well, and a server that cannot be heard is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable

log = logging.getLogger("penstock.serving")
EVENT = "penstock.model.promoted"
RETRY_SECONDS = 30.0


def is_set() -> bool:
    """Whether a Prefect server is named in the environment."""
    return bool(os.environ.get("PREFECT_API_URL"))


class Listener(threading.Thread):
    """Calls `wake` for each promotion of a use case."""

    def __init__(self, use_case: str, wake: Callable[[], None]) -> None:
        super().__init__(name="events", daemon=True)
        self._resource = f"penstock.use-case.{use_case}"
        self._wake = wake
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self.listening = threading.Event()

    def run(self) -> None:
        """Listen until `stop`."""
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._listen())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    def stop(self) -> None:
        """End the thread."""
        if self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def _listen(self) -> None:
        while True:
            try:
                await self._receive()
            except Exception as error:
                log.warning("Prefect's events cannot be heard (%s); the aliases are polled", type(error).__name__)
            self.listening.clear()
            await asyncio.sleep(RETRY_SECONDS)

    async def _receive(self) -> None:
        from prefect.events.clients import get_events_subscriber
        from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter

        wanted = EventFilter(event=EventNameFilter(name=[EVENT]), resource=EventResourceFilter(id=[self._resource]))
        async with get_events_subscriber(wanted) as subscriber:
            self.listening.set()
            async for _ in subscriber:
                self._wake()

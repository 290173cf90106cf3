"""The log of a flow run: one line a step with the numbers that matter, as the dashboard shows it.

Lines hold counts, names of files, columns and checks, versions and commits. They never hold a row's values or a store's URL:
who may read a run's log is often not who may read the data.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from prefect.context import FlowRunContext
from prefect.logging.loggers import flow_run_logger

MOST = 12  # lines in the log of one run that collects those of the runs it starts
MORE = "More has happened than is shown here: each run below has lines of its own."


@dataclass
class _Collecting:
    """A run whose log also shows the headlines of the runs that it starts."""

    run: FlowRunContext
    lines: int = 0

    def next(self, line: str) -> str | None:
        """What to show for one more line; None once the log is full."""
        self.lines += 1
        return line if self.lines < MOST else MORE if self.lines == MOST else None


_collecting: ContextVar[_Collecting | None] = ContextVar("collecting_run", default=None)


@contextmanager
def collect_headlines() -> Iterator[None]:
    """Show the headlines of the runs that start in this block in the log of the run that it stands in, too.

    The dashboard shows a run without the lines of the runs that it started. At most `MOST` lines are shown.

    Yields:
        Nothing.
    """
    run = FlowRunContext.get()
    token = _collecting.set(_Collecting(run) if run and run.flow_run else None)
    try:
        yield
    finally:
        _collecting.reset(token)


def log_step(line: str, *, headline: bool = False) -> None:
    """Write one line to the log of the flow run that this is called in, at INFO; outside of a run, do nothing.

    Args:
        line: A sentence that tells what a step came to. No row's values, no URL.
        headline: Whether a run that collects headlines shows it as well.
    """
    run, above = FlowRunContext.get(), _collecting.get()
    if run is None or run.flow_run is None:
        return
    own = above is not None and _id(above.run) == _id(run)
    if not own:
        _logger(run).info(line)
    if above and (own or headline) and (shown := above.next(line)):
        (_logger(run).info if own else partial(_send, above.run))(shown)


def _id(run: FlowRunContext) -> UUID | None:
    return run.flow_run.id if run.flow_run else None


def _logger(run: FlowRunContext) -> logging.LoggerAdapter[logging.Logger]:
    """The run's own logger, also inside a task: a task's lines carry the task's name and are hushed in our commands."""
    return flow_run_logger(flow_run=run.flow_run, flow=run.flow)


def _send(run: FlowRunContext, line: str) -> None:
    """Send a line to the API alone: the console has shown it once, under the run that it belongs to."""
    adapter = _logger(run)
    logger, extra = adapter.logger, dict[str, Any](adapter.extra or {})
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, line, (), None, extra=extra)
    if logger.isEnabledFor(logging.INFO) and logger.filter(record):
        for handler in logger.handlers:
            handler.handle(record)

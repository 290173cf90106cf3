"""MLflow's process-wide settings, in force for the length of one call and then put back.

MLflow reads its limits from the environment whenever it asks a server, and announces on the terminal what it does. A
process that has its own business with MLflow must not notice us, so both are set around each exchange only.

They are set in Python's copy of the environment, which is the one that MLflow reads. In the C library's, a variable that
comes or goes moves the whole table, and a thread of XGBoost or the resolver that reads it at that moment ends the process.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

LOGGERS = ("mlflow", "alembic", "urllib3")

_lock = threading.Lock()
_depth = 0
_before: dict[str, str | None] = {}
_levels: dict[str, int] = {}


def exchange(timeout: int) -> dict[str, str]:
    """Settings of one exchange. No retries of MLflow's own: it repeats what has side effects without looking first."""
    return {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    }


@contextmanager
def calling(timeout: int) -> Iterator[None]:
    """One exchange with MLflow: bounded by `timeout`, s, not repeated, silent. Overlapping ones share the first's limits."""
    with _lock:
        _enter(exchange(timeout))
    try:
        yield
    finally:
        with _lock:
            _leave()


@contextmanager
def importing() -> Iterator[None]:
    """While MLflow is imported: it would start a thread that reports to its makers, and it uses what others deprecate."""
    name = "MLFLOW_DISABLE_TELEMETRY"
    before = os.environ.get(name)
    _set(name, "true")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        _set(name, before)


def _enter(values: Mapping[str, str]) -> None:
    global _depth
    _depth += 1
    if _depth > 1:
        return
    for name, value in values.items():
        _before[name] = os.environ.get(name)
        _set(name, value)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        _levels[name] = logger.level
        logger.setLevel(logging.CRITICAL + 1)


def _leave() -> None:
    global _depth
    _depth -= 1
    if _depth:
        return
    for name, value in _before.items():
        _set(name, value)
    for name, level in _levels.items():
        logging.getLogger(name).setLevel(level)
    _before.clear()
    _levels.clear()


def _set(name: str, value: str | None) -> None:
    """A variable, for Python's readers alone; None removes it."""
    held: dict[Any, Any] = vars(os.environ)["_data"]
    if value is None:
        held.pop(os.environ.encodekey(name), None)
    else:
        held[os.environ.encodekey(name)] = os.environ.encodevalue(value)

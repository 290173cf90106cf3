"""The options of our tasks, said once: retries for what may go through next time, a timeout, nothing cached.

What leaves the process is looked up by its content hash before it is repeated, so a retry or a second run costs time and
no second effect. A result is not persisted: it is a small value that the flow run holds.
"""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from schemas.errors import PenstockError, StaleCheck
from tasks.versions import is_lake_gone


def may_go_through(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a task that failed is tried again: its error is one that passes, or the lake stopped answering while it read.

    A stale check is not repeated here: the flow has to check again first.

    Args:
        task: The task.
        run: Its run.
        state: The state that the run ended in.

    Returns:
        Whether it is tried again.
    """
    error = state.result(raise_on_failure=False)
    if isinstance(error, BaseException) and is_lake_gone(error):
        return True
    return isinstance(error, PenstockError) and error.transient and not isinstance(error, StaleCheck)


TASK_OPTIONS: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "timeout_seconds": 3600,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(1),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": may_go_through,
}
LONG_TASK_OPTIONS: dict[str, Any] = TASK_OPTIONS | {
    "timeout_seconds": 6 * 3600
}  # fitting, and scoring of any number of rows

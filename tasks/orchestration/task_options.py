"""The options of our tasks: retries, timeout, no cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from schemas.errors import PenstockError, StaleCheck
from tasks.orchestration.locks import excluded
from tasks.versions import reported

P = ParamSpec("P")

R = TypeVar("R")


def only_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry what may go through next time. A stale check is not repeated here: the flow has to check again first."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, PenstockError) and error.transient and not isinstance(error, StaleCheck)


def step(function: Callable[P, R], *, tags: set[str], name: str = "", timeout: float = 3600, retries: int = 3) -> Task[P, R]:
    """A step with the habits of the house."""
    return Task(
        fn=reported(excluded(function)),
        name=(name or function.__name__).strip("_").replace("_", " "),
        tags=tags,
        cache_policy=NO_CACHE,
        persist_result=False,
        timeout_seconds=timeout,
        retries=retries,
        retry_delay_seconds=exponential_backoff(1),
        retry_jitter_factor=0.5,
        retry_condition_fn=only_transient,
    )

"""The menu: every step as a Prefect task, with its retries, cache policy, timeout and tags.

Tasks take and return values only; each opens its store and registry itself. What leaves the process is looked up by its
content hash before it is repeated, so a retry or a second run costs time and no second effect; nothing here is cached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, runtime
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.events import emit_event
from prefect.tasks import exponential_backoff

from schemas.errors import PenstockError, StaleCheck
from schemas.usecase import UseCase, resolve
from schemas.verdicts import Alert
from tasks import delivery, ingestion
from tasks.installation import refuse_shadows

P = ParamSpec("P")
R = TypeVar("R")


def only_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry what may go through next time. A stale check is not repeated here: the flow has to check again first."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, PenstockError) and error.transient and not isinstance(error, StaleCheck)


def step(function: Callable[P, R], *, tags: set[str], timeout: float = 3600, retries: int = 3) -> Task[P, R]:
    """A step with the habits of the house."""
    return Task(
        fn=function,
        name=function.__name__.replace("_", " "),
        tags=tags,
        cache_policy=NO_CACHE,
        persist_result=False,
        timeout_seconds=timeout,
        retries=retries,
        retry_delay_seconds=exponential_backoff(1),
        retry_jitter_factor=0.5,
        retry_condition_fn=only_transient,
    )


fingerprint = step(ingestion.fingerprint, tags={"ingest"})
already_published = step(delivery.already_published, tags={"ingest", "lake"})
audit_on_branch = step(delivery.audit_on_branch, tags={"ingest", "lake"})
publish = step(delivery.publish, tags={"ingest", "lake"})


def begin(use_case: str) -> UseCase:
    """What every flow does first: refuse packages that are not ours, and resolve the use case."""
    refuse_shadows()
    return resolve(use_case)


def flow_run_id() -> str:
    """Id of the flow run this is called in, or ''."""
    return str(runtime.flow_run.id or "")


def announce(event: str, use_case: str, **payload: Any) -> None:
    """Emit the event `penstock.<event>` with the use case as its resource."""
    resource = {"prefect.resource.id": f"penstock.use-case.{use_case}", "prefect.resource.name": use_case}
    emit_event(f"penstock.{event}", resource=resource, payload=payload)


def alert(raised: Alert) -> None:
    """Emit `penstock.alert.raised`."""
    announce("alert.raised", raised.use_case, **raised.model_dump(mode="json"))

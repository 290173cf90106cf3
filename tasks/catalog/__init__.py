"""The menu: every step as a Prefect task, with its retries, cache policy, timeout and tags.

Tasks take and return values only; each opens its store and registry itself. What leaves the process is looked up by its
content hash before it is repeated, so a retry or a second run costs time and no second effect; nothing here is cached.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, runtime
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from schemas.errors import PenstockError, StaleCheck
from schemas.usecase import UseCase, resolve
from tasks import (
    alarm,
    baselines,
    batch,
    beginning,
    by_hand,
    dated,
    delivery,
    ingestion,
    partitions,
    retention,
    retraction,
    sweeping,
    unaudited,
    watch,
)
from tasks import challenge as training
from tasks.catalog.exclusion import excluded
from tasks.installation import refuse_shadows
from tasks.versions.read_errors import reported

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


fingerprint = step(ingestion.fingerprint, tags={"ingest"})
already_published = step(delivery.already_published, tags={"ingest", "lake"})
audit_on_branch = step(delivery.audit_on_branch, tags={"ingest", "lake"})
publish = step(delivery.publish, tags={"ingest", "lake"})
untold = step(delivery.untold, tags={"ingest", "lake"})
tidy = step(delivery.tidy, tags={"ingest", "lake"})
retract = step(retraction.retract, tags={"lake"})
sweep = step(sweeping.sweep, tags={"lake"})
let_go = step(retention.let_go, tags={"lake"})

data_at = step(batch.head, tags={"lake"})
champion = step(training.champion, tags={"registry"})
challenge = step(training.challenge, tags={"train", "lake", "registry"}, timeout=6 * 3600)
refit = step(training.refit, tags={"train", "lake", "registry"}, timeout=6 * 3600)
try_out = step(training.try_out, tags={"train", "registry"})
settled = step(training.settled, tags={"train", "registry"})
untold_moves = step(training.untold, name="untold_moves", tags={"train", "registry"})
note_told = step(training.note_told, tags={"train", "registry"})
held_back = step(by_hand.held_back, tags={"registry", "lake"})
gate_version = step(by_hand.gate_version, tags={"train", "lake", "registry"})
rollback_target = step(by_hand.rollback_target, tags={"registry", "lake"})
try_out_again = step(by_hand.try_out, tags={"registry"})
promote = step(training.promote, tags={"train", "registry", "lake"})
promote_by_hand = step(by_hand.promote, name="promote_by_hand", tags={"registry", "lake"})
roll_back = step(by_hand.roll_back, tags={"registry", "lake"})

score = step(batch.score, tags={"score", "lake", "registry"}, timeout=6 * 3600)
score_file = step(batch.score_file, tags={"score", "lake", "registry"}, timeout=6 * 3600)
unscored_beginning = step(beginning.unscored, tags={"score", "lake", "registry"})
windows_of = step(watch.windows_of, tags={"monitor", "lake"})
look = step(watch.look, tags={"monitor", "lake", "registry"})
settle_alerts = step(alarm.settle, tags={"alert", "lake"})
deliver_alerts = step(alarm.deliver, tags={"alert", "lake"})
unaudited_standing = step(unaudited.standing, tags={"alert", "lake"})

dated_files = step(partitions.files, tags={"ingest"})
publishes = step(partitions.publishes, tags={"lake"})
refuse_history = step(dated.refuse_history, tags={"lake"})
looped = step(baselines.looped, tags={"monitor", "lake"})
bare = step(baselines.bare, tags={"train", "lake"}, timeout=6 * 3600, retries=0)


def who(*people: str | None) -> str:
    """Who moves an alias: the people who asked for it, and the flow run it happened in."""
    return ", ".join(filter(None, [*people, f"flow run {flow_run_id()}" if flow_run_id() else ""]))


def begin(use_case: str) -> UseCase:
    """What every flow does first: refuse packages that are not ours, and resolve the use case."""
    refuse_shadows()
    return resolve(use_case, modules=not deployed())


def deployed() -> bool:
    """Whether a worker started this process: then events and schedules speak, and may name registered use cases only."""
    return bool(os.environ.get("PREFECT__FLOW_RUN_ID"))


def flow_run_id() -> str:
    """Id of the flow run this is called in, or ''."""
    return str(runtime.flow_run.id or "")

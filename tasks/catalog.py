"""The menu: every step as a Prefect task, with its retries, cache policy, timeout and tags.

Tasks take and return values only; each opens its store and registry itself. What leaves the process is looked up by its
content hash before it is repeated, so a retry or a second run costs time and no second effect; nothing here is cached.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, ParamSpec, TypeVar

from prefect import Task, get_client, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect.exceptions import FlowPauseTimeout, ObjectAlreadyExists
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.settings import PREFECT_API_URL
from prefect.states import Running
from prefect.tasks import exponential_backoff
from pydantic import Field

from schemas.errors import PenstockError, ServiceUnavailable, StaleCheck, UsageError
from schemas.refs import ModelRef
from schemas.results import Challenge, Delivery, Monitoring, Retraction, Scores, Sweep, Training
from schemas.settings import in_force
from schemas.usecase import UseCase, resolve
from schemas.verdicts import Alert, Check, Decision
from tasks import (
    alarm,
    alerts,
    baselines,
    batch,
    beginning,
    by_hand,
    dated,
    delivery,
    ingestion,
    pages,
    partitions,
    retention,
    retraction,
    sweeping,
    unaudited,
    watch,
)
from tasks import challenge as training
from tasks.installation import refuse_shadows
from tasks.registry.exclusion import excluding
from tasks.versions.trouble import reported

P = ParamSpec("P")
R = TypeVar("R")


LEASE = 60.0  # s that a dead process holds others back, on a server
PATIENCE = 300.0  # s that a change of a use case's models waits for another one
POLL = 2  # s between two looks for a person's answer


@contextmanager
def alone(use_case: str) -> Iterator[None]:
    """Nobody else changes this use case's models or their history meanwhile, on any machine that shares the Prefect server.

    A global concurrency limit with a lease, made where it is missing; a lost lease ends what is held. Without a server
    there is one machine, whose processes the registry's own lock keeps apart. Raises ServiceUnavailable, UsageError.
    """
    if not PREFECT_API_URL.value():
        yield
        return
    name = f"penstock-promotion-{use_case}"
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1, active=True))
        limit = client.read_global_concurrency_limit_by_name(name)
    if (limit.active, limit.limit) != (True, 1):
        raise UsageError(f"the concurrency limit {name} keeps promotions apart only while it is active and 1: set it so")
    with ExitStack() as slot:
        try:
            slot.enter_context(concurrency(name, strict=True, lease_duration=LEASE, timeout_seconds=PATIENCE))
        except TimeoutError:
            raise ServiceUnavailable(
                f"another change of {use_case}'s models did not end in {PATIENCE:.0f} s: try later"
            ) from None
        yield


def excluded(function: Callable[P, R]) -> Callable[P, R]:
    """The function; each change that it makes to a registry is made `alone`. Nothing is held in between."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with excluding(alone):
            return function(*args, **kwargs)

    return run


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


class Approval(RunInput):
    """What a person answers in the dashboard."""

    approve: bool = Field(default=False, description="Whether the version becomes champion")
    name: str = Field(default="", description="Who decides")
    note: str = Field(default="", description="Why")


def approved(case: UseCase, challenged: Challenge, model: ModelRef) -> tuple[Challenge, str]:
    """Ask a person in the dashboard, where the use case wants that, and wait; nothing is locked meanwhile.

    Returns the challenge, refused where the answer is no or does not come in time, and who said so.
    """
    patience = case.gate.approval
    if patience is None or not challenged.verdict.promoted:
        return challenged, ""
    page = f"Shall **{case.name} v{model.version}** become champion? The gate says: {challenged.verdict.why}"
    form = Approval.with_initial_data(description=page)
    announce("approval.requested", case.name, {"version": model.version, "why": challenged.verdict.why})
    try:
        answer = pause_flow_run(wait_for_input=form, timeout=max(1, round(patience.total_seconds())), poll_interval=POLL)
    except FlowPauseTimeout:
        _go_on()
        return _refused(challenged, f"nobody approved v{model.version} within {patience}"), ""
    if answer.approve:
        return challenged, answer.name or "unnamed"
    return _refused(challenged, f"{answer.name or 'a person'} said no: {answer.note or 'no reason given'}"), answer.name


def _go_on() -> None:
    """The run is still paused on the server, where the answer did not come: it goes on to say so."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(runtime.flow_run.id, Running(), force=True)


def _refused(challenged: Challenge, why: str) -> Challenge:
    verdict = challenged.verdict
    checks = (*verdict.checks, Check(name="approval", passed=False, detail=why))
    refused = verdict.model_copy(update={"promoted": False, "why": f"refused: {why}", "checks": checks})
    return challenged.model_copy(update={"verdict": refused})


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


def announce(event: str, use_case: str, payload: Mapping[str, Any]) -> None:
    """Emit the event `penstock.<event>` with the use case as its resource."""
    resource = {"prefect.resource.id": f"penstock.use-case.{use_case}", "prefect.resource.name": use_case}
    emit_event(f"penstock.{event}", resource=resource, payload=dict(payload))


def raise_alerts(use_case: str, scope: Iterable[str], now: Iterable[Alert]) -> None:
    """Make `now` the open alerts among the causes of `scope`: events and messages for what is new and for what is over.

    Messages that no sink takes wait in the log repository: the next flow of the use case tries again.
    """
    log = in_force().store_url(f"{use_case}-log")
    changed = settle_alerts(use_case, log, tuple(scope), tuple(now))
    for alert in changed.raised:
        announce("alert.raised", use_case, alert.model_dump(mode="json"))
    for alert in changed.resolved:
        announce("alert.resolved", use_case, alert.model_dump(mode="json"))
    if alarm.targets():
        with suppress(ServiceUnavailable, UsageError):  # the task's failure says it; the work of the flow stands
            deliver_alerts(use_case, log)


def call_off_unaudited(use_case: str, store_url: str, log_url: str) -> None:
    """Close the alerts about merges past the lake's hook whose rows are gone."""
    raise_alerts(use_case, (unaudited.CAUSE,), unaudited_standing(store_url, log_url))


def show(kind: str, use_case: str, page: str, description: str) -> None:
    """Keep a page with the flow run; pages of one kind and use case form a history in the dashboard."""
    create_markdown_artifact(page, key=f"{kind}-{use_case}", description=description)


def tell(case: UseCase, done: Delivery) -> None:
    """Page, event and alerts of one delivery."""
    show("audit", case.name, pages.audit_page(done), f"audit of {done.source}")
    told = {"source": done.source, "source_sha256": done.sha256, "input": done.input, "why": done.why}
    if done.status == "published":
        announce("data.published", case.name, {**told, "commit": done.commit, "origin": "flow"})
    elif done.status == "rejected":
        announce("data.rejected", case.name, {**told, "branch": done.branch})
    if done.status in ("published", "rejected"):
        causes = (f"{kind}.{done.input}" for kind in ("audit.rejected", "audit.unpublished", "source.unreadable"))
        raise_alerts(case.name, causes, alerts.of_delivery(case, done))


def tell_retraction(case: UseCase, result: Retraction) -> None:
    """Page and event of one retraction."""
    show("retraction", case.name, pages.retraction_page(result), f"retraction of {result.source}")
    if result.status == "retracted":
        told = {"source": result.source, "source_sha256": result.sha256, "input": result.input, "why": result.why}
        announce("data.retracted", case.name, {**told, "commit": result.commit})


def tell_sweep(result: Sweep) -> None:
    """Page of one sweep."""
    create_markdown_artifact(pages.sweep_page(result), key="sweep", description=result.why)


def tell_training(case: UseCase, result: Training) -> None:
    """Page, event and alerts of one training."""
    show("training", case.name, pages.training_page(result), f"training: {result.status}")
    if result.status in ("promoted", "refused") and result.model:
        announce(f"model.{result.status}", case.name, {"version": result.model.version, "why": result.why})
    if result.status == "refused" and result.verdict:
        raise_alerts(case.name, ("gate.",), alerts.alerts(case, result.verdict))
    elif result.status == "promoted":  # what was said of its predecessor is over
        raise_alerts(case.name, ("gate.", "drift.", "model."), ())


def tell_scores(case: UseCase, result: Scores) -> None:
    """Page and event of one scoring."""
    show("predictions", case.name, pages.scores_page(result), f"predictions: {result.status}")
    if result.status == "published" and result.predictions:
        told = {"commit": result.predictions.commit, "path": result.path, "rows": result.rows}
        announce("predictions.published", case.name, told)


def tell_monitoring(case: UseCase, result: Monitoring) -> None:
    """Page, event and alerts of one window. One whose labels came late calls off nothing that a newer one said."""
    show("monitoring", case.name, pages.monitoring_page(result), result.decision.why)
    found = alerts.alerts(case, result.decision)
    if result.current and result.newest:
        raise_alerts(case.name, ("drift.", "model."), (*found, *(alerts.alerts(case, result.drift) if result.drift else ())))
    elif result.current and found:
        raise_alerts(case.name, [alert.cause for alert in found], found)
    if result.drift and result.drift.status == "drift":
        told = {"share": result.drift.share, "why": result.drift.why, "report": result.drift.report}
        announce("drift.detected", case.name, told)


def request_training(case: UseCase, decision: Decision) -> None:
    """Ask for a training by event."""
    announce("retrain.requested", case.name, {"cause": decision.cause, "why": decision.why})

"""Backfill: ranges of partitions are ingested or scored, a few at once, each once; models are never trained or moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from prefect import task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field

from flows.ingest import ingest
from flows.score import score
from schemas.distribution import install_command
from schemas.errors import PenstockError, Refused, UsageError
from schemas.replaying import Backfill, Partition, Unit
from schemas.settings import Settings, in_force, read_settings
from tasks import flow_tasks, orchestration, reporting
from tasks.orchestration import penstock_flow, track_progress

Where = Mapping[str, Any]


@penstock_flow("backfill", "backfill {use_case} {what} {since} to {until}")
def backfill(
    use_case: Annotated[str, Field(min_length=1)],
    since: Annotated[str, Field(min_length=7, max_length=10)],
    until: Annotated[str, Field(min_length=7, max_length=10)],
    what: Literal["ingest", "score"] = "ingest",
    source: str | None = None,
    at_once: Annotated[int, Field(ge=1, le=64)] = 2,
    input: str | None = None,
) -> Backfill:
    """Ingest dated files, or score published rows that no model has scored, for a range of partitions.

    What was done before is "already done", so a backfill that was stopped is finished by running it again. One partition's
    failure does not stop the others. The champion scores and is never moved.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        since: First partition, e.g. 2013-04, or day.
        until: Last partition or day, included.
        what: ingest files, or score what is published.
        source: Glob of the files; each name holds its date. The landing folder where it is left out.
        at_once: How many partitions are worked on at the same time.
        input: Which input the files deliver; told by their folder or name where it is left out.

    Returns:
        One entry a partition: what became of it, and how many rows.

    Raises:
        UsageError: There is no such use case, or a value is not one that the flow takes.
        ServiceUnavailable: Prefect, the lake or the registry does not answer.
    """
    case, settings = orchestration.begin_flow(use_case), in_force()
    if what == "score":
        units = flow_tasks.list_publishes(use_case, settings.store_url(case.name), since, until)
    else:
        place = source or str(settings.landing_dir / case.name / "*" / "*")
        units = flow_tasks.partition_files(use_case, place, since, until, input)
    orchestration.log_step(f"Backfill ({what}) of {since} to {until}: {len(units)} partitions, {at_once} at once.")
    step: Any = ingest_one if what == "ingest" else score_one
    with runner(settings, at_once) as pool:
        asked = {"use_case": unmapped(use_case), "unit": units, "where": unmapped(where(settings))}
        futures = pool.map(step, asked) if units else []
        pairs = track_progress(zip(units, futures, strict=True), len(units), f"{what} {case.name}: {len(units)} partitions")
        done = [_outcome(unit, future) for unit, future in pairs]
    result = Backfill(use_case=case.name, what=what, partitions=tuple(done))
    orchestration.log_step(reporting.backfill_line(result))
    orchestration.create_page("backfill", case.name, reporting.backfill_page(result), result.why)
    return result


def runner(settings: Settings, at_once: int) -> TaskRunner[Any]:
    """Threads of this process, or Dask's workers. Raises UsageError where prefect-dask is not installed."""
    if settings.task_runner == "threads":
        return ThreadPoolTaskRunner(max_workers=at_once)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError:
        raise UsageError(f"the task runner dask needs prefect-dask: {install_command('dask')}") from None
    if settings.dask_address:
        return DaskTaskRunner(address=settings.dask_address)
    cluster = {"n_workers": at_once, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    return DaskTaskRunner(cluster_kwargs=cluster)


def where(settings: Settings) -> Where:
    """The settings' places, for workers elsewhere; what is secret they read from their own environment."""
    return {
        "home": settings.root,
        "lake_url": settings.lake_url,
        "mlflow_url": settings.mlflow_url,
        "landing": settings.landing_dir,
        "reports": settings.reports_dir,
    }


@task(name="ingest one", task_run_name="ingest {unit.name}", cache_policy=NO_CACHE, persist_result=False)
def ingest_one(use_case: str, unit: Unit, where: Where) -> Partition:
    """Ingest one dated file."""
    with read_settings(**where).active():
        delivery = ingest(use_case, unit.place, input=unit.input).deliveries[0]
    statuses = {"already done": "already done", "rejected": "refused"}
    rows = delivery.audit.accepted if delivery.audit and delivery.status == "published" else 0
    return partition(unit, statuses.get(delivery.status, "done"), delivery.why, rows)


@task(name="score one", task_run_name="score {unit.name}", cache_policy=NO_CACHE, persist_result=False)
def score_one(use_case: str, unit: Unit, where: Where) -> Partition:
    """Score the rows of one publish, unless a model has scored them before."""
    with read_settings(**where).active():
        scores = score(use_case, arrival=unit.place, once=True)
    done = scores.status == "already done"
    return partition(unit, "already done" if done else "done", scores.why, 0 if done else scores.rows)


def partition(unit: Unit, status: str, why: str, rows: int = 0) -> Partition:
    """The outcome of one unit."""
    return Partition.model_validate({"name": unit.name, "status": status, "why": why, "rows": rows})


def _outcome(unit: Unit, future: Any) -> Partition:
    result = future.result(raise_on_failure=False)
    if isinstance(result, Partition):
        return result
    error = result if isinstance(result, BaseException) else None
    status = "refused" if isinstance(error, Refused) else "failed"
    why = str(error) if isinstance(error, PenstockError) else f"{type(result).__name__}: {result}"
    return partition(unit, status, " ".join(why.split()))

"""Ingest: a source becomes an audited commit on a branch of its own, and is published if the contract lets it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from schemas.errors import Refused, StaleCheck, UsageError
from schemas.refs import Source
from schemas.results import Delivery, IngestResult, Staged
from schemas.settings import in_force
from schemas.usecase import Input, UseCase
from tasks import flow_tasks, orchestration
from tasks.ingestion import fetched, frame_source, is_local_table, is_remote, locate
from tasks.orchestration import PenstockFlow, penstock_flow, require_source, run_name_from_source
from tasks.parsing import Limits

ATTEMPTS = 5


class Ingest(PenstockFlow[..., IngestResult]):
    """The flow, which in Python also takes a polars or pandas frame: it becomes a file, a source like any other."""

    def __call__(self, use_case: str, source: Any, *args: Any, **kwargs: Any) -> IngestResult:  # type: ignore[override]
        """Run the flow; see `_ingest`."""
        if hasattr(source, "columns"):
            source = frame_source(source, in_force().root / "frames", "frame")
        result: IngestResult = super().__call__(use_case, str(source), *args, **kwargs)
        return result


def _ingest(
    use_case: Annotated[str, Field(min_length=1)],
    source: Annotated[str, Field(min_length=1)],
    input: str | None = None,
) -> IngestResult:
    """Audit sources against an input's contract and publish what may be published.

    Every row is accounted for: accepted, rejected with its reasons, or redelivered. A source that was published before is
    "already done". Of a refused source nothing reaches `main`; its branch stays for inspection.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        source: A path or a glob, also lakefs://repository/ref/path or s3://bucket/key; CSV, JSON, Parquet (also a folder),
            Arrow or Excel; or a file <name>.sql whose query gives the rows, and which names its database's variable in a
            comment; or a table at a version: delta+s3://bucket/table@12 or iceberg+catalog://name/table@snapshot. A
            deployment reads paths below its landing folder only, and takes them from there: flights/2013-04.csv.
        input: Which input the source delivers; told by the file's folder or name where it is left out.

    Returns:
        One delivery a file: published, rejected, skipped or already done, with the audit's verdict and the commit.

    Raises:
        UsageError: There is no such use case, or a value is not one that the flow takes.
        ServiceUnavailable: Prefect, the lake or the registry does not answer.
        StaleCheck: The input kept changing while it was published: run it again.
    """
    case = orchestration.begin_flow(use_case)
    spec = case.choose_input(input, source)
    store = in_force().store_url(case.name)
    deliveries = []
    place, root = landed(case, source)
    with fetched(place) as pattern:
        for path in locate(pattern, root):
            delivery = _deliver(use_case, spec, flow_tasks.fingerprint(path), store)
            _tell(case, delivery, store)
            deliveries.append(delivery)
    return IngestResult(use_case=case.name, deliveries=tuple(deliveries))


def _deliver(use_case: str, spec: Input, source: Source, store: str) -> Delivery:
    delivery = partial(Delivery, source=source.name, sha256=source.sha256, input=spec.name)
    for _ in range(ATTEMPTS):
        if done := flow_tasks.already_published(store, spec.name, source.sha256):
            return delivery(status="already done", why=f"published as {done.id[:12]}", commit=done.id)
        try:
            staged = flow_tasks.audit_on_branch(use_case, spec.name, source, store, orchestration.flow_run_id(), _limits())
            return _publish(use_case, spec, source, staged, store)
        except StaleCheck:
            continue  # the partitions moved since their keys were checked: look and audit again
        except Refused as refusal:
            return delivery(status="rejected", why=str(refusal))
    raise StaleCheck(f"{source.name}: {spec.name} kept changing while it was published; run it again")


def _tell(case: UseCase, delivery: Delivery, store: str) -> None:
    """Say what became of a source, and what a run that was killed after its publish left unsaid."""
    unsaid = (
        flow_tasks.unnotified_publish(store, delivery.commit)
        if delivery.status == "already done" and delivery.commit
        else None
    )
    reported = delivery.model_copy(update={"status": "published", "audit": unsaid}) if unsaid else delivery
    flow_tasks.report_delivery(case, reported)
    orchestration.record_data_asset(case, reported)
    if delivery.commit and (unsaid or delivery.status == "published"):
        flow_tasks.delete_published_branch(store, delivery.commit)


def _publish(use_case: str, spec: Input, source: Source, staged: Staged, store: str) -> Delivery:
    verdict = staged.verdict
    delivery = partial(Delivery, source=source.name, sha256=source.sha256, input=spec.name, audit=verdict)
    if staged.commit is None:
        return delivery(status="skipped", why="the source holds no row")
    if not verdict.publishable:
        return delivery(status="rejected", why=verdict.why, branch=staged.branch)
    commit = flow_tasks.publish(use_case, spec.name, source, staged, store)
    return delivery(status="published", why=verdict.why, commit=commit.id)


def landed(case: UseCase, source: str) -> tuple[str, Path | None]:
    """Where a source lies, and the folder that it must not lead out of: what an event names is not any file of ours."""
    if not orchestration.is_deployed() or is_remote(source):
        return source, None
    if is_local_table(source):
        raise UsageError(f"cannot read {source!r}: a deployment reads this machine's files below its landing folder only")
    root = in_force().landing_dir / case.name
    return str(root / source), root


def _limits() -> Limits:
    settings = in_force()
    return Limits(memory_mb=settings.parse_memory_mb, seconds=settings.parse_seconds)


ingest: Ingest = penstock_flow("ingest", run_name_from_source, Ingest, [require_source])(_ingest)  # type: ignore[assignment]

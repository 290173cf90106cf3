"""Batch scoring: the rows that a commit brought, or those of a file, scored by the champion and published with receipts.

Rows of any number pass in pieces: while one is scored, the receipts of the one before are written. A cause (model, rows)
is published once; killed at any point, the same call goes on with the pieces that are missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from schemas.errors import NotEnoughEvidence, NotFound
from schemas.model_design import Design, absent_columns
from schemas.refs import Commit, CommitId, DataRef, ModelRef, Source
from schemas.results import RowsToScore, Scores
from schemas.usecase import UseCase, resolve
from schemas.verdicts import AuditVerdict
from tasks import datasets, evaluation, features, models, parsing
from tasks.inference import prediction_rows, prediction_store
from tasks.inference.prediction_store import SCORE_FILE_KIND, SCORE_KIND
from tasks.registry import open_registry, versioned
from tasks.timestamps import cast_like
from tasks.versions import MAIN, VersionStore, open_store


@dataclass(frozen=True)
class Job:
    """One scoring: what predicts what, seen as of which data, and where it is published.

    `case` is the use case as the model has it; `contract_version` is that of the contract by which rows are judged today.
    """

    case: UseCase
    model: ModelRef
    data: DataRef
    log: VersionStore
    cause: str
    contract_version: str
    flow_run: str = ""
    since: datetime | None = None
    with_inputs: bool = field(default=False, kw_only=True)

    @property
    def summary(self) -> dict[str, Any]:
        """What every result says of it."""
        return {"use_case": self.case.name, "cause": self.cause, "model": self.model, "data": self.data}


def score_commit(use_case: str, data: DataRef, rows: RowsToScore, registry_url: str, log_url: str, flow_run: str) -> Scores:
    """Score the rows that one publish brought, seen as of `data`, and publish the predictions.

    One cause (model, rows) is published once; a second call answers "already done".

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        data: Commit of the data, and the repository that it lies in.
        rows: Which rows: the publish that brought them, None for the newest, and from which moment on.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.
        flow_run: Id of the flow run that does it; it is kept with the commit. May be empty.

    Returns:
        Where the predictions lie, how many, and by which model.

    Raises:
        NotEnoughEvidence: There is no champion.
        NotFound: No rows were published.
    """
    declared, model, log = _begin(use_case, registry_url, log_url)
    case, design = versioned(declared, open_registry(registry_url), model)
    store = open_store(data.store)
    arrival = rows.arrival or _newest_arrival(store, case, data)
    rows = rows.model_copy(update={"arrival": arrival})
    cause = scoring_cause(model, rows)
    job = Job(case, model, data, log, cause, contract_version_of(declared), flow_run, rows.since)
    if done := already_scored(log, rows, cause):
        return Scores(**job.summary, status="already done", why="these rows were scored before", **_where(log, done))
    paths = datasets.paths_added_by(store, arrival, case.rows)
    if absent := datasets.absent_columns(design, data, paths):
        why = _not_scored(model, f"commit {arrival[:12]}", absent)
        return Scores(**job.summary, status="skipped", why=why, absent=tuple(absent))
    dtypes = case.input(case.rows).contract.dtypes()
    published = pieces(lambda path: store.scan(data.commit, [path], dtypes), paths)
    with TemporaryDirectory(prefix="penstock-") as scratch:
        commit = run(job, published, Path(scratch), {"kind": SCORE_KIND, "arrival": arrival})
    if commit is None:
        return Scores(**job.summary, status="skipped", why=f"commit {arrival[:12]} brought no {case.rows} to score")
    return _published(job, commit)


def _newest_arrival(store: VersionStore, case: UseCase, data: DataRef) -> CommitId:
    """The newest publish of rows that was not retracted. Raises NotFound where there is none."""
    newest = datasets.newest_publish(store, case.rows, data.commit)
    if newest is None:
        raise NotFound(f"no {case.rows} are published in {data.store}; ingest some first")
    return newest.commit.id


def scoring_cause(model: ModelRef, rows: RowsToScore) -> str:
    """What the predictions of these rows by this model are known by.

    Args:
        model: The version.
        rows: Which rows.

    Returns:
        SHA-256 of model and rows, in hexadecimal.
    """
    return hashlib.sha256(f"{model.sha256} {rows.arrival} {rows.since or ''}".encode()).hexdigest()


def score_file(
    use_case: str,
    data: DataRef,
    source: Source,
    registry_url: str,
    log_url: str,
    flow_run: str,
    limits: parsing.Limits,
) -> Scores:
    """Score the rows of a file that lies in no store, audited by the rows' contract, and publish the predictions.

    Outcomes may be missing. A file is refused as a whole as an ingested one would be; else its rejected rows lie beside the
    predictions of the others. One cause (model, file) is published once.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        data: Commit at which other inputs are looked up.
        source: The file, with its size in bytes and its SHA-256.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.
        flow_run: Id of the flow run that does it; it is kept with the commit. May be empty.
        limits: Memory in MiB and time in seconds that the reading child process may use.

    Returns:
        Where the predictions lie, how many, by which model, and the audit's verdict.

    Raises:
        NotEnoughEvidence: There is no champion.
        Refused: The file cannot be read.
    """
    declared, model, log = _begin(use_case, registry_url, log_url)
    case, design = versioned(declared, open_registry(registry_url), model)
    cause = hashlib.sha256(f"{model.sha256} file {source.sha256}".encode()).hexdigest()
    job = Job(case, model, data, log, cause, contract_version_of(declared), flow_run, with_inputs=True)
    if done := already_scored(log, RowsToScore(), cause):
        earlier = {**_where(log, done), "audit": AuditVerdict.model_validate_json(done.metadata["audit"])}
        return Scores(**job.summary, status="already done", why=f"{source.name} was scored before", **earlier)
    with TemporaryDirectory(prefix="penstock-") as scratch:
        return _score_audited(job, design, source, limits, Path(scratch))


def _score_audited(job: Job, design: Design, source: Source, limits: parsing.Limits, scratch: Path) -> Scores:
    from tasks import contracts

    spec = job.case.input(job.case.rows)
    spec = replace(spec, contract=contracts.without_outcomes(spec.contract))
    parsed = parsing.parse_source(source, spec.delivered, scratch / "parsed", limits, spec.reader)
    parsed = contracts.with_row_keys(parsed, spec, scratch / "keyed")
    audited = contracts.audit_parts(parsed, spec, scratch / "audited")
    verdict = audited.verdict
    if not verdict.publishable:
        return Scores(**job.summary, status="rejected" if verdict.rows else "skipped", why=verdict.why, audit=verdict)
    if absent := _absent(design, [part.path for part in audited.accepted]):
        why = _not_scored(job.model, source.name, absent)
        return Scores(**job.summary, status="skipped", why=why, audit=verdict, absent=tuple(absent))
    private = spec.contract.private()
    rejected = [_shown(pl.read_parquet(part.path), private) for part in audited.rejected]
    metadata = {
        "kind": SCORE_FILE_KIND,
        "source_name": source.name,
        "source_sha256": source.sha256,
        "audit": verdict.model_dump_json(),
    }
    accepted = pieces(lambda path: pl.scan_parquet(path), [str(part.path) for part in audited.accepted])
    commit = run(job, accepted, scratch, metadata, rejected)
    if commit is None:
        return Scores(**job.summary, status="skipped", why=verdict.why, audit=verdict)
    return _published(job, commit).model_copy(update={"audit": verdict})


def _absent(design: Design, accepted: Sequence[Path]) -> list[str]:
    lacking = (absent_columns(design, design["rows"], pl.read_parquet_schema(path)) for path in accepted)
    return sorted(set().union(*lacking))


def _shown(rejected: pl.DataFrame, private: frozenset[str]) -> pl.DataFrame:
    """Rejected rows as the log may hold them: where columns are private, without texts that could quote them."""
    return rejected.drop("_untyped", "_reasons", *private, strict=False) if private else rejected


def _begin(use_case: str, registry_url: str, log_url: str) -> tuple[UseCase, ModelRef, VersionStore]:
    case = resolve(use_case)
    model = open_registry(registry_url).champion(case.name)
    if model is None:
        raise NotEnoughEvidence(f"{case.name} has no champion to score with; train one first: penstock train {use_case}")
    log = open_store(log_url)
    log.create()
    return case, model, log


def contract_version_of(case: UseCase) -> str:
    """Version of the contract of the rows that a use case predicts."""
    return case.input(case.rows).contract_version()


def _not_scored(model: ModelRef, what: str, absent: Sequence[str]) -> str:
    return (
        f"{what} lacks {', '.join(absent)}, which v{model.version} needs: its rows are not scored; "
        f"train a model for what comes now: penstock train {model.name}"
    )


def pieces(scan: Callable[[str], pl.LazyFrame], files: Iterable[str]) -> Iterator[pl.LazyFrame]:
    """Rows of Parquet files, in their order, so many at a time: the same pieces every time."""
    for path in files:
        rows = scan(path)
        for first in range(0, rows.select(pl.len()).collect().item(), prediction_store.ROWS):
            yield rows.slice(first, prediction_store.ROWS)


def run(
    job: Job,
    rows: Iterable[pl.LazyFrame],
    scratch: Path,
    metadata: Mapping[str, str],
    set_aside: Sequence[pl.DataFrame] = (),
) -> Commit | None:
    """Score pieces of rows and publish the predictions; None where there are none. Raises StaleCheck: look again."""
    parts = prediction_store.PredictionWriter(job.log, job.cause, job.data.commit, scratch)
    described = {"format_version": "1", "cause": job.cause, "flow_run": job.flow_run}
    described |= {"model_version": str(job.model.version), "model_sha256": job.model.sha256}
    _add_missing(job, rows, parts)
    for number, rejected in enumerate(set_aside):
        described["rejected"] = parts.set_aside(number, rejected)
    return parts.publish(f"predictions of {job.case.name} v{job.model.version}", {**described, **metadata})


def _add_missing(job: Job, rows: Iterable[pl.LazyFrame], parts: prediction_store.PredictionWriter) -> None:
    predict, receipts = predictor(job), receipts_of(job)
    context = datasets.inputs_at(open_store(job.data.store), job.data.commit, job.case)
    written: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="receipts") as writer:
        for number, piece in enumerate(rows):
            if parts.has(number):
                continue
            designed, inputs = _designed(job, piece, context)
            if designed.is_empty():
                continue
            scores = predict(designed)
            if written is not None:
                written.result()  # at most two pieces are in memory
            written = writer.submit(_add, parts, number, partial(receipts, designed, scores), inputs, job.case, designed)
        if written is not None:
            written.result()


def _add(
    parts: prediction_store.PredictionWriter,
    number: int,
    receipts: Callable[[], pl.DataFrame],
    inputs: pl.Series | None,
    case: UseCase,
    designed: pl.DataFrame,
) -> None:
    predictions = receipts()
    parts.add(
        number, predictions if inputs is None else predictions.with_columns(inputs), evaluation.event_window(case, designed)
    )


def _designed(job: Job, rows: pl.LazyFrame, context: Mapping[str, pl.LazyFrame]) -> tuple[pl.DataFrame, pl.Series | None]:
    """Designed rows, and what they were made from where no store holds it."""
    inputs = None
    if job.with_inputs:
        held = rows.collect()
        inputs, rows = held.select(features.receipt_inputs(job.case, held.columns)).to_series(), held.lazy()
    designed = features.design(job.case, rows, context)
    if job.since and job.case.time:
        time = designed.collect_schema()[job.case.time]
        designed = designed.filter(pl.col(job.case.time) >= cast_like(time, job.since))
    return designed.collect(), inputs


def predictor(job: Job) -> Callable[[pl.DataFrame], np.ndarray]:
    """The job's model, loaded."""
    booster = models.load_booster(open_registry(job.model.registry).model_bytes(job.model))
    return partial(models.predict_scores, job.case, booster)


def receipts_of(job: Job) -> Callable[[pl.DataFrame, np.ndarray], pl.DataFrame]:
    """What makes predictions with receipts of designed rows and their scores."""
    return partial(
        prediction_rows.prediction_rows,
        job.case,
        model=job.model,
        data=job.data,
        contract_version=job.contract_version,
        flow_run=job.flow_run,
        scored_at=datetime.now(UTC),
        origin=job.cause if job.with_inputs else "",  # another file may hold other rows of the same keys
    )


def already_scored(log: VersionStore, rows: RowsToScore, cause: str) -> Commit | None:
    """The log's commit that holds predictions of this cause; where `once` is set, of these rows by any model.

    Args:
        log: The use case's log repository.
        rows: Which rows.
        cause: What `scoring_cause` gave.

    Returns:
        The commit, or None.
    """
    for entry in log.log(MAIN, first_parent=True):
        metadata = entry.metadata
        if metadata.get("kind") not in (SCORE_KIND, SCORE_FILE_KIND):
            continue
        if metadata.get("cause") == cause or (rows.once and metadata.get("arrival") == rows.arrival):
            return entry
    return None


def _published(job: Job, commit: Commit) -> Scores:
    where = _where(job.log, commit)
    return Scores(**job.summary, status="published", why=f"{where['rows']:,} rows scored", **where)


def _where(log: VersionStore, commit: Commit) -> dict[str, Any]:
    metadata = commit.metadata
    pairs = [pair.rpartition("=") for pair in metadata.get("categories", "").split(";") if pair]
    return {
        "predictions": DataRef(store=log.url, commit=commit.id),
        "path": metadata["path"],
        "rejected": metadata.get("rejected"),
        "rows": int(metadata["rows"]),
        "categories": {name: int(count) for name, _, count in pairs},
    }

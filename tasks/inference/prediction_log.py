"""Receipts of online predictions: from the journal to the log repository, found again by prediction id, and let go in time.

A segment of the journal becomes one object `receipts/<day>/<segment>/<sha>.parquet`; a segment that is there already is
not published again. A prediction id begins with its time in milliseconds, so that looking for one reads one day.

columns: `prediction_id`, the key and event time, `category` and probabilities (or `prediction`), `role` (champion, canary
or shadow), `model_name`, `model_version`, `model_sha256`, `data_commit` (of the model), `lookups` (JSON: input -> commit),
`contract_version`, `flow_run` (of the training, where known), `scored_at`, `row_key` (64-bit hash of the key, which joins
labels where key columns are private) and `inputs` (all columns that the caller sent). Private columns are left out.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from schemas.refs import Commit
from schemas.row_key import ROW_OCCURRENCE
from schemas.usecase import UseCase
from tasks import features
from tasks.fault_injection import fault_point
from tasks.inference import prediction_rows, write_ahead_log
from tasks.versions import MAIN, VersionStore, commit_and_merge

if TYPE_CHECKING:
    from tasks.inference.online import Prepared

RECEIPTS_KIND = "receipts"
RECEIPTS_FOLDER = "receipts/"
FORMAT = 1
CHAMPION, CANARY, SHADOW = "champion", "canary", "shadow"
TIME_DIGITS = 12  # hexadecimal digits of the time in milliseconds that a prediction id begins with


def unique_suffix() -> str:
    """A name that no other process has.

    Returns:
        A short text of letters and digits.
    """
    return uuid.uuid4().hex[:12]


def day_of(prediction_id: str) -> date:
    """UTC day of a prediction, told by its id. Raises ValueError for an id that no server made."""
    return datetime.fromtimestamp(int(prediction_id[:TIME_DIGITS], 16) / 1000, UTC).date()


def receipts_frame(prepared: Prepared, records: Sequence[Sequence[Any]], model: Mapping[str, Any]) -> pl.DataFrame:
    """Receipts of records (prediction id, role, physical values, scores) that one model made.

    Args:
        prepared: The compiled use case, with the target that the model's version has.
        records: What the server noted, one a prediction.
        model: The model's name, version, hashes and commits.

    Returns:
        One row a prediction.
    """
    from tasks.inference.online import frame_of

    case = prepared.use_case
    ids, roles, values, scores = zip(*records, strict=True)
    rows = with_request_keys(case, frame_of(prepared, values))
    private = case.input(case.rows).contract.private()
    named = [name for name in features.identity_columns(case) if name not in private]
    return pl.concat(
        [
            pl.DataFrame({"prediction_id": ids}, schema={"prediction_id": pl.String}),
            rows.select(named),
            prediction_rows.business_predictions(case, _array(scores)).with_columns(pl.col(pl.Enum).cast(pl.String)),
            pl.DataFrame({"role": roles}),
            pl.DataFrame([model] * len(ids), schema=_TOLD),
            pl.DataFrame({"scored_at": [_moment(each) for each in ids]}, schema={"scored_at": pl.Datetime("us", "UTC")}),
            rows.select(
                features.key_hash(case).alias("row_key"),
                features.receipt_inputs(case, list(prepared.columns)),
            ),
        ],
        how="horizontal",
    )


def with_request_keys(case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of requests with their key, where it is the row itself: each request is a delivery of its own, of one row."""
    spec = case.input(case.rows)
    if not spec.by_row:
        return rows
    first = pl.lit(1, dtype=spec.contract.dtypes()[ROW_OCCURRENCE]).alias(ROW_OCCURRENCE)
    return rows.with_columns(features.row_value_of(spec, rows.schema), first)


_TOLD: dict[str, pl.DataType] = {
    "model_name": pl.String(),
    "model_version": pl.Int64(),
    "model_sha256": pl.String(),
    "data_commit": pl.String(),
    "lookups": pl.String(),
    "contract_version": pl.String(),
    "flow_run": pl.String(),
}


def _array(scores: Sequence[Sequence[float]]) -> np.ndarray:
    array = np.array(scores, dtype=np.float32)
    return array[:, 0] if array.shape[1] == 1 else array


def _moment(prediction_id: str) -> datetime:
    return datetime.fromtimestamp(int(prediction_id[:TIME_DIGITS], 16) / 1000, UTC)


# Publishing


def receipts_to_parquet(receipts: pl.DataFrame) -> bytes:
    """Receipts as one frame of the journal.

    Args:
        receipts: Receipts, as `receipts_frame` gives them.

    Returns:
        The bytes of a Parquet file.
    """
    buffer = io.BytesIO()
    receipts.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


def receipts_from_file(path: Path) -> pl.DataFrame:
    """The receipts of a segment; no rows where it holds none."""
    frames = [pl.read_ipc(io.BytesIO(payload)) for payload in write_ahead_log.read(path)]
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def publish_segment(log: VersionStore, path: Path, use_case: str) -> Commit | None:
    """Publish a segment of the journal, once, and remove it. None where it held nothing or was published before.

    Args:
        log: The use case's log repository.
        path: The segment's file.
        use_case: Name of the use case.

    Returns:
        The commit, or None.
    """
    receipts = receipts_from_file(path)
    commit = None
    if receipts.height:
        folder = f"{RECEIPTS_FOLDER}{day_of(receipts['prediction_id'][0])}/{path.stem}/"
        if not log.objects(MAIN, folder):
            commit = _publish(log, folder, receipts, use_case)
            fault_point("receipts.after_publish")
    path.unlink(missing_ok=True)
    return commit


def _publish(log: VersionStore, folder: str, receipts: pl.DataFrame, use_case: str) -> Commit:
    buffer = io.BytesIO()
    receipts.sort("prediction_id").write_parquet(buffer)
    payload = buffer.getvalue()
    path = f"{folder}{hashlib.sha256(payload).hexdigest()}.parquet"
    versions = sorted(set(receipts["model_version"].to_list()))
    metadata = {
        "format_version": str(FORMAT),
        "kind": RECEIPTS_KIND,
        "path": path,
        "rows": str(receipts.height),
        "model_versions": " ".join(map(str, versions)),
        "roles": " ".join(sorted(set(receipts["role"].to_list()))),
        "first": str(receipts["scored_at"].min()),
        "last": str(receipts["scored_at"].max()),
    }
    return _merged(log, folder, {path: payload}, (), f"{use_case}: {receipts.height} receipts", metadata)


def _merged(
    log: VersionStore,
    folder: str,
    added: Mapping[str, bytes],
    removed: Sequence[str],
    message: str,
    metadata: Mapping[str, str],
) -> Commit:
    """Bring changes under one folder to main."""
    branch = f"{RECEIPTS_KIND}/{hashlib.sha256(f'{folder} {message}'.encode()).hexdigest()[:32]}"
    return commit_and_merge(log, branch, folder, log.head(MAIN), added, message, metadata, removed)


# Finding, and letting go


def find_receipt(log: VersionStore, prediction_id: str) -> tuple[dict[str, Any], str] | None:
    """A prediction's receipt and the path of the object that holds it, online or batch; None where there is none."""
    for folder in _places(prediction_id):
        paths = [stored.path for stored in log.objects(MAIN, folder) if stored.path.endswith(".parquet")]
        for path in reversed(paths):
            rows = answered(log.scan(MAIN, [path]), prediction_id)
            if rows.height:
                return rows.row(0, named=True), path
    return None


def answered(receipts: pl.LazyFrame, prediction_id: str) -> pl.DataFrame:
    """The receipt of an answer; what a challenger said of the same row in shadow is none."""
    rows = receipts.filter(pl.col("prediction_id") == prediction_id).collect()
    return rows.filter(pl.col("role") != SHADOW) if "role" in rows.columns else rows


def _places(prediction_id: str) -> Iterator[str]:
    with suppress(ValueError, OverflowError, OSError):
        yield f"{RECEIPTS_FOLDER}{day_of(prediction_id)}/"
    yield "predictions/"
    yield RECEIPTS_FOLDER


def pending(folder: Path, prediction_id: str) -> dict[str, Any] | None:
    """A receipt that lies in a journal still."""
    for path in sorted(folder.glob(f"*/*{write_ahead_log.SUFFIX}")):
        receipts = receipts_from_file(path)
        if receipts.height and (rows := answered(receipts.lazy(), prediction_id)).height:
            return rows.row(0, named=True)
    return None


def expire_receipts(log: VersionStore, before: date) -> int:
    """Remove the online receipts of the days before a day from the head of main.

    The history of the repository still holds them until the store collects its garbage.

    Args:
        log: The use case's log repository.
        before: The first day that stays.

    Returns:
        How many objects went.
    """
    old = [stored.path for stored in log.objects(MAIN, RECEIPTS_FOLDER) if segment_day(stored.path) < before]
    if old:
        metadata = {"format_version": str(FORMAT), "kind": "expiry", "before": str(before), "objects": str(len(old))}
        _merged(log, RECEIPTS_FOLDER, {}, old, f"receipts before {before} let go", metadata)
    return len(old)


def segment_day(path: str) -> date:
    """Day of the receipts that an object holds.

    Args:
        path: Path of the object.

    Returns:
        The day, in UTC.
    """
    return date.fromisoformat(path.removeprefix(RECEIPTS_FOLDER).partition("/")[0])

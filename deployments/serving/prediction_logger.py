"""Writes receipts behind the answers: to the journal within a second, from there to the log repository.

The request path only appends to a queue. One thread fsyncs what is queued ten times a second and scores the same rows
with the challenger; another publishes finished segments, which may take as long as the log repository likes.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl

from deployments.serving.metrics import Metrics
from deployments.serving.model_loader import Deployed
from deployments.serving.model_reloader import Serving
from tasks import inference
from tasks.inference.online import Prepared, Values
from tasks.versions import VersionStore

log = logging.getLogger("penstock.serving")
MOST_QUEUED = 200_000
AT_ONCE = 20_000
FLUSH_SECONDS = 0.1


class Record(NamedTuple):
    """One answered row, as the request path hands it over."""

    prediction_id: str
    deployed: Deployed
    role: str
    values: Values
    scores: Sequence[float]


class PredictionLogger:
    """Receipts of one server. `add` may be called from any thread and never waits."""

    def __init__(
        self,
        prepared: Prepared,
        folder: Path,
        open_log: Callable[[], VersionStore],
        serving: Serving,
        metrics: Metrics,
        *,
        publish_seconds: float = 30.0,
        keep_days: int | None = None,
        shadow: bool = True,
    ) -> None:
        self._prepared, self._folder, self._open_log = prepared, folder, open_log
        self._serving, self._metrics = serving, metrics
        self._publish_seconds, self._keep_days, self._with_shadow = publish_seconds, keep_days, shadow
        self._queue: deque[Record] = deque()
        self._unwritten: list[Record] = []
        self._stopping = threading.Event()
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{inference.unique_suffix()}"
        self._journal = inference.WriteAheadLog(folder, name)
        self._rotation = threading.Lock()
        self._flusher = threading.Thread(target=self._flush_until_stopped, name="receipts", daemon=True)
        self._publisher = threading.Thread(target=self._publish_until_stopped, name="receipts-out", daemon=True)

    def add(self, record: Record) -> None:
        """Hand over one answered row. A queue that is full (the disk fails for minutes) lets it go and counts it."""
        if len(self._queue) >= MOST_QUEUED:
            self._metrics.receipts_lost.inc()
            return
        self._queue.append(record)

    def start(self) -> None:
        """Begin writing."""
        self._flusher.start()
        self._publisher.start()

    def stop(self, patience: float = 20.0) -> None:
        """Write what is queued, publish what can be published within `patience` s; the rest stays in the journal."""
        self._stopping.set()
        self._flusher.join(patience)
        self._publisher.join(patience)
        self._journal.close()

    # To the journal

    def _flush_until_stopped(self) -> None:
        while not self._stopping.wait(FLUSH_SECONDS):
            self._guarded("write receipts", self.flush)
        self._guarded("write receipts", self.flush)

    def flush(self) -> None:
        """Bring what is queued to the disk, then score it in shadow. Raises OSError, and then nothing is forgotten."""
        left = len(self._queue)  # what comes meanwhile waits for the next time: many small batches cost far more than one
        while left or self._unwritten:
            while left and len(self._unwritten) < AT_ONCE:
                self._unwritten.append(self._queue.popleft())
                left -= 1
            batch = self._unwritten
            self._write_or_count(batch)
            self._unwritten = []
            self._guarded("score in shadow", partial(self._shadow, batch))

    def _write_or_count(self, batch: Sequence[Record]) -> None:
        """Write; what cannot become receipts at all is counted as lost, so that it does not hold up the rest."""
        try:
            self._write(batch)
        except OSError:
            raise
        except Exception as error:
            self._metrics.receipts_lost.inc(len(batch))
            log.error("%d receipts are lost: %s: %s", len(batch), type(error).__name__, error)

    def _write(self, batch: Sequence[Record]) -> None:
        by_model: dict[int, list[Record]] = {}  # each in the words of its own version
        for record in batch:
            by_model.setdefault(id(record.deployed), []).append(record)
        receipts = pl.concat(map(_receipts, by_model.values()))
        with self._rotation:
            self._journal.append(inference.receipts_to_parquet(receipts))
        self._metrics.receipts_written.inc(len(batch))

    def _shadow(self, batch: Sequence[Record]) -> None:
        """The challenger's scores of rows that the champion answered, as receipts of their own."""
        challenger = self._serving.challenger
        answered = [record for record in batch if record.role == inference.CHAMPION]
        if challenger is None or not answered or not self._with_shadow:
            return
        scores = challenger.scorer.scores_by_frame([record.values for record in answered], challenger.tables)
        shadows = [
            record._replace(deployed=challenger, role=inference.SHADOW, scores=score)
            for record, score in zip(answered, scores, strict=True)
        ]
        self._write(shadows)
        self._metrics.shadowed.inc(len(shadows))

    # To the log repository

    def _publish_until_stopped(self) -> None:
        self._guarded("publish receipts", self.take_over)
        while not self._stopping.wait(self._publish_seconds):
            self._guarded("publish receipts", self.publish)
            self._guarded("let receipts go", self._expire)
        self._flusher.join()
        self._guarded("publish receipts", self.publish)

    def publish(self) -> None:
        """Publish every finished segment of this server. Raises the store's errors; what is left waits for the next time."""
        with self._rotation:
            self._journal.rotate()
            closed = self._journal.closed()
        self._metrics.segments_waiting.set(len(closed))
        self._publish(closed)

    def take_over(self) -> None:
        """Publish what servers that are gone left behind."""
        for folder in inference.abandoned_logs(self._folder):
            self._publish(inference.list_segments(folder))

    def _publish(self, segments: Sequence[Path]) -> None:
        if not segments:
            return
        log_store = self._open_log()
        log_store.create()
        for waiting, path in enumerate(segments):
            inference.publish_segment(log_store, path, self._prepared.use_case.name)
            self._metrics.segments_waiting.set(len(segments) - waiting - 1)

    def _expire(self) -> None:
        if self._keep_days is not None:
            store = self._open_log()
            if store.exists():
                inference.expire_receipts(store, (datetime.now(UTC) - timedelta(days=self._keep_days)).date())

    def _guarded(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self._metrics.receipt_trouble.inc()
            log.warning("cannot %s: %s", what, " ".join(str(error).split()) or type(error).__name__)


def _receipts(records: Sequence[Record]) -> pl.DataFrame:
    deployed = records[0].deployed
    noted = [(r.prediction_id, r.role, r.values, r.scores) for r in records]
    return inference.receipts_frame(deployed.scorer.prepared, noted, deployed.receipt_fields)

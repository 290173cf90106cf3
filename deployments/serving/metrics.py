"""What Prometheus may ask of one server. Each server has a registry of its own."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from deployments.serving.model_reloader import Serving

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """Counters and gauges; what follows from the state of the server is set when it is asked for."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self.registry}
        self.seconds = Histogram("penstock_predict_seconds", "Time to answer POST /predict.", buckets=SECONDS, **options)
        self.requests = Counter("penstock_requests", "Requests to POST /predict by status.", ["status"], **options)
        self.predictions = Counter(
            "penstock_predictions", "Predicted rows.", ["category", "role", "model_version"], **options
        )
        self.rejected = Counter("penstock_rejected_rows", "Rows that the contract refused, by field.", ["field"], **options)
        self.paths = Counter("penstock_paths", "Rows by the way they took.", ["path"], **options)
        self.receipts_written = Counter("penstock_receipts_written", "Receipts on the disk.", **options)
        self.receipts_lost = Counter(
            "penstock_receipts_lost", "Receipts let go because the disk failed too long.", **options
        )
        self.receipt_trouble = Counter("penstock_receipt_trouble", "Writes or publishes of receipts that failed.", **options)
        self.segments_waiting = Gauge("penstock_receipt_segments_waiting", "Segments not published yet.", **options)
        self.shadowed = Counter("penstock_shadowed_rows", "Rows that the challenger scored in shadow.", **options)
        self._version = Gauge("penstock_model_version", "Version that answers.", ["role"], **options)
        self._age = Gauge(
            "penstock_model_age_seconds", "Time since the newest row that the champion was fitted on.", **options
        )
        self._serving = Gauge("penstock_ready", "Whether a verified model answers.", **options)
        self._swaps = Gauge("penstock_swaps", "Champions that answered since the start.", **options)
        self._following = Gauge("penstock_following", "Whether lake and registry answered the last time.", **options)
        self._refused = Gauge("penstock_refused_models", "Versions that did not pass their verification.", **options)

    def text(self, serving: Serving, fitted_until: float | None) -> bytes:
        """The exposition text; `fitted_until` in s since 1970."""
        self._serving.set(serving.champion is not None)
        self._swaps.set(serving.swaps)
        self._following.set(not serving.trouble)
        self._refused.set(len(serving.refused))
        for role, deployed in (("champion", serving.champion), ("challenger", serving.challenger)):
            self._version.labels(role).set(deployed.ref.version if deployed else 0)
        if fitted_until is not None:
            self._age.set(time.time() - fitted_until)
        return generate_latest(self.registry)

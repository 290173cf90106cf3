"""Typed results with their evidence. Flows branch on these, never on free text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath
from typing import Literal

from pydantic import Field, field_validator

from schemas.refs import CommitId, Sha256, Value

Kind = Literal["binary", "multiclass", "regression"]


class Example(Value):
    """A row that failed a check, numbered from 1 in its source (or in `file`), and the value that made it fail."""

    row: int = Field(ge=1)
    value: str
    file: str | None = None

    def __str__(self) -> str:
        text = f"row {self.row}: {self.value}"
        if self.file is None:
            return text
        path = PurePath(self.file)  # named by a hash: its beginning tells it apart
        return f"{path.parent.name}/{path.name[:12]} {text}"


class Reason(Value):
    """Why rows were rejected: one check of one column, how many rows failed it, and examples."""

    check: str
    column: str | None = None
    rows: int = Field(ge=0)
    examples: tuple[Example, ...] = ()


class AuditVerdict(Value):
    """What the contract said about one source. `rows == accepted + rejected + redelivered` always."""

    input: str
    contract_version: str
    rows: int = Field(ge=0)
    accepted: int = Field(ge=0)
    rejected: int = Field(ge=0)
    redelivered: int = Field(default=0, ge=0, description="rows dropped because their key was published before")
    reasons: tuple[Reason, ...] = ()
    publishable: bool
    why: str = Field(description="one sentence")


class Evaluation(Value):
    """How one model did on one window of labelled rows."""

    model_sha256: Sha256
    data_commit: CommitId
    window: tuple[datetime, datetime] | None = Field(default=None, description="first and last event time, both included")
    rows: int = Field(ge=0)
    blocks: int = Field(ge=0)
    metrics: Mapping[str, float] = Field(description="by name: auc, log_loss, brier, calibration_error, rmse, ...")
    slices: Mapping[str, Mapping[str, float]] = Field(default={}, description="'column=value' -> metric -> value")


class BlockMean(Value):
    """Mean of one metric over blocks of rows, weighted by their rows, and its interval."""

    value: float
    low: float
    high: float


class ScoreEvaluation(Value):
    """How scores of any origin did on labelled rows."""

    rows: int = Field(ge=0, description="rows with a label")
    blocks: int = Field(ge=0)
    window: tuple[datetime, datetime] | None = Field(default=None, description="first and last event time, both included")
    metrics: Mapping[str, float] = Field(description="over all rows, by name: auc, log_loss, brier, rmse, ...")
    block_means: Mapping[str, BlockMean] = Field(default={}, description="of the metrics that have a value in two blocks")
    level: float = Field(gt=0, lt=1, description="of the intervals of the block means")
    slices: Mapping[str, Mapping[str, float]] = Field(default={}, description="'column=value' -> metric -> value")


class Leak(Value):
    """A column that tells the outcome too well."""

    column: str = Field(description="a column of a file, or a feature of a design")
    confirm: bool = Field(description="whether a person has to say that it is known before the outcome; else a warning")
    why: str = Field(description="what gives it away, a phrase")
    strength: float | None = Field(default=None, description="alone, on rows not learned from: AUC, or R2 of a number")


class Check(Value):
    """One condition of the gate."""

    name: str
    passed: bool
    detail: str


class GateVerdict(Value):
    """Whether a challenger may become champion. Fails closed: a missing number is a refusal."""

    promoted: bool
    why: str = Field(description="one sentence")
    metric: str
    challenger: float | None = None
    champion: float | None = None
    baseline: float | None = None
    interval: tuple[float, float] | None = Field(default=None, description="of the gain over the champion")
    window: tuple[datetime, datetime] | None = None
    rows: int = Field(default=0, ge=0)
    blocks: int = Field(default=0, ge=0)
    data_commit: CommitId | None = None
    designs: int | None = Field(
        default=None, description="designs compared with the champion's on its own holdout; None on newer rows"
    )
    folds: int = Field(default=1, ge=1, description="holdouts judged together, each scored by a model not fitted on it")
    checks: tuple[Check, ...] = ()


class ColumnDrift(Value):
    """Distance of one column of a window from the reference."""

    column: str
    method: str
    score: float = Field(ge=0)
    threshold: float = Field(gt=0)
    importance: float = Field(default=0.0, ge=0, description="share of the model's gain, sums to 1 over features")
    null_share: float = Field(default=0.0, ge=0, le=1, description="of the window; the score is that of the other rows")
    reference_null_share: float = Field(default=0.0, ge=0, le=1)

    @property
    def drifted(self) -> bool:
        """Whether the score reaches the threshold, or the share of nulls moved by as much."""
        return max(self.score, abs(self.null_share - self.reference_null_share)) >= self.threshold

    @field_validator("score")
    @classmethod
    def _finite(cls, score: float) -> float:
        if not math.isfinite(score):
            raise ValueError("a drift score must be finite")
        return score


class DriftVerdict(Value):
    """How far a window lies from what the model was trained on."""

    status: Literal["drift", "no drift", "not enough evidence"]
    why: str = Field(description="one sentence")
    rows: int = Field(ge=0)
    columns: tuple[ColumnDrift, ...] = ()
    unscored: Mapping[str, str] = Field(default={}, description="columns that could not be judged, and why")
    report: str | None = Field(default=None, description="where the Evidently HTML lies")
    rank_error: float = Field(default=0.0, ge=0, description="most that a quantile is off, as a share of the rows; 0: exact")

    @property
    def share(self) -> float:
        """Share of the columns that drifted."""
        return sum(c.drifted for c in self.columns) / len(self.columns) if self.columns else 0.0

    @property
    def impact(self) -> float:
        """Share of the model's gain that lies in the columns that drifted."""
        return sum(c.importance for c in self.columns if c.drifted)


class Estimate(Value):
    """What a model is worth in one window, from its scores before labels come.

    See tasks/monitoring/performance_estimation.py.
    """

    method: Literal["cbpe", "direct loss"]
    rows: int = Field(ge=0)
    raw: Mapping[str, float] = Field(description="by metric, as scores and calibration alone say")
    metrics: Mapping[str, float] = Field(description="by metric, corrected by the record of earlier errors")
    intervals: Mapping[str, tuple[float, float]] = Field(default={}, description="by metric; none before there is a record")
    level: float = Field(default=0.9, gt=0, lt=1, description="share of the intervals meant to hold the realized value")
    record: int = Field(default=0, ge=0, description="earlier windows whose errors were learned from")


class Decision(Value):
    """Whether to retrain, and why."""

    retrain: bool
    why: str = Field(description="one sentence")
    cause: Literal["loss", "drift", "age", "first model", "columns", "none"] = "none"
    loss: float | None = Field(default=None, description="the loss that was judged, the worse of realized and estimated")
    limit: float | None = Field(default=None, description="the loss beyond which retraining is asked for")


class Alert(Value):
    """Something a person should look at."""

    use_case: str
    cause: str = Field(description="stable name of the cause, e.g. 'audit.rejected'; one alert a cause")
    severity: Literal["info", "warning", "critical"]
    summary: str = Field(description="one sentence")
    runbook: str = Field(description="anchor in docs/runbook.md")


class AlertChanges(Value):
    """Causes that are new, and causes that are over."""

    raised: tuple[Alert, ...] = ()
    resolved: tuple[Alert, ...] = ()


class Comparison(Value):
    """One champion and one challenger on the rows that both scored."""

    champion: int
    challenger: int
    rows: int = Field(ge=0)
    same_category: float | None = Field(default=None, description="share of the rows; None for a regression")
    mean_difference: float = Field(description="mean absolute difference of the (first) score")
    labelled: int = Field(default=0, ge=0, description="rows whose outcome is known")
    metric: str = ""
    champion_metric: float | None = Field(default=None, description="on the labelled rows")
    challenger_metric: float | None = Field(default=None, description="on the labelled rows")

    @property
    def sentence(self) -> str:
        """The comparison in a sentence."""
        same = "" if self.same_category is None else f" gave the same category for {self.same_category:.1%}, and"
        text = f"v{self.challenger} in shadow of v{self.champion} on {self.rows:,} served rows:{same}"
        text += f" scores {self.mean_difference:.4f} apart on average"
        if self.champion_metric is None or self.challenger_metric is None:
            return text
        pair = f"{self.challenger_metric:.4f} against {self.champion_metric:.4f}"
        return f"{text}; {self.metric} {pair} on {self.labelled:,} labelled rows"

"""What a replay and a backfill return."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field

from schemas.display import Shown
from schemas.refs import Value

Month = str  # YYYY-MM, UTC


class BacktestResult(Value):
    """How one way of keeping a model did over a replay, by month of event time (UTC)."""

    name: str
    months: Mapping[Month, Mapping[str, float]] = Field(description="metrics of each month's predictions")
    total: Mapping[str, float] = Field(description="metrics of all predictions of the judged period")
    trainings: Mapping[Month, int] = Field(description="trainings after the first, by month")
    rows: int = Field(ge=0, description="predictions with an outcome")
    seconds: float = Field(default=0.0, ge=0)

    @property
    def trained(self) -> int:
        """Trainings after the first."""
        return sum(self.trainings.values())


class ReplayStep(Value):
    """One period of a replay, lived through."""

    since: datetime
    until: datetime
    accepted: int = Field(ge=0)
    rejected: int = Field(ge=0)
    trained: tuple[str, ...] = Field(default=(), description="what became of each training that made a model")
    why: str = Field(description="one sentence")
    seconds: float = Field(ge=0)


class Replay(Shown):
    """A dated source lived through, and the loop beside simpler ways at the same label delay."""

    use_case: str
    why: str = Field(description="one sentence")
    metric: str = Field(description="the gate's metric")
    judged_from: datetime
    steps: tuple[ReplayStep, ...]
    courses: tuple[BacktestResult, ...] = Field(description="the loop first")
    seconds: float = Field(ge=0, description="of the loop, the other ways apart")

    def course(self, name: str) -> BacktestResult | None:
        """The course of that name, or None."""
        return next((course for course in self.courses if course.name == name), None)

    @property
    def recovered(self) -> float | None:
        """Share of what retraining every day gains over never retraining that the loop gains; None without the oracle."""
        never, loop, daily = (self.course(name) for name in ("never", "loop", "daily"))
        if never is None or loop is None or daily is None:
            return None
        far = never.total[self.metric] - daily.total[self.metric]
        return (never.total[self.metric] - loop.total[self.metric]) / far if far else None


class Unit(Value):
    """One thing that a backfill does once: a dated file to ingest, or a publish of rows to score."""

    name: str
    dates: tuple[str, ...] = Field(description="partitions it belongs to, e.g. 2013-04")
    place: str = Field(description="path of the file, or commit of main")
    input: str


class Partition(Value):
    """What became of one unit of a backfill."""

    name: str
    status: Literal["done", "already done", "refused", "failed"]
    why: str = Field(description="one sentence")
    rows: int = Field(default=0, ge=0)


class Backfill(Shown):
    """What became of a range of partitions."""

    use_case: str
    what: Literal["ingest", "score"]
    partitions: tuple[Partition, ...]

    @property
    def why(self) -> str:
        """One sentence."""
        if not self.partitions:
            return "no partition lies in the range"
        statuses = [each.status for each in self.partitions]
        return ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))

    @property
    def complete(self) -> bool:
        """Whether every partition is done."""
        return all(each.status in ("done", "already done") for each in self.partitions)

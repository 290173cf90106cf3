"""Tasks of the replay: the loop's course, and that of fixed schedules."""

from __future__ import annotations

from datetime import datetime

from prefect import task

from schemas.refs import DataRef
from schemas.replaying import Course
from tasks import replay
from tasks.orchestration import LONG_TASK_OPTIONS, TASK_OPTIONS


@task(**TASK_OPTIONS, tags={"lake"})
def require_empty_store(store_url: str) -> None:
    """Raise UsageError where a lake holds data already: a replay begins with nothing."""
    replay.require_empty_store(store_url)


@task(**TASK_OPTIONS, tags={"monitor", "lake"})
def backtest_loop(
    use_case: str, data: DataRef, log_url: str, span: tuple[datetime, datetime], judged_from: datetime
) -> Course:
    """How the loop did: the first prediction of each row that its log holds, beside the outcome known by now."""
    return replay.backtest_loop(use_case, data, log_url, span, judged_from)


@task(**LONG_TASK_OPTIONS, tags={"train", "lake"})
def backtest_fixed_schedule(
    use_case: str,
    data: DataRef,
    name: str,
    days: int,
    span: tuple[datetime, datetime],
    judged_from: datetime,
    label_delay: float | None,
) -> Course:
    """Train at the start of `span` and every so many days, score each row with the newest model, compare with outcomes."""
    return replay.backtest_fixed_schedule(use_case, data, name, days, span, judged_from, label_delay)

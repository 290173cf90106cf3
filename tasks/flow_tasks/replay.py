"""Tasks of the replay: the loop's course, and that of fixed schedules."""

from __future__ import annotations

from datetime import datetime

from prefect import task

from schemas.refs import DataRef
from schemas.replaying import BacktestResult
from tasks import replay
from tasks.orchestration import LONG_TASK_OPTIONS, TASK_OPTIONS


@task(**TASK_OPTIONS, tags={"lake"})
def require_empty_store(store_url: str) -> None:
    """See that a replay begins with nothing.

    Args:
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.

    Raises:
        UsageError: The repository holds data already.
    """
    replay.require_empty_store(store_url)


@task(**TASK_OPTIONS, tags={"monitor", "lake"})
def backtest_loop(
    use_case: str, data: DataRef, log_url: str, span: tuple[datetime, datetime], judged_from: datetime
) -> BacktestResult:
    """How the loop did: the first prediction of each row that its log holds, beside the outcome known by now.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        data: Commit of the data, and the repository that it lies in.
        log_url: URL of the use case's log repository, `<use case>-log`.
        span: First and last moment of the replay, in UTC; the last is not included.
        judged_from: Totals count from this moment.

    Returns:
        Metrics by month and in total, and the number of trainings.

    Raises:
        NotEnoughEvidence: Nothing was scored, or no scored row has an outcome.
    """
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
) -> BacktestResult:
    """Train at the start of a span and every so many days, score each row with the newest model, compare with outcomes.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        data: Commit of the data, and the repository that it lies in.
        name: What the schedule is called in the result, like `weekly`.
        days: Days between two trainings.
        span: First and last moment, in UTC; the last is not included.
        judged_from: Totals count from this moment.
        label_delay: Days after the event at which a label is known; None takes the data's own word.

    Returns:
        Metrics by month and in total, and the number of trainings.

    Raises:
        NotEnoughEvidence: No scored row has an outcome.
    """
    return replay.backtest_fixed_schedule(use_case, data, name, days, span, judged_from, label_delay)

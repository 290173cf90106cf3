"""Replay: a dated source is fed as if it arrived, through the loop, and the loop is held against simpler ways."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from flows.ingest import ingest
from flows.lifecycle import lifecycle
from flows.train import train
from schemas.errors import PenstockError, UsageError
from schemas.replaying import BacktestResult, Replay, ReplayStep
from schemas.results import IngestResult, Training
from schemas.settings import in_force
from schemas.usecase import UseCase, resolve
from tasks import flow_tasks, orchestration, reporting
from tasks.orchestration import penstock_flow, track_progress
from tasks.replay import (
    NEVER,
    PERIOD,
    ArrivalResult,
    DatedSource,
    Deliver,
    deliver_to_deployment,
    parse_moment,
    read_dated_source,
)
from tasks.replay import periods as replay_periods

Listener = Callable[[str | ReplayStep], None]
OTHER_WAYS = {"never": NEVER, "weekly": 7, "daily": 1}


@penstock_flow("replay", "replay {use_case}")
def replay(
    use_case: Annotated[str, Field(min_length=1)],
    since: datetime | None = None,
    until: datetime | None = None,
    every: Annotated[str, Field(pattern=PERIOD.pattern)] = "week",
    label_delay: Annotated[float, Field(ge=0, le=365)] | None = 1,
    source: str | None = None,
    judged_from: datetime | None = None,
    oracle: bool = False,
    resume: bool = False,
    deployed: bool = False,
) -> Replay:
    """Feed a dated source to the loop period by period and compare with never retraining and retraining every week.

    What lies before `since` is ingested first and makes the first champion. The use case's lake must hold nothing yet.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        since: Where the replay begins; two months after the source's first row where it is left out.
        until: Where it ends; after the source's last row where it is left out.
        every: How much arrives at once: day, week, month or a number of days like 10d.
        label_delay: Days after the event at which a label becomes known; empty takes the source's own word for it.
        source: Folder with a folder or file for each input; the demo's flights where it is left out.
        judged_from: Totals count from here; from the start where it is left out.
        oracle: Compare with retraining every day, too.
        resume: Go on where a replay of the same arguments was stopped; what it had begun is finished, not repeated.
        deployed: Let files land where the deployed system watches, in place of running the loop in this process.

    Returns:
        One entry a period, and the metrics of the loop and of each other way by month and in total.

    Raises:
        UsageError: There is no such use case, or a value is not one that the flow takes.
        ServiceUnavailable: Prefect, the lake or the registry does not answer.
        PenstockError: There is no first champion, or the use case holds data already.
    """
    started = time.monotonic()
    case = orchestration.begin_flow(use_case)
    if source and orchestration.is_deployed():
        raise UsageError("replay: a deployment replays the demo's flights only; run it with a source of your own by hand")
    recorded = _recorded_steps(case.name) if resume else []
    if not resume:
        flow_tasks.require_empty_store(in_force().store_url(case.name))
    rows = read_dated_source(case, source, label_delay)
    since, until = _span(rows, since, until)
    orchestration.log_step(f"Replay of {since:%Y-%m-%d} to {until:%Y-%m-%d} by {every}; {_known(label_delay)}.")
    if not recorded:
        _say("training the first champion on what came before")
        _begin(use_case, rows, since, deliver_to_deployment if deployed else only_in)
    periods = [period for period in replay_periods(since, until, every) if not recorded or period[0] >= recorded[-1].until]
    live = _live(use_case, rows, periods, resume, deliver_to_deployment if deployed else in_process)
    followed = track_progress(live, len(periods), f"replay of {case.name}: {len(periods)} periods")
    steps = [*recorded, *(_record_step(case.name, step) for step in followed)]
    took = time.monotonic() - started + sum(step.seconds for step in recorded)
    judged = parse_moment(judged_from) if judged_from else since
    courses = _courses(use_case, case, (since, until), judged, label_delay, oracle)
    looped = courses[0].model_copy(update={"trainings": _trainings(steps), "seconds": round(took, 1)})
    result = Replay(
        use_case=case.name,
        why=_why(case, looped, courses),
        metric=case.gate.metric,
        judged_from=judged,
        steps=tuple(steps),
        courses=(looped, *courses[1:]),
        seconds=round(took, 1),
    )
    orchestration.log_step(f"All {len(steps)} periods: {result.why}.")
    orchestration.create_page("replay", case.name, reporting.replay_page(result), result.why)
    return result


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell each line and each step of the replays in this block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


_listener: ContextVar[Listener | None] = ContextVar("replay_listener", default=None)


def _say(what: str | ReplayStep) -> None:
    if listener := _listener.get():
        listener(what)


def _record_step(use_case: str, step: ReplayStep) -> ReplayStep:
    """Write down what a step came to, for whoever goes on from here, and say it."""
    path = _journal(use_case)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(step.model_dump_json() + "\n")
    _say(step)
    orchestration.log_step(reporting.replay_step_line(step))
    return step


def _recorded_steps(use_case: str) -> list[ReplayStep]:
    """The steps that were written down; a line that was cut off is none."""
    path = _journal(use_case)
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [ReplayStep.model_validate_json(line) for line in lines if line.endswith("\n")]


def _journal(use_case: str) -> Path:
    return in_force().root / "replay" / f"{use_case}.jsonl"


def _known(label_delay: float | None) -> str:
    return "labels come when the source says" if label_delay is None else f"labels come {label_delay:g} days later"


def _trainings(steps: Sequence[ReplayStep]) -> dict[str, int]:
    """Trainings by month."""
    counts: Counter[str] = Counter()
    for step in steps:
        counts[f"{step.until - timedelta(seconds=1):%Y-%m}"] += len(step.trained)
    return dict(sorted(counts.items()))


def _span(rows: DatedSource, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    first, last = rows.span
    midnight = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
    begin = parse_moment(since) if since else (first + timedelta(days=59)).replace(**midnight)  # type: ignore[arg-type]
    end = parse_moment(until) if until else (last + timedelta(days=1)).replace(**midnight)  # type: ignore[arg-type]
    if not first < begin < last:
        raise UsageError(f"the source's rows are of {first:%Y-%m-%d} to {last:%Y-%m-%d}: begin in between")
    return begin, end


def _begin(use_case: str, rows: DatedSource, since: datetime, take: Deliver) -> None:
    """The past, and a champion of it. Raises PenstockError where there is none."""
    why = "nothing arrived before"
    for name, path in rows.land(in_force().landing_dir, None, since).items():
        why = _deliver_file(take, use_case, name, path).why
    if take is only_in:
        why = train(use_case).why
    if flow_tasks.current_champion(resolve(use_case).name, in_force().registry_url) is None:
        raise PenstockError(f"there is no first champion ({why}); begin the replay later")


def _live(
    use_case: str, rows: DatedSource, periods: Sequence[tuple[datetime, datetime]], resume: bool, take: Deliver
) -> Iterator[ReplayStep]:
    for since, until in periods:
        started = time.monotonic()
        _say(f"{since:%Y-%m-%d} to {until:%Y-%m-%d}")
        landed = rows.land(in_force().landing_dir, since, until)
        results = [_deliver_file(take, use_case, name, path) for name, path in landed.items()]
        trained = [line for each in results for line in each.trained]
        if resume and since == periods[0][0]:  # the period in which a replay was stopped may have had its training then
            trained += [line for each in results for line in each.repeated]
        yield ReplayStep(
            since=since,
            until=until,
            accepted=sum(each.accepted for each in results),
            rejected=sum(each.rejected for each in results),
            trained=tuple(trained),
            why=results[-1].why if results else "nothing arrived",
            seconds=round(time.monotonic() - started, 1),
        )


def _deliver_file(take: Deliver, use_case: str, name: str, path: Path) -> ArrivalResult:
    result = take(use_case, name, path)
    for refusal in result.refused:
        _say(refusal)
    return result


def _courses(
    use_case: str,
    case: UseCase,
    span: tuple[datetime, datetime],
    judged: datetime,
    label_delay: float | None,
    oracle: bool,
) -> list[BacktestResult]:
    """The loop's course, then the others', each trained and scored on what the loop had published."""
    settings = in_force()
    data = flow_tasks.data_at(settings.store_url(case.name), None)
    courses = [flow_tasks.backtest_loop(use_case, data, settings.store_url(f"{case.name}-log"), span, judged)]
    for name, days in OTHER_WAYS.items():
        if name != "daily" or oracle:
            _say(f"for comparison: retraining {name}")
            courses.append(flow_tasks.backtest_fixed_schedule(use_case, data, name, days, span, judged, label_delay))
    return courses


def _why(case: UseCase, looped: BacktestResult, others: list[BacktestResult]) -> str:
    metric = case.gate.metric
    totals = ", ".join(f"{c.name} {c.total[metric]:.4f} ({c.trained})" for c in (looped, *others[1:]))
    return f"{metric} (trainings): {totals}"


def only_in(use_case: str, input: str, path: Path) -> ArrivalResult:
    """Ingested in this process; nothing follows."""
    return _ingested(ingest(use_case, str(path), input=input))


def in_process(use_case: str, input: str, path: Path) -> ArrivalResult:
    """The lifecycle, here and now."""
    loop = lifecycle(use_case, str(path), input=input)
    trained = tuple(_outcome(each) for each in loop.trained if each.made_a_model)
    again = tuple(_outcome(each) for each in loop.trained if each.status == "already done")
    return replace(_ingested(loop.ingested), trained=trained, why=loop.why, repeated=again)


def _ingested(result: IngestResult) -> ArrivalResult:
    refused = tuple(f"{each.source} was refused: {each.why}" for each in result.deliveries if each.status == "rejected")
    return ArrivalResult(result.accepted, result.rejected, (), result.why, refused=refused)


def _outcome(training: Training) -> str:
    return f"{training.status} v{training.model.version}" if training.model else training.status

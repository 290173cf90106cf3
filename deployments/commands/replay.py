"""penstock replay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready, show

if TYPE_CHECKING:
    from rich.console import Console

    from schemas.replaying import Replay
    from schemas.settings import Settings

WIDTH = 140  # of the table where no terminal says another
HOME = Path("penstock-replay")


@make()
@click.argument("use_case")
@click.option("--source", metavar="FOLDER", help="A folder or file for each input; the demo's flights where left out.")
@click.option("--from", "since", metavar="DATE", help="Where it begins; what lies before makes the first champion.")
@click.option("--to", "until", metavar="DATE", help="Where it ends.")
@click.option("--every", default="week", show_default=True, help="What arrives at once: day, week, month or e.g. 10d.")
@click.option("--label-delay", type=click.FloatRange(0, 365), default=1, show_default=True, help="Days until labels come.")
@click.option("--judge-from", metavar="DATE", help="Totals count from here.")
@click.option("--oracle", is_flag=True, help="Compare with retraining every day, too.")
@click.option("--resume", is_flag=True, help="Go on with what lies in the home, where it was stopped.")
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), default=HOME, show_default=True)
@click.option("--deployed", is_flag=True, help="Through the running system, not in a home of its own.")
def command(
    use_case: str,
    source: str | None,
    since: str | None,
    until: str | None,
    every: str,
    label_delay: float,
    judge_from: str | None,
    oracle: bool,
    resume: bool,
    home: Path,
    deployed: bool,
    as_json: bool,
) -> int:
    """Feed a dated source to the loop as if it arrived, and compare with never and with weekly retraining."""
    settings = ready() if deployed else _settings(home, resume)
    from deployments.prefect_server.in_process import in_process
    from flows.replay import listening, replay
    from tasks.replay import parse_moment

    dates = [parse_moment(text) if text else None for text in (since, until, judge_from)]
    with settings.active(), in_process(), listening(_Listener(as_json)):
        asked = (every, label_delay, source, dates[2], oracle, resume, deployed)
        result = replay(use_case, dates[0], dates[1], *asked)
    document = {**result.model_dump(mode="json"), "recovered": result.recovered, "report": report(use_case, settings)}
    show(document, as_json, lambda _: _print(result, document["report"], settings))
    return 0


def report(use_case: str, settings: Settings) -> str | None:
    """Write the report page; None where this installation has none."""
    try:
        from deployments.commands.report import write  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return None
    return str(write(use_case, settings))


def _settings(home: Path, resume: bool) -> Settings:
    """A home of the replay's own, whatever servers the environment names."""
    from deployments.demo import fresh_home
    from deployments.prefect_server.in_process import clear_user_settings, prepare
    from schemas.settings import read_settings

    clear_user_settings()
    if not (resume and (home / ".penstock-replay").exists()):
        home = fresh_home(home.absolute(), "replay")
    settings = read_settings(home=home.absolute())
    prepare(settings, isolated=True, flows=True)
    return settings


class _Listener:
    """Tells the person at the terminal what happens."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def __call__(self, what: Any) -> None:
        if isinstance(what, str):
            self.console.print(what, style="dim")
            return
        trained = f"; {', '.join(what.trained)}" if what.trained else ""
        line = f"{what.accepted:,} rows in, {what.rejected:,} rejected{trained}"
        self.console.print(f"  {line} ({what.seconds:.0f} s)")


def _print(result: Replay, report: str | None, settings: Settings) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(_table(result))
    for course in result.courses:
        auc = f", AUC {course.total['auc']:.3f}" if "auc" in course.total else ""
        line = f"{result.metric} {course.total[result.metric]:.4f}{auc}, {course.trained} trainings, {course.seconds:.0f} s"
        console.print(f"{course.name:>7}: {line}")
    if result.recovered is not None:
        console.print(f"The loop recovers {result.recovered:.0%} of what retraining every day gains over never retraining.")
    console.print(f"Totals from {result.judged_from:%Y-%m-%d} on. The loop took {result.seconds:.0f} s.")
    if report:
        _where(console, report)
    console.print(f"Point other commands at it: export PENSTOCK_HOME={settings.root}", soft_wrap=True)


def _where(console: Console, report: str) -> None:
    console.print(f"Report: {report}", soft_wrap=True)


def _table(result: Replay) -> Any:
    from rich.table import Table

    metrics = [result.metric, *(["auc"] if "auc" in result.courses[0].total and result.metric != "auc" else [])]
    table = Table(title=f"Replay of {result.use_case}, by month", title_justify="left")
    table.add_column("month", no_wrap=True, min_width=7)
    for metric in metrics:
        for course in result.courses:
            table.add_column(f"{metric}\n{course.name}", justify="right", no_wrap=True)
    for course in result.courses:
        if course.name != "never":
            table.add_column(f"trained\n{course.name}", justify="right", no_wrap=True)
    for month in result.courses[0].months:
        numbers = [_number(c.months.get(month, {}).get(m)) for m in metrics for c in result.courses]
        trained = [str(c.trainings.get(month, 0)) for c in result.courses if c.name != "never"]
        table.add_row(month, *numbers, *trained)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

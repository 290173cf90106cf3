"""penstock demo."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployments.commands.base import command as make
from deployments.commands.base import show

if TYPE_CHECKING:
    from rich.console import Console

    from deployments.demo import Month
    from schemas.results import Training
    from schemas.settings import Settings


WIDTH = 110  # of the table where no terminal says another


@make()
@click.option("--quick", is_flag=True, help="March to May only.")
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), default=Path("penstock-demo"), show_default=True)
@click.option("--lake", help="Keep the data in another store, e.g. lakefs://")
@click.option("--here", is_flag=True, help="Use the active settings instead of a folder of the demo's own.")
def command(quick: bool, home: Path, lake: str | None, here: bool, as_json: bool) -> int:
    """Live through 2013: land, audit, train, then score, monitor and retrain month by month on real flights."""
    started = time.monotonic()
    settings = _settings(home, lake, here)
    from deployments import demo
    from deployments.prefect_server.in_process import in_process

    with settings.active(), in_process():
        news = _watched(demo.live(settings, demo.QUICK_LAST if quick else demo.LAST), as_json)
        months = [item for item in news if isinstance(item, demo.Month)]
    outcome = _outcome(settings, months, time.monotonic() - started)
    show(outcome, as_json, lambda _: _print(settings, months, outcome))
    return 0


def _settings(home: Path, lake: str | None, here: bool) -> Settings:
    from deployments.demo import fresh_home
    from deployments.prefect_server.in_process import clear_user_settings, prepare
    from schemas.settings import read_settings

    lake_setting: dict[str, Any] = {"lake_url": lake} if lake else {}
    if not here:
        clear_user_settings()
        lake_setting["home"] = fresh_home(home.absolute())
    settings = read_settings(**lake_setting)
    prepare(settings, isolated=not here, flows=True)
    return settings


def _watched(news: Iterator[Any], as_json: bool) -> Iterator[Month | Training]:
    """Pass on what is worth keeping; show the rest while it works."""
    from rich.console import Console

    console = Console(stderr=True, quiet=as_json, highlight=False, soft_wrap=True)
    with console.status("starting Prefect, MLflow and the store") as status:
        for item in news:
            if isinstance(item, str):
                status.update(item)
                if not console.is_terminal:
                    console.print(item)
                continue
            console.print(_line(item))
            yield item


def _line(item: Any) -> str:
    """One line for a finished step."""
    from deployments.demo import Month

    if isinstance(item, Month):
        drift = item.monitored.drift.status if item.monitored and item.monitored.drift else "no drift verdict"
        decided = item.trained.status if item.trained else "kept the champion"
        loss = f"log loss {item.loop.get('log_loss', float('nan')):.4f} (never retrained {item.never['log_loss']:.4f})"
        return f"{item.name}: {item.accepted:,} rows in, {item.rejected:,} rejected; {drift}; {loss}; {decided}"
    version = f"v{item.model.version}" if item.model else "none"
    return f"first champion: {version}, holdout AUC {item.metrics.get('auc', float('nan')):.3f} ({item.why})"


def _outcome(settings: Settings, months: list[Month], seconds: float) -> dict[str, Any]:
    rows = sum(m.rows for m in months) or 1
    mean = {
        side: sum(getattr(m, side).get("log_loss", float("nan")) * m.rows for m in months) / rows
        for side in ("loop", "never")
    }
    return {
        "home": str(settings.root),
        "reports": str(settings.reports_dir),
        "seconds": round(seconds, 1),
        "log_loss": mean,
        "months": [
            {
                "month": m.name,
                "accepted": m.accepted,
                "rejected": m.rejected,
                "drift": m.monitored.drift.model_dump(mode="json") if m.monitored and m.monitored.drift else None,
                "decision": m.monitored.decision.model_dump(mode="json") if m.monitored else None,
                "training": m.trained.model_dump(mode="json", exclude={"evaluation"}) if m.trained else None,
                "loop": m.loop,
                "never": m.never,
            }
            for m in months
        ],
    }


def _print(settings: Settings, months: list[Month], outcome: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(_table(months))
    console.print("Why:")
    for month in months:
        console.print(_why(month), soft_wrap=True)
    mean = outcome["log_loss"]
    console.print(
        f"Log loss over all months: the loop [bold]{mean['loop']:.4f}[/], "
        f"the first champion never retrained {mean['never']:.4f}. Took {outcome['seconds']:.0f} s."
    )
    _where(console, settings)


def _table(months: list[Month]) -> Any:
    from rich.table import Table

    table = Table(title="Will a flight arrive more than 15 minutes late? New York, 2013", title_justify="left")
    table.add_column("month", no_wrap=True)
    for name in ("rows in", "rejected", "drifted", "AUC\nloop", "AUC\nnever", "log loss\nloop", "log loss\nnever"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("the loop", no_wrap=True)
    for month in months:
        auc = [_number(side.get("auc"), 3) for side in (month.loop, month.never)]
        loss = [_number(side.get("log_loss"), 4) for side in (month.loop, month.never)]
        table.add_row(
            month.name, f"{month.accepted:,}", f"{month.rejected:,}", _drifted(month), *auc, *loss, _decided(month)
        )
    return table


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _drifted(month: Month) -> str:
    drift = month.monitored.drift if month.monitored else None
    return f"{sum(c.drifted for c in drift.columns)} of {len(drift.columns)}" if drift and drift.columns else "-"


def _decided(month: Month) -> str:
    if month.trained is None:
        return "kept its model"
    model = f" v{month.trained.model.version}" if month.trained.model else ""
    return f"retrained: {month.trained.status}{model}"


def _why(month: Month) -> str:
    asked = month.monitored.decision.why if month.monitored else "nothing to decide on"
    return f"{month.name}  {asked}" + (f"\n         gate: {month.trained.why}" if month.trained else "")


def _where(console: Console, settings: Settings) -> None:
    from deployments.commands.report import write as write_report

    reports = sorted(settings.reports_dir.rglob("*.html"))
    console.print(f"\nDrift reports ({len(reports)}): {settings.reports_dir}")
    for report in reports[-1:]:
        console.print(f"  newest: {report}")
    console.print(f"\nThe whole story on one page: {write_report('flights', settings)}", soft_wrap=True)
    console.print("\nLook at what it just did:")
    home = settings.root
    console.print(f"  PREFECT_HOME={home}/prefect prefect server start --host 127.0.0.1", soft_wrap=True)
    console.print(
        f"  MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --host 127.0.0.1 --workers 1"
        f" --backend-store-uri {settings.registry_url}",
        soft_wrap=True,
    )
    if settings.lake_url is None:
        console.print(f"  git -C {home}/lake/flights/history.git log --first-parent --oneline", soft_wrap=True)
    console.print("\nPoint other commands at it:")
    console.print(f"  export PENSTOCK_HOME={home}", soft_wrap=True)
    console.print("  penstock serve flights    # the champion over HTTP: docs/serving.md", soft_wrap=True)

"""penstock report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready, show

if TYPE_CHECKING:
    from schemas.settings import Settings


@make()
@click.argument("use_case")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the page is written.")
@click.option("--open", "opened", is_flag=True, help="Show it in the browser.")
def command(use_case: str, out: Path | None, opened: bool, as_json: bool) -> int:
    """Write one page that tells the model's story: worth, drift, data, promotions, the champion's card."""
    path = write(use_case, ready(), out)
    show({"use_case": use_case, "report": str(path)}, as_json, lambda _: click.echo(f"report: {path}"))
    if opened:
        click.launch(path.as_uri())
    return 0


def write(use_case: str, settings: Settings, out: Path | None = None) -> Path:
    """Write the page, whole or not at all; by default among the use case's reports."""
    from schemas.usecase import resolve
    from tasks.atomic_files import write_text_atomically
    from tasks.registry import open_registry
    from tasks.reporting import html
    from tasks.versions import open_store

    case = resolve(use_case)
    store, log = (open_store(settings.store_url(name)) for name in (case.name, f"{case.name}-log"))
    page = html.render_report(html.gather_report(case, store, log, open_registry(settings.registry_url)))
    path = (out or settings.reports_dir / case.name / "report.html").expanduser().resolve()
    write_text_atomically(path, page)
    return path

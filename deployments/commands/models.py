"""penstock models."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployments.commands.base import command as make
from deployments.commands.base import ready, show
from tasks.registry import STATE, WHY

if TYPE_CHECKING:
    from schemas.history import Entry, HistoryEntry
    from schemas.usecase import UseCase
    from tasks.registry import ModelRegistry
    from tasks.versions import VersionStore

COLOURS = {
    "promoted": "green",
    "thaw": "green",
    "override": "yellow",
    "rollback": "yellow",
    "found": "red",
    "freeze": "cyan",
}


@make()
@click.argument("use_case")
@click.option("--verify", is_flag=True, help="Check the history against itself and the registry; exit code 1 for a rewrite.")
@click.option("--at", "moment", metavar="TIME", help="Who was champion then: ISO 8601, UTC where it names no zone.")
@click.option("--card", "version", type=click.IntRange(min=1), metavar="VERSION", help="Show a version's model card.")
@click.option("--html", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write the card as HTML to a file.")
def command(use_case: str, verify: bool, moment: str | None, version: int | None, target: Path | None, as_json: bool) -> int:
    """List the versions and the history: what each was made from, what became of it, who was champion when and why."""
    if sum((verify, moment is not None, version is not None)) > 1:
        raise click.UsageError("--verify, --at and --card each ask for something else: give one of them")
    if target and version is None:
        raise click.UsageError("--html goes with --card VERSION")
    when = _moment(moment) if moment else None
    settings = ready()
    from schemas.usecase import name_of, resolve
    from tasks.registry import open_registry
    from tasks.versions import open_store

    name = name_of(use_case)
    registry, log = open_registry(settings.registry_url), open_store(settings.store_url(f"{name}-log"))
    if version is not None:
        return _card(resolve(use_case), registry, version, target, as_json)
    if verify:
        return _verify(registry, log, name, as_json)
    if when:
        return _at(log, name, when, as_json)
    return _list(registry, log, name, as_json)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--at takes a time in ISO 8601, e.g. 2013-07-01 or 2013-07-01T12:00; not {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _list(registry: ModelRegistry, log: VersionStore, name: str, as_json: bool) -> int:
    from tasks import promotion

    rows = promotion.version_table(registry, name)
    links, problems = promotion.history_entries(log)
    frozen = promotion.freeze_entry(links)
    document = {
        "versions": rows,
        "history": [_entry(link) for link in links],
        "frozen": _as_json(frozen) if frozen else None,
        "problems": problems,
    }
    show(document, as_json, lambda _: _print(rows, links, frozen))
    if problems and not as_json:
        click.secho(
            f"the history was rewritten: {problems[0]}; penstock models {name} --verify says all", fg="red", err=True
        )
    return 0


def _entry(link: HistoryEntry) -> dict[str, Any]:
    return {**_as_json(link.entry), "sha256": link.sha256}


def _as_json(entry: Entry) -> dict[str, Any]:
    return entry.model_dump(mode="json", by_alias=True)


def _print(rows: list[dict[str, Any]], links: list[HistoryEntry], frozen: Entry | None) -> None:
    if not rows:
        click.echo("no versions yet: penstock train makes the first")
    for row in rows:
        state, why = row.get(STATE, ""), row.get(WHY, "")
        alias = click.style(f" {row['alias']}", fg="green") if row["alias"] else ""
        click.echo(f"v{row['version']}{alias}  {state}  data {row.get('data_commit', '')[:12]}  {why}")
    if links:
        click.echo("\nHistory:")
    for entry, _ in links:
        click.echo(_line(entry))
    if frozen:
        from tasks.promotion import freeze_message

        click.secho(freeze_message(frozen), fg="cyan")


def _line(entry: Entry) -> str:
    kind = click.style(f"{entry.kind:<9}", fg=COLOURS[entry.kind])
    sides = [f"v{side.version}" if side else "none" for side in (entry.before, entry.after)]
    moved = f"{sides[0]} -> {sides[1]}" if sides[0] != sides[1] else sides[0]
    who = f"  [{entry.who}]" if entry.who else ""
    return f"{entry.number:>3}  {entry.when:%Y-%m-%d %H:%M:%S} UTC  {kind}  {moved}  {entry.why}{who}"


def _verify(registry: ModelRegistry, log: VersionStore, name: str, as_json: bool) -> int:
    from tasks import promotion

    problems = promotion.history_problems(registry, log, name)
    count = len(promotion.history_entries(log)[0])
    document = {"use_case": name, "status": "rewritten" if problems else "verified", "entries": count, "problems": problems}
    whole = f"{name}: {click.style('verified', fg='green')}, {count} entries, and the registry agrees with them"
    show(document, as_json, lambda _: click.echo("\n".join(click.style(each, fg="red") for each in problems) or whole))
    return 1 if problems else 0


def _at(log: VersionStore, name: str, when: datetime, as_json: bool) -> int:
    from tasks import promotion

    side, entry = promotion.champion_at(promotion.read_history(log), when)
    document = {
        "use_case": name,
        "at": when.isoformat(),
        "champion": side.model_dump() if side else None,
        "since": entry and entry.when.isoformat(),
        "why": entry and entry.why,
    }
    since = f" since {entry.when:%Y-%m-%d %H:%M:%S} UTC ({entry.kind}: {entry.why})" if entry else ""
    text = f"{name} at {when:%Y-%m-%d %H:%M:%S %Z}: " + (f"v{side.version}{since}" if side else "no champion yet")
    show(document, as_json, lambda _: click.echo(text))
    return 0


def _card(case: UseCase, registry: ModelRegistry, version: int, target: Path | None, as_json: bool) -> int:
    from tasks import reporting

    ref = registry.version(case.name, version)
    fresh = {} if registry.card(ref, "md") else reporting.render_card(case, registry, ref)
    pages = {suffix: fresh.get(suffix) or registry.card(ref, suffix) or b"" for suffix in ("md", "html")}
    if target:
        target.write_bytes(pages["html"])
    document = {"version": version, "card": pages["md"].decode(), "html": str(target) if target else None}
    show(document, as_json, lambda _: click.echo(f"{target}" if target else pages["md"].decode()))
    return 0

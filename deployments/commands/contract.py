"""penstock contract diff, penstock contract check."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deployments.commands.base import command as make
from deployments.commands.base import show

if TYPE_CHECKING:
    from schemas.evolution import Evolution, Recheck
    from schemas.usecase import Input
    from tasks.versions import VersionStore

T = TypeVar("T")
COLOURS = {"widens": "green", "narrows": "red", "unclear": "yellow", "neutral": "cyan"}


@click.group()
def command() -> None:
    """How a contract changed, and what it says about rows that are published. Both take --json and --debug."""


@make(name="diff")
@click.argument("use_case")
@click.option("--input", "input_name", help="One input; all of them where left out.")
@click.option("--ref", default="main", show_default=True, help="Branch, tag or commit whose contract is the old one.")
@click.option("--to", help="Branch, tag or commit whose contract is the new one; the contract as it is where left out.")
def diff_command(use_case: str, input_name: str | None, ref: str, to: str | None, as_json: bool) -> int:
    """Compare the contract with the one that published rows were audited with: what widens, what narrows.

    Exit code 1 where something that was accepted may now be rejected, also where that cannot be told because the publish
    recorded no contract; `penstock contract check` counts the rows.
    """
    from tasks.publishing import contract_evolution

    evolutions = _each(use_case, input_name, lambda store, spec: contract_evolution(store, spec, ref, to))
    show([one.model_dump(mode="json") for one in evolutions], as_json, lambda _: _print_all(_print_evolution, evolutions))
    return 1 if any(one.status in ("narrower", "unknown") for one in evolutions) else 0


@make(name="check")
@click.argument("use_case")
@click.option("--input", "input_name", help="One input; all of them where left out.")
@click.option("--ref", default="main", show_default=True, help="Branch, tag or commit whose rows are judged.")
def check_command(use_case: str, input_name: str | None, ref: str, as_json: bool) -> int:
    """Judge all published rows by the contract as it is now. Exit code 1 where rows would fail."""
    from tasks.publishing import revalidate

    rechecks = _each(use_case, input_name, lambda store, spec: revalidate(store, spec, ref))
    show([one.model_dump(mode="json") for one in rechecks], as_json, lambda _: _print_all(_print_recheck, rechecks))
    return 1 if any(one.failing for one in rechecks) else 0


def _each(use_case: str, input_name: str | None, judge: Callable[[VersionStore, Input], T]) -> list[T]:
    from schemas.settings import read_settings
    from schemas.usecase import resolve
    from tasks.versions import open_store

    case = resolve(use_case)
    settings = read_settings()
    with settings.active():
        store = open_store(settings.store_url(case.name))
        return [judge(store, spec) for spec in ([case.input(input_name)] if input_name else case.inputs)]


def _print_all(print_one: Callable[[Any], None], results: Iterable[Any]) -> None:
    for one in results:
        print_one(one)


def _print_evolution(evolution: Evolution) -> None:
    versions = f"{evolution.old or 'none'} -> {evolution.new}" if evolution.old != evolution.new else evolution.new
    since = f", last used by {evolution.commit[:12]}" if evolution.commit else ""
    click.echo(f"{click.style(evolution.input, bold=True)}  {versions}: {evolution.status} ({evolution.why}{since})")
    for change in evolution.changes:
        where = f"{change.column}: " if change.column else ""
        click.echo(f"  {click.style(f'{change.effect:<8}', fg=COLOURS[change.effect])} {where}{change.what}")


def _print_recheck(recheck: Recheck) -> None:
    from deployments.commands.rejection_table import print_reasons

    colour = "red" if recheck.failing else "green"
    where = f"{recheck.read:,} files at {recheck.commit[:12]}, contract {recheck.contract_version}"
    click.echo(f"{click.style(recheck.input, bold=True)}  {click.style(recheck.why, fg=colour)} ({where})")
    for path, rows in recheck.files[:10]:
        click.echo(f"  {rows:>8,} in {path}")
    if len(recheck.files) > 10:
        click.echo(f"  and in {len(recheck.files) - 10:,} more files")
    print_reasons(recheck.reasons, recheck.rows)


command.add_command(diff_command)
command.add_command(check_command)

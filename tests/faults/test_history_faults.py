"""A move of the champion's alias that is killed on its way: the alias and the history agree again after the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.history import ChampionState
from tasks.promotion import champion as promotion
from tasks.promotion import history
from tasks.registry.factory import open_registry
from tasks.registry.protocol import Actor
from tasks.versions.factory import open_store
from tests.faults.children import killed, run, said, together
from tests.registry_kit import candidate, verdict

NAME = "flights"

MOVE = """
import sys
from tasks import promotion
from tasks.registry import Actor, open_registry
from tasks.versions import open_store
from tests.registry_kit import candidate, verdict
registry, log, name = open_registry(sys.argv[1]), open_store(sys.argv[2]), "flights"
if sys.argv[3] == "promote":
    ref = registry.record(candidate(name, 2))
    done = promotion.set_champion(registry, log, ref, verdict(), expected=registry.champion(name), by=Actor("the second"))
elif sys.argv[3] == "rollback":
    done = promotion.roll_back_champion(registry, log, registry.version(name, 1), by=Actor("the second"), reason="it hurts")
else:
    promotion.set_hold(registry, log, name, frozen=True, who="the second", reason="year end")
"""

POINTS = ["registry.before_promote", "registry.after_promote", "history.before_merge", "history.after_merge"]


def agreed(urls: list[str], kinds: list[str], champion: int) -> None:
    """Check that history and registry tell one story."""
    registry, log = open_registry(urls[0]), open_store(urls[1])
    links = history.read_history(log)
    assert [link.entry.kind for link in links] == kinds
    now = registry.champion(NAME)
    assert now
    assert now.version == champion
    assert history.recorded_champion(links) == ChampionState.of(now)
    assert registry.anchor(NAME) == history.anchor(links)
    states = {ref.version: registry.tags(ref)["penstock.state"] for ref in registry.versions(NAME)}
    assert [version for version, state in states.items() if state == "champion"] == [champion]
    assert not {f"history/{link.sha256[:32]}" for link in links} & set(log.branches("history/")), "merged, and left behind"


def urls_at(folder: Path) -> list[str]:
    """A registry whose first champion stands in the history."""
    urls = [f"sqlite:///{folder / 'mlflow.db'}", (folder / "lake" / "flights-log").as_uri()]
    registry, log = open_registry(urls[0]), open_store(urls[1])
    ref = registry.record(candidate(NAME, 1))
    assert promotion.set_champion(registry, log, ref, verdict(), expected=None, by=Actor("the first")).status == "promoted"
    return urls


@pytest.mark.parametrize("point", POINTS)
def test_a_promotion_that_is_killed_is_written_down_once(tmp_path: Path, point: str) -> None:
    urls = urls_at(tmp_path)
    assert killed(run(MOVE, *urls, "promote", kill_point=point))
    said(run(MOVE, *urls, "promote"))
    agreed(urls, ["promoted", "promoted"], champion=2)
    assert history.read_history(open_store(urls[1]))[-1].entry.who == "the second"


@pytest.mark.parametrize("point", POINTS[1:])
def test_whoever_comes_next_writes_down_what_a_killed_promotion_left_out(tmp_path: Path, point: str) -> None:
    urls = urls_at(tmp_path)
    assert killed(run(MOVE, *urls, "promote", kill_point=point))
    registry, log = open_registry(urls[0]), open_store(urls[1])
    assert promotion.hold_reason(registry, log, NAME) is None
    agreed(urls, ["promoted", "promoted"], champion=2)


@pytest.mark.parametrize("point", POINTS)
def test_a_rollback_that_is_killed_is_written_down_once(tmp_path: Path, point: str) -> None:
    urls = urls_at(tmp_path)
    said(run(MOVE, *urls, "promote"))
    assert killed(run(MOVE, *urls, "rollback", kill_point=point))
    said(run(MOVE, *urls, "rollback"))
    agreed(urls, ["promoted", "promoted", "rollback"], champion=1)
    registry = open_registry(urls[0])
    assert registry.tags(registry.version(NAME, 2))["penstock.state"] == "rolled back"


@pytest.mark.parametrize("point", POINTS[2:])
def test_a_freeze_that_is_killed_holds_once(tmp_path: Path, point: str) -> None:
    urls = urls_at(tmp_path)
    assert killed(run(MOVE, *urls, "freeze", kill_point=point))
    said(run(MOVE, *urls, "freeze"))
    said(run(MOVE, *urls, "promote"))
    agreed(urls, ["promoted", "freeze"], champion=1)


RACE = """
import sys
from schemas.errors import StaleCheck
from tasks import promotion
from tasks.registry import Actor, open_registry
from tasks.versions import open_store
from tests.registry_kit import candidate, verdict
registry, log = open_registry(sys.argv[1]), open_store(sys.argv[2])
expected, until = registry.champion("flights"), f"2013-0{sys.argv[3]}-01T00:00:00+00:00"
ref = registry.record(candidate("flights", int(sys.argv[3]), until=until))
print("ready", flush=True)
input()
try:
    print(promotion.set_champion(registry, log, ref, verdict(), expected=expected, by=Actor(sys.argv[3])).status)
except StaleCheck:  # gate again, against the one that was faster
    now = registry.champion("flights")
    print(promotion.set_champion(registry, log, ref, verdict(), expected=now, by=Actor(sys.argv[3])).status)
"""


def test_two_trainings_race_and_the_older_data_lose(tmp_path: Path) -> None:
    urls = urls_at(tmp_path)
    older, newer = [said(done).splitlines()[-1] for done in together(RACE, [[*urls, "4"], [*urls, "5"]])]
    assert newer == "promoted"
    registry, log = open_registry(urls[0]), open_store(urls[1])
    champion = registry.champion(NAME)
    assert champion
    assert registry.document(champion, "manifest")["fitted_until"].startswith("2013-05")
    moved = [entry.who for entry, _ in history.read_history(log)]
    assert moved == ["the first", *(["4"] if older == "promoted" else []), "5"]

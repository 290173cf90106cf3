"""Prefect's server and MLflow's on PostgreSQL: the registry's main path, and a flow run to its end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import httpx
import polars as pl
import pytest

from schemas.contract import Contract, column
from tasks.ingestion.sql import queried
from tasks.parsing.parse import fingerprint, parse_source
from tasks.registry.factory import open_registry
from tasks.replay.nycflights13 import land_flights
from tests.ports import free_port
from tests.registry_kit import candidate, crowned, verdict
from tests.services import postgres
from tests.services.processes import environment, process
from tests.unit.parsed_rows import rows_and_misfits

FLOW = """
import sys
from flows.ingest import ingest
result = ingest("flights", sys.argv[1])
print(result.deliveries[0].status)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.running(postgres.wanted()) as found:
        yield found


class Sale(Contract):
    id: int = column()
    day: pl.Date = column(nullable=True)
    price: float = column(nullable=True)
    note: str = column(nullable=True)
    seen: Annotated[pl.Datetime, "us", "UTC"] = column(nullable=True)


def test_a_query_s_rows_are_those_of_the_csv_file(
    server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", server.url("shop", "psycopg2"))
    server.ask("create table sales (id int, day date, price numeric(9, 2), note text, seen timestamptz)", "shop")
    server.ask("insert into sales values (2, null, null, 'a,\"b', null)", "shop")
    server.ask("insert into sales values (1, '2024-01-02', 2.5, null, '2024-01-02 12:00+02')", "shop")
    query = tmp_path / "sales.sql"
    query.write_text("-- connection: SHOP_URL\nselect * from sales order by id")
    csv = tmp_path / "sales.csv"
    csv.write_text('id,day,price,note,seen\n1,2024-01-02,2.5,,2024-01-02T10:00:00Z\n2,,,"a,""b",\n')
    sources = [fingerprint(path) for path in (queried(query, tmp_path), csv, queried(query, tmp_path))]
    asked, read, _ = (rows_and_misfits(parse_source(source, Sale, tmp_path / "parsed")) for source in sources)
    assert asked == read
    assert len(read[0]) == 2
    assert sources[0] == sources[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_registry_keeps_its_champion_on_postgresql(server: postgres.Server, tmp_path: Path) -> None:
    port, backend = free_port(), server.url("mlflow", "psycopg2")
    url = f"http://127.0.0.1:{port}"
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", backend, "--artifacts-destination", str(tmp_path / "artifacts")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with process([*command, *places], f"{url}/health", tmp_path, **quiet):
        registry = open_registry(url)
        first = crowned(registry, "flights", 1)
        assert registry.record(candidate("flights", 1)) == first, "the same candidate made a second version"
        second = registry.record(candidate("flights", 2, until="2013-04-01T00:00:00+00:00"))
        assert registry.champion("flights") == first
        assert registry.promote(second, verdict(), expected=first)
        assert registry.champion("flights") == second
        assert registry.model_bytes(second) == b"model 2"
        assert [ref.version for ref in registry.versions("flights")] == [1, 2]
    told = server.ask("select alias, version from registered_model_aliases where alias = 'champion'", "mlflow")
    assert told == "champion|2"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_flow_runs_to_completed_on_postgresql(server: postgres.Server, tmp_path: Path) -> None:
    (file,) = [path for path in land_flights(tmp_path, [2]) if path.parent.name == "weather"]
    port, database = free_port(), server.url("prefect", "asyncpg")
    api = f"http://127.0.0.1:{port}/api"
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    told = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_DATABASE_CONNECTION_URL": database}
    with process(command, f"{api}/health", tmp_path, **told):
        ours = environment(PREFECT_API_URL=api, PREFECT_HOME=told["PREFECT_HOME"], PENSTOCK_HOME=str(tmp_path / "home"))
        ran = [
            subprocess.run([sys.executable, "-c", FLOW, str(file)], env=ours, capture_output=True, text=True) for _ in "ab"
        ]
        assert [done.stdout.strip() for done in ran] == ["published", "already done"], ran[0].stderr + ran[1].stderr
        runs = httpx.post(f"{api}/flow_runs/filter", json={}, timeout=60).raise_for_status().json()
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 2
    assert server.ask("select count(*) from flow_run where state_type = 'COMPLETED'", "prefect") == "2"

"""The same rows in every format through the ingest flow: published once each, and equal to those from CSV."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pytest
import xlsxwriter

from flows.ingest import ingest
from schemas.settings import Settings
from tasks.datasets.published import data_paths
from tasks.versions.factory import open_store
from tests.orders_kit import ORDERS, named, of_days


def table() -> pl.DataFrame:
    return of_days(0, 3)["prices"]


def csv(folder: Path) -> Path:
    path = folder / "prices.csv"
    table().write_csv(path)
    return path


def jsonl(folder: Path) -> Path:
    path = folder / "prices.jsonl"
    table().write_ndjson(path)
    return path


def document(folder: Path) -> Path:
    path = folder / "prices.json"
    rows = [{**row, "day": row["day"].isoformat()} for row in table().to_dicts()]
    path.write_text(json.dumps(rows))
    return path


def parquet(folder: Path) -> Path:
    path = folder / "prices.parquet"
    table().write_parquet(path)
    return path


def parquet_folder(folder: Path) -> Path:
    for (shop,), rows in table().partition_by("shop", as_dict=True, include_key=False).items():
        within = folder / "prices" / f"shop={shop}"
        within.mkdir(parents=True)
        rows.write_parquet(within / "0.parquet")
    return folder / "prices"


def arrow_file(folder: Path) -> Path:
    path = folder / "prices.arrow"
    table().write_ipc(path)
    return path


def arrow_stream(folder: Path) -> Path:
    path, rows = folder / "prices.ipc", table().to_arrow()
    with pa.ipc.new_stream(str(path), rows.schema) as writer:
        writer.write_table(rows)
    return path


def workbook(folder: Path) -> Path:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"default_date_format": "dd/mm/yyyy"}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, table().columns)
        for at, (shop, day, price) in enumerate(table().rows(), 1):
            sheet.write_string(at, 0, shop)
            sheet.write_datetime(at, 1, day)
            if price is not None:
                sheet.write_formula(at, 2, "=1+1", None, repr(price))
    path = folder / "prices.xlsx"
    path.write_bytes(buffer.getvalue())
    return path


def delta_table(folder: Path) -> str:
    deltalake.write_deltalake(folder / "prices", table().to_arrow())
    return f"delta+file://{folder}/prices@0"


def duckdb_query(folder: Path) -> Path:
    with duckdb.connect(folder / "shop.duckdb") as connection:
        connection.register("rows_of_it", table().to_arrow())
        connection.execute("create table prices as select * from rows_of_it")
    path = folder / "prices.sql"
    path.write_text("-- connection: SHOP_URL\nselect * from prices order by day, shop")
    return path


MAKERS: dict[str, Callable[[Path], Path | str]] = {
    make.__name__: make
    for make in (
        jsonl, document, parquet, parquet_folder, arrow_file, arrow_stream, workbook, delta_table, duckdb_query,
    )
}  # fmt: skip


def published(settings: Settings) -> pl.DataFrame:
    store = open_store(settings.store_url("orders"))
    head = store.head("main")
    rows = store.scan(head, data_paths(store, head, "prices")).collect()
    return rows.select(table().columns).sort("day", "shop")


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_rows_of_a_format_are_published_as_those_of_csv_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path | str]
) -> None:
    monkeypatch.setenv("SHOP_URL", f"duckdb:///{tmp_path}/shop.duckdb")
    rows: list[pl.DataFrame] = []
    for home, source in (("a", csv(tmp_path)), ("b", make(tmp_path))):
        with Settings(home=tmp_path / home).active() as settings:
            results = [ingest(named(ORDERS), source, input="prices").deliveries for _ in range(2)]
            assert [delivery.status for each in results for delivery in each] == ["published", "already done"], results
            rows.append(published(settings))
    assert rows[0].height == table().height
    assert rows[0].equals(rows[1])

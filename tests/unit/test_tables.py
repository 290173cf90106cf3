"""Tables of Delta Lake and Iceberg at a version: their rows are those of CSV, and a version is one source."""

from __future__ import annotations

import datetime as dt
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import deltalake
import polars as pl
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from schemas.contract import Contract, column
from schemas.distribution import install_command
from schemas.errors import UsageError
from schemas.reader import Reader
from tasks.ingestion.files import locate
from tasks.ingestion.remote import fetched, is_remote
from tasks.ingestion.tables import is_table
from tasks.parsing.parse import fingerprint, parse_source
from tests.unit.parsed_rows import rows_and_misfits


class Sale(Contract):
    """A row of the tables."""

    id: int = column()
    day: pl.Date = column(nullable=True)
    price: float = column(nullable=True)
    city: str = column(nullable=True)
    at: Annotated[pl.Datetime, "us", "UTC"] = column(nullable=True)


READER = Reader(rename={"shop.city": "city"})
CSV = "id,day,price,city,at\n1,2024-01-02,2.50,a,2024-01-02T03:00:00Z\n2,,,,\n"
ROWS = pl.DataFrame(
    {
        "id": [1, 2],
        "day": [dt.date(2024, 1, 2), None],
        "price": [Decimal("2.50"), None],
        "shop": [{"city": "a"}, None],
        "at": [dt.datetime(2024, 1, 2, 3, tzinfo=dt.UTC), None],
    }
)


def delta(folder: Path) -> list[str]:
    place = folder / "sales"
    deltalake.write_deltalake(place, ROWS.to_arrow())
    deltalake.write_deltalake(place, ROWS.with_columns(pl.col("id") + 2).to_arrow(), mode="append")
    return [f"delta+file://{place}@{version}" for version in (0, 1)]


def iceberg(folder: Path) -> list[str]:
    catalog = SqlCatalog("c", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace("shop")
    rows = ROWS.with_columns(pl.col("price").cast(pl.Decimal(9, 2)))
    table = catalog.create_table("shop.sales", schema=rows.to_arrow().schema)
    snapshots = []
    for more in (0, 2):
        table.append(rows.with_columns(pl.col("id") + more).to_arrow())
        snapshots.append(table.current_snapshot())
    return [f"iceberg+{table.metadata_location}@{each.snapshot_id}" for each in snapshots if each]


MAKERS = {"delta": delta, "iceberg": iceberg}


def read(source: str, folder: Path) -> tuple[str, Any]:
    """Hash and rows of a source."""
    with fetched(source) as place:
        (path,) = locate(place)
        found = fingerprint(path)
        return found.sha256, rows_and_misfits(parse_source(found, Sale, folder / "parsed", reader=READER))


@pytest.mark.parametrize("kind", MAKERS)
def test_a_version_s_rows_are_those_of_the_csv_file_and_one_source(tmp_path: Path, kind: str) -> None:
    first, second = MAKERS[kind](tmp_path)
    (tmp_path / "x.csv").write_text(CSV)
    _, expected = read(str(tmp_path / "x.csv"), tmp_path)
    sha256, rows = read(first, tmp_path)
    assert rows == expected
    later, more = read(second, tmp_path)
    assert sorted(row[0] for row in more[0]) == [1, 2, 3, 4]
    assert later != sha256
    assert read(first, tmp_path)[0] == sha256
    assert read(second.rpartition("@")[0], tmp_path)[0] == later, "without a version, the newest"


@pytest.mark.parametrize(
    ("version", "says"), [("9", "cannot read|no snapshot 9"), ("x", "a whole number"), ("-1", "a whole number")]
)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_version_that_is_not_there_is_told_in_one_line(tmp_path: Path, kind: str, version: str, says: str) -> None:
    source = MAKERS[kind](tmp_path)[0].rpartition("@")[0]
    with pytest.raises(UsageError, match=says) as refused, fetched(f"{source}@{version}"):
        pass
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("source", ["delta+file:///no/such/table@1", "iceberg+file:///no/such.metadata.json"])
def test_a_table_that_is_not_there_is_told_in_one_line(source: str) -> None:
    with pytest.raises(UsageError, match="cannot read") as refused, fetched(source):
        pass
    assert "\n" not in str(refused.value)


def test_which_sources_are_tables_and_which_lie_elsewhere() -> None:
    local, remote = "delta+file:///a/b@1", "iceberg+catalog://prod/shop.sales@5"
    assert is_table(local)
    assert is_table(remote)
    assert not any(is_table(each) for each in ("delta+x", "s3://a/delta+b", "a.csv"))
    assert [is_remote(each) for each in (local, remote)] == [False, True]


@pytest.mark.parametrize(("kind", "package"), [("delta", "deltalake"), ("iceberg", "pyiceberg.table")])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str) -> None:
    source = MAKERS[kind](tmp_path)[0]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=re.escape(install_command(kind))), fetched(source):
        pass

"""A SQL query as a source."""

from __future__ import annotations

import sqlite3
from datetime import date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from schemas.contract import Contract, column
from schemas.errors import ServiceUnavailable, UsageError
from schemas.reader import ColumnFormat, Reader
from schemas.settings import Settings
from tasks.ingestion import sql
from tasks.ingestion.files import locate
from tasks.ingestion.remote import fetched
from tasks.ingestion.sql import queried
from tasks.parsing.parse import fingerprint, parse_source

ASK = "-- Sales of all shops\n-- connection: SHOP_URL\nselect id, day, price, note, seen from sales order by id"


class Sale(Contract):
    id: int = column()
    day: pl.Date = column()
    price: float = column(nullable=True)
    note: str = column(nullable=True)
    seen: pl.Datetime = column(nullable=True)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    path = tmp_path / "shop.db"
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{path}")
    monkeypatch.setattr(sql, "BATCH", 3)
    made = sqlite3.connect(path)
    made.execute("create table sales (id integer, day date, price, note text, seen timestamp)")
    made.executemany(
        "insert into sales values (?, ?, ?, ?, ?)",
        [
            (1, "2024-01-02", 2.5, None, None),
            (2, "2024-01-03", None, "", "2024-01-02 10:11:12.5"),
            (3, "2024-01-03", 3, 'a "b",\nc', None),
            (4, "2024-01-04", "dear", "é", None),
        ],
    )
    made.commit()
    return made


def ask(folder: Path, query: str = ASK, name: str = "sales.sql") -> Path:
    path = folder / name
    path.write_text(query)
    return path


def test_the_rows_of_a_query_are_read_as_they_are(shop: sqlite3.Connection, tmp_path: Path) -> None:
    parsed = parse_source(fingerprint(queried(ask(tmp_path), tmp_path)), Sale, tmp_path / "parsed")
    frame = pl.concat(pl.read_parquet(part) for part in parsed.parts)
    assert frame["id"].to_list() == [1, 2, 3, 4]
    assert frame["day"].to_list()[:2] == [date(2024, 1, 2), date(2024, 1, 3)]
    assert frame["price"].to_list() == [2.5, None, 3.0, None]
    assert frame["note"].to_list() == [None, "", 'a "b",\nc', "é"]
    assert frame["seen"].null_count() == 3
    assert frame["_untyped"].to_list()[3] == [{"column": "price", "text": "dear"}]


def test_the_same_rows_are_the_same_source(shop: sqlite3.Connection, tmp_path: Path) -> None:
    first = fingerprint(queried(ask(tmp_path), tmp_path))
    assert fingerprint(queried(ask(tmp_path), tmp_path)) == first
    shop.execute("update sales set price = 2.6 where id = 1")
    shop.commit()
    assert fingerprint(queried(ask(tmp_path), tmp_path)).sha256 != first.sha256


def test_rows_of_a_query_are_read_as_they_were_written_whatever_the_input_s_files_are(
    shop: sqlite3.Connection, tmp_path: Path
) -> None:
    note = ColumnFormat(missing=("",))
    reader = Reader(separator=";", decimal=",", encoding="cp1252", skip_lines=2, columns={"note": note})
    source = fingerprint(queried(ask(tmp_path), tmp_path))
    parsed = parse_source(source, Sale, tmp_path / "parsed", reader=reader)
    frame = pl.concat(pl.read_parquet(part) for part in parsed.parts)
    assert frame["price"].to_list() == [2.5, None, 3.0, None]
    assert frame["note"].to_list() == [None, None, 'a "b",\nc', "é"]


def test_a_query_on_duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "shop.duckdb"
    monkeypatch.setenv("SHOP_URL", f"duckdb:///{database}")
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        queried(ask(tmp_path), tmp_path)
    assert not database.exists()
    with duckdb.connect(database) as connection:
        connection.execute("create table sales (id int, day date, price decimal(9, 2), note text, seen timestamp)")
        connection.execute("insert into sales values (2, null, null, 'a,b', null)")
        connection.execute("insert into sales values (1, '2024-01-02', 2.5, null, '2024-01-02')")
    source = fingerprint(queried(ask(tmp_path), tmp_path))
    frame = pl.concat(pl.read_parquet(part) for part in parse_source(source, Sale, tmp_path / "parsed").parts)
    moment = datetime(2024, 1, 2)  # noqa: DTZ001
    assert frame.select(list(Sale.dtypes())).rows() == [
        (1, date(2024, 1, 2), 2.5, None, moment),
        (2, None, None, "a,b", None),
    ]
    assert fingerprint(queried(ask(tmp_path), tmp_path)) == source
    for query in ("delete from sales", "select nothing from sales"):
        with pytest.raises(UsageError, match="failed: ") as refused:
            queried(ask(tmp_path, f"-- connection: SHOP_URL\n{query}"), tmp_path)
        assert "\n" not in str(refused.value)


def test_no_row_gives_the_header(shop: sqlite3.Connection, tmp_path: Path) -> None:
    path = ask(tmp_path, "--connection: SHOP_URL\nselect id, day from sales where id > 9")
    assert queried(path, tmp_path).read_text() == "id,day\n"


@pytest.mark.parametrize(
    "query",
    [
        "delete from sales returning id",
        "with more as (select 9) insert into sales (id) select * from more returning id",
        "drop table sales",
    ],
)
def test_a_query_changes_nothing(shop: sqlite3.Connection, tmp_path: Path, query: str) -> None:
    with pytest.raises(UsageError, match="attempt to write a readonly database"):
        queried(ask(tmp_path, f"-- connection: SHOP_URL\n{query}"), tmp_path)
    assert shop.execute("select count(*) from sales").fetchone() == (4,)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select 1", "begin it with a line"),
        ("select 1 -- connection: SHOP_URL", "begin it with a line"),
        ("-- connection: sqlite:///shop.db\nselect 1", "the URL itself stays out of the file"),
        ("-- connection: NOWHERE_URL\nselect 1", "NOWHERE_URL, which is not set"),
        ("-- connection: PATH\nselect 1", "PATH, which is no SQLAlchemy URL"),
        ("-- connection: ODD_URL\nselect 1", "install its driver"),
        ("-- connection: BAD_PORT_URL\nselect 1", "BAD_PORT_URL, which is no SQLAlchemy URL"),
        ("-- connection: SHOP_URL\npragma cache_size = 9", "gives no rows"),
        ("-- connection: SHOP_URL\nselect absent from sales", "no such column: absent"),
        ("-- connection: SHOP_URL\nselect x'00ff' as picture", "gives 'picture' as Binary"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(
    shop: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, says: str
) -> None:
    monkeypatch.setenv("ODD_URL", "nosuchdb://user:s3cret@host/db")
    monkeypatch.setenv("BAD_PORT_URL", "postgresql+psycopg2://user:s3cret@host:port/db")
    with pytest.raises(UsageError) as refused:
        queried(ask(tmp_path, query), tmp_path)
    assert says in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_database_that_does_not_answer_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", "postgresql+psycopg2://user:s3cret@127.0.0.1:1/db?password=s3cret")
    with pytest.raises(ServiceUnavailable, match="does not answer") as silent:
        queried(ask(tmp_path), tmp_path)
    assert "s3cret" not in str(silent.value)


def test_a_query_is_a_source_unless_it_landed(shop: sqlite3.Connection, tmp_path: Path) -> None:
    with Settings(home=tmp_path / "home").active():
        with fetched(str(ask(tmp_path))) as here:
            assert [path.name for path in locate(here)] == ["sales.sql.csv"]
        landing = tmp_path / "home" / "landing" / "shop" / "sales"
        landing.mkdir(parents=True)
        with pytest.raises(UsageError, match="not run"), fetched(str(ask(landing))):
            pass

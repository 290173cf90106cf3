"""One table in every format: the rows are those that CSV gives, and what does not fit is rejected with its row and text."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pyarrow as pa
import pytest
import xlsxwriter

from schemas.contract import Contract, column
from schemas.distribution import install_command
from schemas.errors import Refused, UsageError
from schemas.reader import PLAIN, ColumnFormat, Reader
from tasks.parsing.parse import fingerprint, parse_source
from tasks.parsing.sample import sample_rows
from tests.unit.parsed_rows import rows_and_misfits

DAY, MOMENT = dt.date(2024, 3, 4), dt.datetime(2024, 3, 4, 5, 6, 7, 120_000)  # noqa: DTZ001
Utc = Annotated[pl.Datetime, "us", "UTC"]


class Row(Contract):
    """A column of each kind."""

    name: str = column(nullable=True)
    count: int = column(nullable=True)
    amount: float = column(nullable=True)
    day: pl.Date = column(nullable=True)
    at: Annotated[pl.Datetime, "us", None] = column(nullable=True)
    yes: bool = column(nullable=True)


CSV = """name,count,amount,day,at,yes
007,1,0.30000000000000004,2024-03-04,2024-03-04T05:06:07.120000,true
é,-9007199254740993,1e300,2024-03-04,2024-03-04T00:00:00.000000,false
,,,,,
"""
FRAME = pl.DataFrame(
    {
        "name": ["007", "é", None],
        "count": [1, -9007199254740993, None],
        "amount": [0.1 + 0.2, 1e300, None],
        "day": [DAY, DAY, None],
        "at": [MOMENT, dt.datetime(2024, 3, 4), None],  # noqa: DTZ001
        "yes": [True, False, None],
    }
)


def records() -> list[dict[str, Any]]:
    return [
        {key: value.isoformat() if isinstance(value, dt.date) else value for key, value in row.items()}
        for row in FRAME.to_dicts()
    ]


def arrow_stream(frame: pl.DataFrame, rows: int = 1) -> bytes:
    table, buffer = frame.to_arrow(), io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return buffer.getvalue()


def written(write: Callable[[io.BytesIO], Any]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def nested(depth: list[str]) -> bytes:
    document: Any = records()
    for key in reversed(depth):
        document = {"before": [1, {"a": "]}"}], key: document, "after": {"b": '\\"[{'}}
    return json.dumps(document, indent=1).encode()


FORMATS: dict[str, tuple[str, bytes, Reader]] = {
    "JSON Lines": ("x.jsonl", "".join(json.dumps(row) + "\n" for row in records()).encode(), PLAIN),
    "JSON": ("x.json", nested([]), PLAIN),
    "JSON inside": ("x.json", nested(["data", "items"]), Reader(path="data.items")),
    "JSON in UTF-16": ("x.json", nested(["a"]).decode().encode("utf-16"), Reader(path="a", encoding="utf-16")),
    "JSON Lines by the name of JSON": (
        "x.json",
        "".join(json.dumps(row) + "\n" for row in records()).encode(),
        Reader(format="jsonl"),
    ),
    "Parquet": ("x.parquet", written(FRAME.write_parquet), PLAIN),
    "Arrow file": ("x.arrow", written(FRAME.write_ipc), PLAIN),
    "Arrow stream": ("x.ipc", arrow_stream(FRAME), PLAIN),
    "Feather": ("x.feather", written(lambda to: FRAME.write_ipc(to, compression="zstd")), PLAIN),
}


def parsed(folder: Path, name: str, content: bytes, reader: Reader = PLAIN, contract: type[Contract] = Row) -> Any:
    path = folder / name
    path.write_bytes(content)
    return rows_and_misfits(parse_source(fingerprint(path), contract, folder / "parsed", reader=reader))


@pytest.mark.parametrize("case", FORMATS)
def test_the_rows_are_those_of_the_csv_file(tmp_path: Path, case: str) -> None:
    name, content, reader = FORMATS[case]
    assert parsed(tmp_path, name, content, reader) == parsed(tmp_path, "x.csv", CSV.encode())


def workbook(rows: list[list[Any]], *, sheets: tuple[str, ...] = ("Rows",), filled: tuple[str, ...] = ("Rows",)) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        date, moment, clock = (book.add_format({"num_format": each}) for each in ("dd/mm/yy", "dd/mm/yy hh:mm", "hh:mm"))
        for name in sheets:
            sheet = book.add_worksheet(name)
            for at, row in enumerate(rows if name in filled else []):
                for column_at, value in enumerate(row):
                    if isinstance(value, dt.datetime):
                        sheet.write_datetime(at, column_at, value, moment)
                    elif isinstance(value, dt.date):
                        sheet.write_datetime(at, column_at, value, date)
                    elif isinstance(value, dt.time):
                        sheet.write_datetime(at, column_at, value, clock)
                    elif isinstance(value, str) and value.startswith("#"):
                        sheet.write_formula(at, column_at, "=NA()", None, value)
                    elif isinstance(value, float):  # with all its digits, as Excel has them
                        sheet.write_formula(at, column_at, "=1+1", None, repr(value))
                    elif isinstance(value, str):
                        sheet.write_string(at, column_at, value)
                    elif value is not None:
                        sheet.write(at, column_at, value)
    return buffer.getvalue()


CELLS = [[*FRAME.columns], *[list(row) for row in FRAME.head(2).rows()]]
CELLS[2][1] = "-9007199254740993"  # a cell's number has 53 bits
WORKBOOKS: dict[str, tuple[bytes, Reader]] = {
    "plain": (workbook(CELLS), PLAIN),
    "blank rows": (workbook([[], CELLS[0], [], *CELLS[1:], [], []]), PLAIN),
    "lines before": (workbook([["Report", None, 3], ["of today"], [], *CELLS]), Reader(skip_lines=2)),
    "the only filled sheet": (workbook(CELLS, sheets=("Empty", "Rows", "Sheet3")), PLAIN),
    "a sheet by name": (workbook(CELLS, sheets=("A", "B"), filled=("A", "B")), Reader(sheet="B")),
    "two header lines": (
        workbook([["Name", "How", None, "day", "at", "yes"], [None, "many", "amount"], *CELLS[1:]]),
        Reader(header=2, rename={"Name": "name", "How many": "count"}),
    ),
    "comments and a footer": (
        workbook([["# made"], *CELLS, ["Total", 5], ["# end"]]),
        Reader(comment="#", footer="Total"),
    ),
    "no header": (workbook(CELLS[1:]), Reader(header=0, names=tuple(FRAME.columns))),
    "a column without a name": (
        workbook([[*row[:3], "note" if at else None, *row[3:]] for at, row in enumerate(CELLS)]),
        Reader(omit=("unnamed_4",)),
    ),
    "a column of nothing": (workbook([[*row, "" if at else None] for at, row in enumerate(CELLS)]), PLAIN),
}


@pytest.mark.parametrize("case", WORKBOOKS)
def test_a_sheet_s_rows_are_those_of_the_csv_file(tmp_path: Path, case: str) -> None:
    content, reader = WORKBOOKS[case]
    rows, misfits = parsed(tmp_path, "x.csv", CSV.encode())
    assert parsed(tmp_path, "x.xlsx", content, reader) == (rows[:2], misfits)


class Times(Contract):
    """Times of other kinds."""

    instant: Utc = column(nullable=True)
    clock: pl.Time = column(nullable=True)
    day: pl.Date = column(nullable=True)
    text: str = column(nullable=True)


def test_cells_of_one_column_may_be_dates_and_texts(tmp_path: Path) -> None:
    reader = Reader(
        columns={
            "instant": ColumnFormat(time_zone="Europe/Berlin", times=("%d.%m.%Y %H:%M",)),
            "clock": ColumnFormat(times=("%I:%M %p",)),
            "day": ColumnFormat(times=("%d/%m/%Y", "excel_days"), missing=("#N/A",)),
        }
    )
    cells = [
        ["instant", "clock", "day", "text"],
        [dt.datetime(2024, 7, 1, 12), dt.time(17, 35), DAY, DAY],  # noqa: DTZ001
        ["01.07.2024 12:00", "05:35 PM", "04/03/2024", 7.5],
        [dt.datetime(2024, 3, 31, 2, 30), "25:00", 45355, 12],  # noqa: DTZ001
        [None, None, "#N/A", True],
        [5, None, MOMENT, "#DIV/0!"],
    ]
    rows, misfits = parsed(tmp_path, "x.xlsx", workbook(cells), reader, Times)
    noon = dt.datetime(2024, 7, 1, 10, tzinfo=dt.UTC)
    assert rows == [
        (noon, dt.time(17, 35), DAY, "2024-03-04"),
        (noon, dt.time(17, 35), DAY, "7.5"),
        (None, None, DAY, "12"),
        (None, None, None, "true"),
        (None, None, None, "#DIV/0!"),
    ]
    assert misfits == [
        (3, "instant", "2024-03-31 02:30:00"),  # the clock was put forward: there was no such time
        (3, "clock", "25:00"),
        (5, "instant", "5"),
        (5, "day", "2024-03-04 05:06:07.120"),
    ]


def test_a_cell_that_does_not_fit_is_rejected_with_its_row_and_text(tmp_path: Path) -> None:
    cells = [CELLS[0], ["a", 1.5, "x", "yesterday", DAY, "ja"], [], ["b", "#N/A", True, 12, None, 1]]
    rows, misfits = parsed(tmp_path, "x.xlsx", workbook(cells))
    assert rows == [
        ("a", None, None, None, dt.datetime(2024, 3, 4), None),  # noqa: DTZ001
        ("b", None, None, None, None, None),
    ]
    assert misfits == [
        (1, "count", "1.5"), (1, "amount", "x"), (1, "day", "yesterday"), (1, "yes", "ja"),
        (2, "count", "#N/A"), (2, "amount", "true"), (2, "day", "12"), (2, "yes", "1"),
    ]  # fmt: skip


class Flat(Contract):
    """Records inside records, flattened."""

    id: int = column()
    city: str = column(nullable=True, alias="address.city")
    zip: str = column(nullable=True)


NESTED = [
    {"id": 1, "address": {"city": "a", "at": {"zip": "01"}, "note": 1}},
    {"id": 2, "address": {"city": None, "at": None, "note": 2}},
    {"id": 3, "address": None},
]
FLATTENED = Reader(rename={"address.at.zip": "zip"}, omit=("address.note",))


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.parquet", "x.arrow"])
def test_records_inside_records_are_flattened_where_asked_for(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame(NESTED)
    content = {
        "x.jsonl": "".join(json.dumps(row) + "\n" for row in NESTED).encode(),
        "x.json": json.dumps(NESTED).encode(),
        "x.parquet": written(frame.write_parquet),
        "x.arrow": written(frame.write_ipc),
    }[name]
    assert parsed(tmp_path, name, content, FLATTENED, Flat) == ([(1, "a", "01"), (2, None, None), (3, None, None)], [])
    assert sample_rows(tmp_path / name).columns == ["id", "address.city", "address.at.zip", "address.note"]
    with pytest.raises(Refused, match=r"address\.note"):
        parsed(tmp_path, name, content, Reader(rename={"address.at.zip": "zip"}), Flat)


def test_a_value_where_a_record_is_asked_for_and_a_name_that_two_fields_have(tmp_path: Path) -> None:
    lines = b'{"id": 1, "address": 5}\n{"id": 2, "address": {"city": "a"}, "address.city": "b"}\n{"id": 3, "address": {}}\n'
    rows, misfits = parsed(tmp_path, "x.jsonl", lines, PLAIN, Loose)
    assert rows[2] == (3, None)
    assert [(row, column) for row, column, _ in misfits] == [(1, None), (2, None)]
    frame = pl.DataFrame({"id": [1], "address": [{"city": "a"}], "address.city": ["b"]})
    with pytest.raises(Refused, match=r"two columns that are called 'address\.city'"):
        parsed(tmp_path, "x.parquet", written(frame.write_parquet), PLAIN, Loose)


class Loose(Contract):
    """One field of a record inside."""

    id: int = column()
    city: str | None = column(alias="address.city")


class Wide(Contract):
    """Types that Parquet has and text has not."""

    price: float = column(nullable=True)
    paid: Annotated[pl.Decimal, 10, 2] = column(nullable=True)
    units: int = column(nullable=True)
    at: Annotated[pl.Datetime, "us", None] = column(nullable=True)
    instant: Utc = column(nullable=True)
    day: pl.Date = column(nullable=True)


def test_decimals_and_times_of_any_unit_are_the_values_that_csv_gives(tmp_path: Path) -> None:
    moment, instant = dt.datetime(2024, 3, 4, 5, 6, 7), dt.datetime(2024, 3, 4, 5, tzinfo=dt.UTC)  # noqa: DTZ001
    text = "price,paid,units,at,instant,day\n0.1,2.50,3,2024-03-04T05:06:07,2024-03-04T05:00:00Z,2024-03-04\n"
    expected = parsed(tmp_path, "x.csv", text.encode(), PLAIN, Wide)
    for unit in ("ms", "us", "ns"):
        frame = pl.DataFrame(
            {
                "price": pl.Series([Decimal("0.1")], dtype=pl.Decimal(38, 20)),
                "paid": pl.Series([Decimal("2.5")], dtype=pl.Decimal(20, 6)),
                "units": pl.Series([Decimal(3)], dtype=pl.Decimal(9, 0)),
                "at": pl.Series([moment]).dt.cast_time_unit(unit),  # type: ignore[arg-type]
                "instant": pl.Series([instant]).dt.cast_time_unit(unit),  # type: ignore[arg-type]
                "day": pl.Series([DAY]).cast(pl.Datetime(unit)),  # type: ignore[arg-type]
            }
        )
        assert parsed(tmp_path, "x.parquet", written(frame.write_parquet), PLAIN, Wide) == expected


def test_what_a_type_cannot_hold_is_rejected_with_its_text(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "price": [Decimal("1.5")],
            "paid": [Decimal("2.555")],
            "units": [Decimal("3.5")],
            "at": pl.Series([1]).cast(pl.Datetime("ns")),
            "instant": pl.Series([1]).cast(pl.Datetime("ns", "UTC")),
            "day": [MOMENT],
        }
    )
    rows, misfits = parsed(tmp_path, "x.parquet", written(frame.write_parquet), PLAIN, Wide)
    assert rows == [(1.5, None, None, None, None, None)]
    assert [each[1:] for each in misfits] == [
        ("paid", "2.555"), ("units", "3.5"), ("at", "1970-01-01 00:00:00.000000001"),
        ("instant", "1970-01-01 00:00:00.000000001+00:00"), ("day", "2024-03-04 05:06:07.120000"),
    ]  # fmt: skip


def test_pandas_index_is_left_out_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    FRAME.to_pandas().set_index(pl.Series([3, 1, 2]).to_numpy()).to_parquet(path)
    expected = parsed(tmp_path, "x.csv", CSV.encode())
    with pytest.raises(Refused, match="not known: '__index_level_0__'"):
        parsed(tmp_path, path.name, path.read_bytes())
    # pandas has no whole numbers beside missing ones
    assert expected[0][0] == parsed(tmp_path, path.name, path.read_bytes(), Reader(omit=("__index_level_0__",)))[0][0]


def test_a_declared_time_format_is_of_texts_and_whole_numbers_and_not_of_times(tmp_path: Path) -> None:
    reader = Reader(columns={"day": ColumnFormat(times=("%d/%m/%Y",)), "at": ColumnFormat(times=("%d/%m/%Y %H:%M",))})
    assert parsed(tmp_path, "x.parquet", written(FRAME.write_parquet), reader) == parsed(tmp_path, "x.csv", CSV.encode())


def test_numbers_of_json_have_a_point_whatever_mark_texts_have(tmp_path: Path) -> None:
    lines = b'{"name": "a", "count": 1, "amount": 1.5}\n{"name": "b", "count": "2", "amount": "1.234,5"}\n'
    reader = Reader(decimal=",", thousands=".")
    rows, misfits = parsed(tmp_path, "x.jsonl", lines, reader, Amount)
    assert (rows, misfits) == ([("a", 1, 1.5), ("b", 2, 1234.5)], [])


def test_numbers_of_a_workbook_are_numbers_whatever_mark_texts_have(tmp_path: Path) -> None:
    cells = [["name", "count", "amount"], ["a", 1, 1.234], ["b", "2", "1.234"], ["c", 1234, "1.234,5"], ["1.5", 3, -0.25]]
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        for at, row in enumerate(cells):
            for column_at, value in enumerate(row):
                (sheet.write_string if isinstance(value, str) else sheet.write_number)(at, column_at, value)
    reader = Reader(decimal=",", thousands=".")
    rows, misfits = parsed(tmp_path, "x.xlsx", buffer.getvalue(), reader, Amount)
    assert rows == [("a", 1, 1.234), ("b", 2, 1234), ("c", 1234, 1234.5), ("1.5", 3, -0.25)]
    assert misfits == []


class Amount(Contract):
    """Numbers."""

    name: str = column()
    count: int = column()
    amount: float = column()


class Hive(Contract):
    """Two columns that folders say."""

    name: str = column(nullable=True)
    year: int = column(nullable=True)
    place: str = column(nullable=True)
    more: float | None = column(nullable=True)


def folder_of(root: Path, parts: dict[str, pl.DataFrame]) -> Path:
    for name, frame in parts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(root / name)
    return root


def names_of(*names: str, **more: Any) -> pl.DataFrame:
    return pl.DataFrame({"name": names, **more})


def hive(root: Path) -> Path:
    return folder_of(
        root,
        {
            "year=2024/place=S%C3%A3o Paulo/part-0.parquet": names_of("c", "d"),
            "year=2023/place=b/part-1.parquet": names_of("b", more=[2]),
            "year=2023/place=__HIVE_DEFAULT_PARTITION__/part-0.parquet": names_of("a"),
            "_delta_log/x.parquet": names_of("no row"),
        },
    )


def test_a_folder_of_parquet_files_is_one_source_with_the_columns_that_its_folders_say(tmp_path: Path) -> None:
    folder = hive(tmp_path / "sales")
    (folder / "_SUCCESS").touch()
    source = fingerprint(folder)
    rows, misfits = rows_and_misfits(parse_source(source, Hive, tmp_path / "parsed"))
    text = "name,year,place,more\na,2023,,\nb,2023,b,2\nc,2024,São Paulo,\nd,2024,São Paulo,\n"
    assert (rows, misfits) == parsed(tmp_path, "x.csv", text.encode(), PLAIN, Hive)
    assert sample_rows(folder).rows() == [("a", "2023", None, None), ("b", "2023", "b", 2)] + [
        (name, "2024", "São Paulo", None) for name in "cd"
    ]
    again = hive(tmp_path / "copy" / "sales")
    assert fingerprint(again).sha256 == source.sha256
    names_of("e").write_parquet(again / "year=2023" / "place=b" / "part-1.parquet")
    assert fingerprint(again).sha256 != source.sha256


def test_what_a_folder_says_is_rejected_like_any_text_and_its_rows_are_numbered_through(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", {"year=x/place=p/0.pq": names_of("a"), "year=7/place=p/0.pq": names_of("b", "c")})
    rows, misfits = rows_and_misfits(parse_source(fingerprint(folder), Hive, tmp_path / "parsed"))
    assert rows == [("b", 7, "p"), ("c", 7, "p"), ("a", None, "p")]
    assert misfits == [(3, "year", "x")]


def test_a_folder_that_is_no_one_source_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", {"a.parquet": names_of("a", year=[1], place=["p"])})
    folder_of(folder, {"b.parquet": names_of("a", place=["p"])})
    with pytest.raises(Refused, match=r"the columns of 'f/b\.parquet' .*missing: 'year'"):
        parse_source(fingerprint(folder), Hive, tmp_path / "parsed")
    (folder / "c.csv").touch()
    with pytest.raises(UsageError, match=r"holds 'c\.csv', which is no Parquet file"):
        fingerprint(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no Parquet file"):
        fingerprint(tmp_path / "empty")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "x.parquet").symlink_to(folder / "a.parquet")
    with pytest.raises(UsageError, match="leads out of it"):
        fingerprint(tmp_path / "linked")


@pytest.mark.parametrize(
    ("name", "content", "reader", "said"),
    [
        ("x.json", b'{"a": 1}\n{"a": 2}\n', PLAIN, r'one object a line: let the input say reader=Reader\(format="jsonl"\)'),
        ("x.json", b'{"meta": 1, "rows": [{}]}', PLAIN, r"reader=Reader\(path='rows'\)"),
        ("x.json", b'{"a": {"b": 1}}', Reader(path="a.c"), "a has no 'c', where its reader's path leads; there is 'b'"),
        ("x.json", b'{"a": 5}', Reader(path="a.c"), "a is no object"),
        ("x.json", b'{"a": [], "a": []}', Reader(path="a"), "has 'a' twice"),
        ("x.json", b'[{"name": 1}', PLAIN, "is no JSON at letter 13"),
        ("x.json", b'[{"name": }]', PLAIN, "is no JSON at letter 1"),
        ("x.json", b'{"a": [{"name": 1}]', Reader(path="a"), "is no JSON"),
        ("x.json", b'[{"name": "a"}] []', PLAIN, "there is more after the document's end"),
        ("x.json", b"[{]", PLAIN, "is no JSON"),
        ("x.json", "[]".encode("utf-16"), PLAIN, 'encoding="utf-16"'),
        ("x.json", b'["\xff"]', PLAIN, "is not UTF-8"),
        ("x.xlsx", workbook(CELLS, sheets=("A", "B"), filled=("A", "B")), PLAIN, r"reader=Reader\(sheet='A'\)"),
        ("x.xlsx", workbook(CELLS), Reader(sheet="b"), r"has no sheet 'b'; it has 'Rows'"),
        ("x.xlsx", workbook([]), PLAIN, "no row that names the columns"),
        ("x.xlsx", workbook([["name", "name"], [1, 2]]), PLAIN, "the header repeats 'name'"),
        ("x.xlsx", CSV.encode(), PLAIN, "not what its name says"),
        ("x.xlsx", workbook(CELLS)[:-40], PLAIN, "cannot be unpacked"),
        ("x.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, PLAIN, "cannot be read as a workbook"),
        ("x.arrow", CSV.encode(), PLAIN, "not what its name says"),
        ("x.arrow", written(FRAME.write_ipc)[:-20], PLAIN, "cannot be read"),
        ("x.arrow", arrow_stream(FRAME)[:-200], PLAIN, "cannot be read"),
        ("x.feather", b"FEA1" + b"\0" * 100, PLAIN, "not what its name says"),
    ],
)
def test_what_is_not_as_declared_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, reader: Reader, said: str
) -> None:
    with pytest.raises(Refused, match=said) as refused:
        parsed(tmp_path, name, content, reader)
    assert "\n" not in str(refused.value)


def test_a_record_that_is_none_is_rejected_by_itself(tmp_path: Path) -> None:
    deep = '{"name": ' + "[" * 200 + "]" * 200 + "}"
    deeper = '{"name": ' + "[" * 100_000 + "]" * 100_000 + "}"
    items = [
        '{"name": "a"}',
        "5",
        '"x"',
        "null",
        '{"name": 1, "name": 2}',
        deep,
        deeper,
        '{"name": "\\ud800"}',
        '{"name": "b"}',
    ]
    rows, misfits = parsed(tmp_path, "x.json", f"[{', '.join(items)}]".encode(), PLAIN, OneName)
    assert [row for row in rows if row[0]] == [("a",), ("b",)]
    assert [(row, column) for row, column, _ in misfits] == [(n, "name" if n == 8 else None) for n in range(2, 9)]
    assert [text for _, _, text in misfits[:4]] == items[1:5]


class OneName(Contract):
    """One column."""

    name: str = column(nullable=True)


def test_an_old_name_on_a_new_workbook_is_read(tmp_path: Path) -> None:
    rows, _ = parsed(tmp_path, "x.csv", CSV.encode())
    assert parsed(tmp_path, "x.xls", workbook(CELLS)) == (rows[:2], [])


def test_an_opendocument_sheet_is_read(tmp_path: Path) -> None:
    cells = "".join(
        "<table:table-row>"
        + "".join(f"<table:table-cell {kind}><text:p>{text}</text:p></table:table-cell>" for kind, text in row)
        + "</table:table-row>"
        for row in (
            [('office:value-type="string"', name) for name in ("name", "count", "day")],
            [
                ('office:value-type="string"', "007"),
                ('office:value-type="float" office:value="5"', "5"),
                ('office:value-type="date" office:date-value="2024-03-04"', "04.03.24"),
            ],
        )
    )
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    content = (
        f'<?xml version="1.0"?><office:document-content {spaces}><office:body><office:spreadsheet>'
        f'<table:table table:name="A">{cells}</table:table></office:spreadsheet></office:body></office:document-content>'
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)

    class Cells(Contract):
        name: str = column()
        count: int = column()
        day: pl.Date = column()

    assert parsed(tmp_path, "x.ods", buffer.getvalue(), PLAIN, Cells) == ([("007", 5, DAY)], [])


# An old workbook (BIFF8) of the first two rows, times to the second: zlib, then base 85.
OLD_WORKBOOK = (
    "c-rk)T}TvB6#nj=8TSW&R#yWJWD&G7L8HK^Y%MJ9Va0qYBd9eu3UfDBE$qQ86M6}Po(f+C3wp77=#L5tdg!4r>LCaMtq39rf`T4&r*qHDY-$QF"
    "l#t9f+;h)4ckcb}+@CXd=H+<)#K^6ZNzB1kXh@kpWX<piN<PO3fXYo%sZQ>tWV-mT;PcW%W*K;p^W3B6P|f!wByQ?YNCNLE?Z<I6C*rZt5@I{|"
    "Au3cK>PQL<lP4F&+^YhXhgb$#-rzeQvaDy%1(tPm?}XTg@o;nHMtc?Sm1SI(3)SvjuJe{X>rjMeY89WpD6D%8Y)c-E9$PL2rFu3-K{MSLi^r16"
    "&cRi+aT^+{Ba!O1wo*NaYcw)xN2sZ3QzSBhLRuQ5_+f^C?@kPO9CH0j>lYyZ&)I&@0)8*e?0kM7P4Ha*C8+}gFc0!p8$vdY=&D3VYvN@06gG2k"
    "_p%4^Xjjaj?U(3{_fWiub}2;zI--5FiK0sFi*=K%si~#q_t~%B8ysf>v*Jt+@4sx49mr!npLbz^h^DT8dlhMK2_In308?9UpmNn!m^h<qP~}`M"
    "(crXN$u-upJj<=FWW9uCA?*apD_V+dW#=H@bB;?Zh-W?Hb$HbbeKqMrUv}Rs9r_SnL;6_b<f+23H{lVK(QtN9eRU0@N>qs}mlf`Zom|+_>K)7C"
    "KO&b`2JF6@_G>l|)9|yJ&(gBg=!mo>?Xj{fjVvu~>163?%OK0JdBi+Cf_c=)^-DiLhh=FrvVwUw*rQ;TYxF#0Po-V1(^Kraed5L8@=x`K^m3$8"
    "{Zwpn9yZBr9-GaY^RM(CQmsj58}7yVEgx(9AMv<3Y(bVf6o+IEI-|$}+))iu#QzOHT)1%I!i5VLE?g`O!DmV9{H*h7(K<zY?EgB`lv3_*l4Xll"
    "B<Sj)&%qstQ=UX$M(bw<4B@mT7FoynU#PH$*pui)JNKhA<Mm752x8{*EV^Rg?`@$>`BRzn^B?p70?~5%{{"
)


def test_an_old_workbook_is_read(tmp_path: Path) -> None:
    content = zlib.decompress(base64.b85decode(OLD_WORKBOOK))
    rows, misfits = parsed(tmp_path, "x.csv", CSV.replace(".120000", "").replace("-9007199254740993", "-5").encode())
    assert parsed(tmp_path, "x.xls", content) == (rows[:2], misfits)


def test_names_that_polars_would_expand_are_names(tmp_path: Path) -> None:
    frame = pl.DataFrame({"*": ["a"], "^a.*$": [1], "amount": [1.5]})
    reader = Reader(rename={"*": "name", "^a.*$": "count"})
    for name, content in (("x.parquet", written(frame.write_parquet)), ("x.arrow", written(frame.write_ipc))):
        assert parsed(tmp_path, name, content, reader, Amount) == ([("a", 1, 1.5)], [])


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.xlsx").write_bytes(workbook(CELLS))
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with pytest.raises(Refused, match=re.escape(install_command("excel"))) as refused:
        sample_rows(tmp_path / "x.xlsx")
    assert "\n" not in str(refused.value)

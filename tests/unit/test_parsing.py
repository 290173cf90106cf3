"""Foreign files become exactly the rows they hold, or say which they could not. In process: what the limited child does."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import Refused
from tasks.parsing import csv_records, decompression, json_lines, parse_process
from tasks.parsing.type_conversion import ROW, UNTYPED

UTC_US = pl.Datetime("us", "UTC")
Schema = dict[str, Any]
Told = list[tuple[int, str | None, str]]


def read(
    content: bytes, schema: Schema, name: str = "x.csv", optional: tuple[str, ...] = (), strict: bool = True
) -> tuple[pl.DataFrame, Told]:
    """The typed rows of a file of that content, and row, column and text of what could not be typed."""
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        pl.DataFrame(schema=schema).write_ipc(Path(folder, "schema.arrow"))
        required = [column for column in schema if column not in optional]
        plan = {"path": str(path), "name": name, "required": required, "strict": strict}
        outcome = parse_process.parse(plan, Path(folder))
        parts = [pl.read_parquet(Path(folder, part)) for part in outcome["parts"]]
    if not parts:
        return pl.DataFrame(schema={c: schema[c] for c in outcome["columns"]}), []
    frame = pl.concat(parts)
    assert frame.height == outcome["rows"]
    assert frame[ROW].to_list() == list(range(1, frame.height + 1))
    told = frame.select(ROW, UNTYPED).explode(UNTYPED, empty_as_null=False).unnest(UNTYPED)
    return frame.select(outcome["columns"]), list(told.iter_rows())


def quoted(value: str | None, always: bool) -> str:
    if value is None:
        return ""
    needed = always or value == "" or any(character in value for character in ',"\r\n')
    return '"' + value.replace('"', '""') + '"' if needed else value


TEXT = st.text(st.sampled_from('a ,"\n\réß😀;#'), max_size=6)
PACK = {
    ".csv": lambda raw: raw,
    ".csv.gz": lambda raw: gzip.compress(raw[: len(raw) // 2]) + gzip.compress(raw[len(raw) // 2 :]),
    ".csv.zst": lambda raw: zstandard.compress(raw[: len(raw) // 2]) + zstandard.compress(raw[len(raw) // 2 :]),
    ".csv.zip": lambda raw: zipped({"data.csv": raw, "__MACOSX/._data.csv": b"x"}),
}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@given(
    rows=st.lists(st.tuples(*[st.none() | TEXT] * 3), max_size=12),
    always=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
    closed=st.booleans(),
    mark=st.booleans(),
    ending=st.sampled_from(sorted(PACK)),
    chunk=st.sampled_from([8, 1 << 23]),
)
@settings(max_examples=150, deadline=None)
def test_text_survives_csv(
    rows: list[tuple[str | None, ...]], always: bool, end: str, closed: bool, mark: bool, ending: str, chunk: int
) -> None:
    lines = [",".join(quoted(value, always) for value in row) for row in [("one", "two", "three"), *rows]]
    raw = (end.join(lines) + (end if closed else "")).encode("utf-8-sig" if mark else "utf-8")
    schema = dict.fromkeys(["three", "one", "two"], pl.String())
    before = csv_records.CHUNK, decompression.PIECE
    csv_records.CHUNK, decompression.PIECE = chunk, max(3, chunk // 2)
    try:
        frame, told = read(PACK[ending](raw), schema, "x" + ending)
    finally:
        csv_records.CHUNK, decompression.PIECE = before
    assert not told
    assert frame.select("one", "two", "three").rows() == rows


NUMBERS = st.none() | st.integers(-(2**63), 2**63 - 1)
FLOATS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001


@given(
    st.lists(st.tuples(NUMBERS, FLOATS, st.none() | st.booleans(), TIMES, st.none() | TEXT), min_size=1, max_size=8),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_typed_values_survive_every_format(rows: list[tuple[Any, ...]], small: bool) -> None:
    schema: Schema = {"n": pl.Int64, "x": pl.Float64, "b": pl.Boolean, "t": UTC_US, "s": pl.String}
    written = [(n, x, b, t and t.isoformat().replace("+00:00", "Z"), s) for n, x, b, t, s in rows]
    lines = "\n".join(json.dumps(dict(zip(schema, row, strict=True)), ensure_ascii=small) for row in written)
    csv = "\n".join(["n,x,b,t,s", *(",".join(quoted(None if v is None else str(v), False) for v in row) for row in written)])
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    before, json_lines.LINES = json_lines.LINES, 3 if small else 100
    try:
        for name, content in {"x.csv": csv.encode(), "x.jsonl": lines.encode(), "x.parquet": buffer.getvalue()}.items():
            found, told = read(content, schema, name, optional=tuple(schema))
            assert not told, name
            assert found.equals(frame.select(found.columns)), name
    finally:
        json_lines.LINES = before


MOMENT = datetime(2013, 1, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "dtype", "value"),
    [
        ("5", pl.Int64, 5),
        ("+5", pl.Int64, 5),
        ("007", pl.Int64, 7),
        *(
            (text, pl.Int64, None)
            for text in ["5.0", " 5", "5 ", "1e3", "0x10", "1_000", "five", "9223372036854775808", "٣", "NA"]
        ),
        ("255", pl.UInt8, 255),
        ("256", pl.UInt8, None),
        ("-1", pl.UInt8, None),
        ("1e300", pl.Float64, 1e300),
        ("1e300", pl.Float32, None),
        ("1e400", pl.Float64, None),
        ("-1e400", pl.Float64, None),
        ("inf", pl.Float64, float("inf")),
        ("-Infinity", pl.Float64, float("-inf")),
        ("12,5", pl.Float64, None),
        ("true", pl.Boolean, True),
        ("False", pl.Boolean, False),
        ("yes", pl.Boolean, None),
        ("1", pl.Boolean, None),
        ("1.25", pl.Decimal(6, 2), Decimal("1.25")),
        ("1.255", pl.Decimal(6, 2), None),
        ("12345.00", pl.Decimal(6, 2), None),
        ("red", pl.Enum(["red", "blue"]), "red"),
        ("green", pl.Enum(["red", "blue"]), None),
        ("2013-01-01T06:00:00Z", UTC_US, MOMENT),
        ("2013-01-01 06:00:00Z", UTC_US, MOMENT),
        ("2013-01-01T01:00:00-05:00", UTC_US, MOMENT),
        ("2013-01-01T01:00:00-0500", UTC_US, MOMENT),
        ("2013-01-01T06:00:00.250000Z", UTC_US, MOMENT.replace(microsecond=250000)),
        *(
            (text, UTC_US, None)
            for text in [
                "2013-01-01T06:00:00",
                "2013-01-01",
                "2013-1-1T6:00:00Z",
                "2013-02-30T06:00:00Z",
                "2013-01-01T06:00:60Z",
                "2013-01-01T24:00:00Z",
                "2013-01-01T06:00:00.1234567Z",
                "0000-01-01T00:00:00Z",
                "01/02/2013",
            ]
        ),
        ("2013-01-01T06:00:00", pl.Datetime("us"), datetime(2013, 1, 1, 6)),  # noqa: DTZ001
        ("2013-01-01T06:00:00Z", pl.Datetime("us"), None),
        ("2013-01-01", pl.Date, date(2013, 1, 1)),
        ("2013-13-01", pl.Date, None),
        ("06:30:00", pl.Time, time(6, 30)),
        ("6:30", pl.Time, None),
    ],
)
def test_text_is_typed_without_loss_or_kept(text: str, dtype: Any, value: Any) -> None:
    frame, told = read(f'v,w\n"{text}",1\n'.encode(), {"v": dtype, "w": pl.Int64})
    assert frame["v"].to_list() == [value]
    assert told == ([(1, "v", text)] if value is None else [])


def test_nan_is_typed_as_nan_for_the_contract_to_refuse() -> None:
    frame, told = read(b"v,w\nNaN,1\n", {"v": pl.Float64, "w": pl.Int64})
    assert frame["v"].is_nan().to_list() == [True]
    assert not told


@pytest.mark.parametrize(
    ("content", "rows", "told"),
    [
        (b"a,b\n1,2\n3\n4,5\n", [(1, 2), (None, None), (4, 5)], [(2, None, "3")]),
        (b"a,b\n1,2,3\n4,5\n", [(None, None), (4, 5)], [(1, None, "1,2,3")]),
        (b'a,b\n"1,2"\n3,4', [(None, None), (3, 4)], [(1, None, '"1,2"')]),
        (b"a,b\n\n1,2\n\r\n3,4\n\n", [(1, 2), (3, 4)], []),
        (b"a,b\n1,2\n3,", [(1, 2), (3, None)], []),
        (b"b,a\n2,1\n", [(1, 2)], []),
        (b"a,b\nx,y\n", [(None, None)], [(1, "a", "x"), (1, "b", "y")]),
        (b"a,b\n1,\n", [(1, None)], []),
        (b'a,b\n1,""\n', [(1, None)], []),
        (b"a,b\n", [], []),
        (b"", [], []),
        (b"\xef\xbb\xbf", [], []),
        (b"\xef\xbb\xbfa,b\n1,2", [(1, 2)], []),
        (b'"a","b"\r\n1,2\r\n', [(1, 2)], []),
    ],
)
def test_csv_gives_exact_rows_and_keeps_records_that_do_not_fit(content: bytes, rows: list[Any], told: Told) -> None:
    frame, found = read(content, {"a": pl.Int64, "b": pl.Int64})
    assert frame.rows() == rows
    assert found == told


def test_rows_are_numbered_across_chunks_with_records_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompression, "PIECE", 10)
    monkeypatch.setattr(csv_records, "CHUNK", 16)
    lines = [f"{n},{n}" if n % 3 else f"{n}" for n in range(1, 40)]
    frame, told = read("\n".join(["a,b", *lines]).encode(), {"a": pl.Int64, "b": pl.Int64})
    assert frame["a"].to_list() == [n if n % 3 else None for n in range(1, 40)]
    assert told == [(n, None, str(n)) for n in range(3, 40, 3)]


def test_a_csv_of_one_column_has_empty_fields() -> None:
    assert read(b'a\nx\n\n""\n"y\nz"\n', {"a": pl.String})[0]["a"].to_list() == ["x", None, "", "y\nz"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a,b\n1,2\n\xe9,3\n", r"not UTF-8 near row 2 \(byte 0xe9\)"),
        (b"a,b\n1,2\n3,\x004\n", "NUL byte near row 2"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), "NUL"),
        (b"a,a\n1,2\n", "repeats 'a'"),
        (b"a,b,c\n1,2,3\n", "not known: 'c'"),
        (b"a\n1\n", "missing: 'b'"),
        (b"a;b\n1;2\n", "separated by semicolons"),
        (b"1,2\n3,4\n", "missing: 'a', 'b'; not known: '1', '2'"),
        (b'a,b\n1,"2\n3,4\n', "near row 1 is stray or never closed"),
        (b'a,b\n1,2\n3,4"5\n', "near row 2 is stray"),
        (b'a,b\n1,2\n3,"4"5\n', "near row 2 is stray"),
        (b'a,b\n1, "2"\n', "stray"),
        (b"PAR1....", "Parquet"),
        (b"\x1f\x8b....", "gzip"),
    ],
)
def test_csv_whose_records_cannot_be_told_apart_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(Refused, match=says) as caught:
        read(content, {"a": pl.Int64, "b": pl.Int64})
    assert "\n" not in str(caught.value)


def test_a_record_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompression, "PIECE", 64)
    monkeypatch.setattr(csv_records, "CHUNK", 64)
    monkeypatch.setattr(csv_records, "LONGEST_RECORD", 256)
    with pytest.raises(Refused, match="is a quote left open"):
        read(b'a,b\n1,"2\n' + b"3,4\n" * 200, {"a": pl.Int64, "b": pl.String})


@pytest.mark.parametrize(
    ("line", "row", "told"),
    [
        ('{"a": 1, "b": "x"}', (1, "x"), []),
        ('{"b": "x"}', (None, "x"), []),
        ('{"a": null, "b": "x"}', (None, "x"), []),
        ('{"a": "1", "b": "x"}', (None, "x"), [(1, "a", '"1"')]),
        ('{"a": 1.0, "b": "x"}', (None, "x"), [(1, "a", "1.0")]),
        ('{"a": 9223372036854775808, "b": "x"}', (None, "x"), [(1, "a", "9223372036854775808")]),
        ('{"a": true, "b": "x"}', (None, "x"), [(1, "a", "true")]),
        ('{"a": 1, "b": 2.50}', (1, None), [(1, "b", "2.50")]),
        ('{"a": 1, "b": {"c": [1e5, null]}}', (1, None), [(1, "b", '{"c": [1e5, null]}')]),
        ('{"a": 1, "b": "\\ud800"}', (1, None), [(1, "b", '"\\ud800"')]),
        ('{"a": 1, "a": 2, "b": "x"}', (None, None), [(1, None, '{"a": 1, "a": 2, "b": "x"}')]),
        ('{"a": 1, "b"', (None, None), [(1, None, '{"a": 1, "b"')]),
        ("[1, 2]", (None, None), [(1, None, "[1, 2]")]),
        ("NaN", (None, None), [(1, None, "NaN")]),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", (None, None), [(1, None, '{"a": ' + "[" * 200 + "]" * 200 + "}")]),
        ("[" * 100_000, (None, None), [(1, None, "[" * 100_000)]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_json_lines_give_exact_values_and_keep_what_does_not_fit(line: str, row: tuple[Any, ...], told: Told) -> None:
    content = f'{line}\r\n\n{{"a": 7, "b": "seven"}}\n'.encode()
    frame, found = read(content, {"a": pl.Int64, "b": pl.String}, "x.ndjson")
    assert frame.rows() == [row, (7, "seven")]
    assert found == told


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"a": 1, "b": 2, "c": 3}\n', "not know: 'c'"),
        (b'{"a": 1}\n{"a": 2}\n', "missing: 'b'"),
        (b'{"a": 1, "b": "\xe9"}\n', "not UTF-8"),
    ],
)
def test_json_lines_of_another_schema_are_refused(content: bytes, says: str) -> None:
    with pytest.raises(Refused, match=says):
        read(content, {"a": pl.Int64, "b": pl.Int64}, "x.jsonl")


NS = pl.Datetime("ns", "UTC")
FAR = pl.Series([2**62, 0]).cast(UTC_US)


@pytest.mark.parametrize(
    ("series", "dtype", "values", "told"),
    [
        (pl.Series([1, None], dtype=pl.Int32), pl.Int64, [1, None], []),
        (pl.Series([1, 300]), pl.UInt8, [1, None], ["300"]),
        (pl.Series([2**63], dtype=pl.UInt64), pl.Int64, [None], ["9223372036854775808"]),
        (pl.Series([1, 2**53 + 1]), pl.Float64, [1.0, None], ["9007199254740993"]),
        (pl.Series([1.0, 2.5, None]), pl.Int64, [1, None, None], ["2.5"]),
        (pl.Series([1.0, float("nan")]), pl.Int64, [1, None], ["NaN"]),
        (pl.Series([0.5], dtype=pl.Float32), pl.Float64, [0.5], []),
        (pl.Series([None, None]), pl.String, [None, None], []),
        (pl.Series(["a", "x"]), pl.Enum(["a"]), ["a", None], ["x"]),
        (pl.Series(["a"], dtype=pl.Categorical), pl.String, ["a"], []),
        (
            pl.Series([0, 1]).cast(NS),
            UTC_US,
            [datetime(1970, 1, 1, tzinfo=UTC), None],
            ["1970-01-01 00:00:00.000000001+00:00"],
        ),
        (pl.Series([0]).cast(pl.Datetime("ms", "Asia/Tokyo")), UTC_US, [datetime(1970, 1, 1, tzinfo=UTC)], []),
        (FAR, UTC_US, [None, datetime(1970, 1, 1, tzinfo=UTC)], [str(2**62)]),
        (pl.Series([2**31 - 1], dtype=pl.Int32).cast(pl.Date), pl.Date, [None], [str(2**31 - 1)]),
        (pl.Series([[1, 2]]), pl.List(pl.Int64), [[1, 2]], []),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else "",
)
def test_parquet_types_are_taken_where_nothing_is_lost(
    series: pl.Series, dtype: Any, values: list[Any], told: list[str]
) -> None:
    buffer = io.BytesIO()
    series.alias("v").to_frame().write_parquet(buffer)
    frame, found = read(buffer.getvalue(), {"v": dtype}, "x.parquet")
    assert frame["v"].to_list() == values
    assert frame["v"].dtype == dtype
    assert [text for _, _, text in found] == told


@pytest.mark.parametrize(
    ("series", "dtype", "says"),
    [
        (pl.Series(["1"]), pl.Int64, "'v' is String, not Int64"),
        (pl.Series([0]).cast(pl.Datetime("us")), UTC_US, "time_zone=None"),
        (pl.Series([1.5]), pl.Float32, "Float64, not Float32"),
        (pl.Series([True]), pl.Int64, "Boolean"),
        (pl.Series([1]), pl.String, "Int64, not String"),
        (pl.Series([date(2013, 1, 1)]), UTC_US, "Date"),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else "",
)
def test_parquet_of_another_type_is_another_schema(series: pl.Series, dtype: Any, says: str) -> None:
    buffer = io.BytesIO()
    series.alias("v").to_frame().write_parquet(buffer)
    with pytest.raises(Refused, match=says):
        read(buffer.getvalue(), {"v": dtype}, "x.parquet")


def test_large_parquet_is_numbered_across_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.parsing.parquet.CELLS", 1000)
    monkeypatch.setattr(parse_process, "PART_ROWS", 300)
    buffer = io.BytesIO()
    pl.DataFrame({"v": range(2500)}).write_parquet(buffer, row_group_size=700)
    assert read(buffer.getvalue(), {"v": pl.Int64}, "x.parquet")[0]["v"].to_list() == list(range(2500))


def test_an_optional_column_may_be_missing_in_every_format() -> None:
    schema: Schema = {"a": pl.Int64, "b": pl.Int64}
    buffer = io.BytesIO()
    pl.DataFrame({"a": [1]}).write_parquet(buffer)
    for name, content in {"x.csv": b"a\n1\n", "x.jsonl": b'{"a": 1}\n', "x.parquet": buffer.getvalue()}.items():
        assert read(content, schema, name, optional=("b",))[0].to_dict(as_series=False) == {"a": [1]}


@pytest.mark.parametrize("name", ["x", "x.doc", "x.csv.bz2", "x.parquet.gz", ".csv.", "x.tar"])
def test_a_name_that_tells_no_format_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="cannot tell the format"):
        read(b"a\n1\n", {"a": pl.Int64}, name)


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst", ".csv.zip"])
def test_packed_files_that_are_cut_or_not_packed_are_refused(ending: str) -> None:
    packed = PACK[ending](b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(2000)))
    for content in (packed[:-9], packed[: len(packed) // 2], b"a,b\n1,2\n"):
        with pytest.raises(Refused, match=r"cannot be unpacked|not what its name says"):
            read(content, {"a": pl.Int64, "b": pl.Int64}, "x" + ending)


def test_a_zip_of_two_files_is_refused() -> None:
    with pytest.raises(Refused, match="2 files"):
        read(zipped({"a.csv": b"a\n1", "b.csv": b"a\n2"}), {"a": pl.Int64}, "x.zip")

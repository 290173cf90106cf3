"""Declared readers: text of many makes becomes the contract's values, and the rest is rejected with its row."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest

from schemas.contract import Contract, column
from schemas.errors import Refused, UsageError
from schemas.reader import PLAIN, ColumnFormat, Reader, describe_reader, restore_reader
from schemas.usecase import Input
from tasks.contracts.schema_diff import compare_contracts
from tasks.parsing.column_formats import from_written
from tasks.parsing.csv_records import numbered_names
from tasks.parsing.parse import fingerprint, parse_source
from tasks.parsing.type_conversion import conversion
from tests.unit.parsed_rows import rows_and_misfits

Moment = Annotated[pl.Datetime, "us", None]
Utc = Annotated[pl.Datetime, "us", "UTC"]


class Row(Contract):
    """Three columns of three types."""

    name: str = column(nullable=True)
    amount: float = column(nullable=True)
    day: pl.Date = column(nullable=True)


def read(folder: Path, content: bytes, reader: Reader, contract: type[Contract] = Row, name: str = "rows.csv") -> Any:
    path = folder / name
    path.write_bytes(content)
    return rows_and_misfits(parse_source(fingerprint(path), contract, folder / "parsed", reader=reader))


DAY = date(2024, 3, 4)
A_B = ColumnFormat(spellings={'a" b': "a"})
TEXTS = {
    "semicolons": (b"name;amount;day\na;1.5;2024-03-04\n", Reader(separator=";")),
    "tabs": (b"name\tamount\tday\na\t1.5\t2024-03-04\n", Reader(separator="\t")),
    "bars and quotes": (b'"name"|"amount"|"day"\n"a"|"1.5"|"2024-03-04"\n', Reader(separator="|")),
    "two characters": (b"name::amount::day\na::1.5::2024-03-04\n", Reader(separator="::")),
    "two characters inside quotes": (
        b'name::amount::day\n"a::b"::1.5::2024-03-04\n',
        Reader(separator="::", columns={"name": ColumnFormat(spellings={"a::b": "a"})}),
    ),
    "tabs and blanks": (
        b'name\tamount\tother\tday\n "a" \t1.5\t\t"2024-03-04"\n',
        Reader(separator="\t", strip=True, omit=("other",)),
    ),
    "other quotes behind a backslash": (
        b"name,amount,day\n'a\\' b',1.5,2024-03-04\n",
        Reader(quote="'", backslash=True, columns={"name": ColumnFormat(spellings={"a' b": "a"})}),
    ),
    "a comment with a quote": (b'#it"s\nname,amount,day\na,1.5,2024-03-04\n', Reader(comment="#", stray_quotes=True)),
    "blanks and a lone quote": (
        b'name amount day\n5" 1.5 2024-03-04\n',
        Reader(separator="whitespace", quote=None, columns={"name": ColumnFormat(spellings={'5"': "a"})}),
    ),
    "runs of blanks": (b"name   amount day\n  a  1.5\t2024-03-04\r\n", Reader(separator="whitespace")),
    "blanks inside quotes": (b"name amount day\n'a' 1.5  '2024-03-04'\n", Reader(separator="whitespace", quote="'")),
    "Latin": ("name,amount,day\na,1.5,2024-03-04\n".encode("cp1252"), Reader(encoding="cp1252")),
    "UTF-16": ("name,amount,day\na,1.5,2024-03-04\n".encode("utf-16"), Reader(encoding="utf-16")),
    "returns alone": (b"name,amount,day\ra,1.5,2024-03-04\r", Reader(line_end="\r")),
    "lines before": (b'Report of "all\n\nname,amount,day\na,1.5,2024-03-04\n', Reader(skip_lines=2)),
    "sep= line": (b"sep=;\r\nname;amount;day\r\na;1.5;2024-03-04\r\n", Reader(separator=";", skip_lines=1)),
    "comments": (b"# made\nname,amount,day\n# a, b\na,1.5,2024-03-04\n", Reader(comment="#")),
    "footer": (b"name,amount,day\na,1.5,2024-03-04\n\nTotal,1.5,\nend\n", Reader(footer="Total|end")),
    "no header": (b"a,1.5,2024-03-04\n", Reader(header=0, names=("name", "amount", "day"))),
    "two header lines": (
        b"name,,day\n,amount,of it\na,1.5,2024-03-04\n",
        Reader(header=2, rename={"day of it": "day"}),
    ),
    "row names": (b"name,amount,day\n1,a,1.5,2024-03-04\n", Reader(unnamed="first", omit=("unnamed_1",))),
    "separators at the ends": (b"name,amount,day\na,1.5,2024-03-04,\n", Reader(unnamed="last", omit=("unnamed_4",))),
    "empty columns": (b"name,amount,day,,\na,1.5,2024-03-04,,\n", Reader(omit=("unnamed_4", "unnamed_5"))),
    "blank rows": (b"name,amount,day\na,1.5,2024-03-04\n,,\n , ,\n\n", Reader(blank_rows="skip")),
    "blank rows in other quotes": (b"name,amount,day\na,1.5,2024-03-04\n'','',''\n", Reader(quote="'", blank_rows="skip")),
    "a name twice": (b"name,amount,name,day\na,1.5,b,2024-03-04\n", Reader(omit=("name (2)",))),
    "another name": (b"Name of it,amount,day\na,1.5,2024-03-04\n", Reader(rename={"Name of it": "name"})),
    "blanks about": (b'name, amount ,day\n a, 1.5, "2024-03-04"\n', Reader(strip=True)),
    "backslashes": (b'name,amount,day\n"a\\" b",1.5,2024-03-04\n', Reader(backslash=True, columns={"name": A_B})),
    "stray quotes": (
        b'name,amount,day\na" b,"1.5",2024-03-04\n',
        Reader(stray_quotes=True, columns={"name": A_B}),
    ),
    "no quotes": (b"name,amount,day\na,1.5,2024-03-04\n", Reader(quote=None)),
    "another format's name": (b"name,amount,day\na,1.5,2024-03-04\n", PLAIN),
    "decimal comma": (b"name;amount;day\na;1,5;2024-03-04\n", Reader(separator=";", decimal=",")),
    "money": (b"name,amount,day\na,$1.50,2024-03-04\n", Reader(columns={"amount": ColumnFormat(units=("$",))})),
    "day first": (b"name,amount,day\na,1.5,04/03/2024\n", Reader(columns={"day": ColumnFormat(times=("%d/%m/%Y",))})),
    "midnight": (
        b"name,amount,day\na,1.5,3/4/24 12:00 AM\n",
        Reader(columns={"day": ColumnFormat(times=("%m/%d/%y %I:%M %p",))}),
    ),
    "spelling": (b"name,amount,day\nA,1.5,2024-03-04\n", Reader(columns={"name": ColumnFormat(spellings={"A": "a"})})),
    "Excel's days": (b"name,amount,day\na,1.5,45355\n", Reader(columns={"day": ColumnFormat(times=("excel_days",))})),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_row_of_any_make_is_the_same_row(tmp_path: Path, case: str) -> None:
    content, reader = TEXTS[case]
    assert read(tmp_path, content, reader) == ([("a", 1.5, DAY)], [])


def test_names_that_tell_no_format_take_the_declared_one(tmp_path: Path) -> None:
    content = b"name,amount,day\na,1.5,2024-03-04\n"
    assert read(tmp_path, content, Reader(format="csv"), name="rows.2024") == ([("a", 1.5, DAY)], [])
    with pytest.raises(Refused, match=r"cannot tell the format of 'rows\.2024'"):
        read(tmp_path, content, PLAIN, name="rows.2024")


NUMBERS = {
    "1,234.50": 1234.5, "1,23,456": 123456.0, "$1,234.50": 1234.5, "-$5": -5.0, "$-5": -5.0, "USD 7": 7.0, "7 USD": 7.0,
    "(12.50)": -12.5, "($12)": -12.0, "1e3": 1000.0, ".5": 0.5, "+3": 3.0,
}  # fmt: skip
NO_NUMBERS = ["1,23", "1.234,5", "$", "12,3456", "EUR 7", "(5", "5)", "1 2", "$$ 5 USD x", "--5", "1,234,5"]


@pytest.mark.parametrize("text", [*NUMBERS, *NO_NUMBERS])
def test_numbers_are_taken_as_declared_or_not_at_all(tmp_path: Path, text: str) -> None:
    form = ColumnFormat(thousands=",", units=("$", "USD"), parentheses=True)
    rows, misfits = read(tmp_path, f'name,amount,day\na,"{text}",\n'.encode(), Reader(columns={"amount": form}))
    assert rows == [("a", NUMBERS.get(text), None)]
    assert misfits == ([] if text in NUMBERS else [(1, "amount", text)])


def test_the_letter_of_an_exponent_may_be_a_unit(tmp_path: Path) -> None:
    content = b"name,amount,day\na,5e,\nb,e5,\nc,1e5,\n"
    rows, misfits = read(tmp_path, content, Reader(columns={"amount": ColumnFormat(units=("e",))}))
    assert [row[1] for row in rows] == [5, 5, None]
    assert misfits == [(3, "amount", "1e5")]


@pytest.mark.parametrize(
    ("unit", "written", "text", "number"),
    [
        ("ns", "%d/%m/%Y %H:%M:%S%.f", "01/02/1970 00:00:00.123456789", 31 * 86_400 * 10**9 + 123_456_789),
        ("ns", "%d/%m/%Y %H:%M:%S%.f", "01/02/1970 00:00:00.5", 31 * 86_400 * 10**9 + 500_000_000),
        ("us", "%d/%m/%Y %H:%M:%S%.f", "01/02/1970 00:00:00.123456789", None),
        ("us", "%d/%m/%Y %H:%M:%S%.f", "01/02/1970 00:00:00.123456000", 31 * 86_400 * 10**6 + 123_456),
        ("ms", "%d/%m/%Y %H:%M:%S%.f", "01/02/1970 00:00:00.1234", None),
        ("ms", "%d/%m/%Y %H:%M:%S%.f", "01/02/1970 00:00:00.123", 31 * 86_400 * 10**3 + 123),
        ("ms", "epoch_us", "1700000000123456", None),
        ("ms", "epoch_us", "1700000000123000", 1_700_000_000_123),
        ("ns", "%d/%m/%Y", "01/02/2500", None),
        ("us", "%d/%m/%Y", "01/02/2500", 16_727_904_000 * 10**6),
        ("ns", None, "2500-01-01T00:00:00", None),
        ("ns", None, "1970-01-01T00:00:00.000000001", 1),
    ],
)
def test_a_time_is_taken_with_all_its_digits_or_not_at_all(
    unit: str, written: str | None, text: str, number: int | None
) -> None:
    reader = Reader(columns={"at": ColumnFormat(times=(written,) if written else ())})
    conversion = from_written("at", pl.Datetime(unit), reader)  # type: ignore[arg-type]
    assert conversion
    frame = pl.DataFrame({"at": [text]}).select(value=conversion.value.to_physical(), text=conversion.text)
    assert frame.row(0) == (number, None if number is not None else text)


@pytest.mark.parametrize("source", [pl.Date(), pl.Datetime("us")])
def test_a_year_that_nanoseconds_cannot_say_is_rejected(source: pl.DataType) -> None:
    column = pl.Series("at", [date(2500, 1, 1), date(2024, 1, 1)]).cast(source)
    converted = conversion("at", source, pl.Datetime("ns"))
    assert converted
    assert column.to_frame().select(converted.value.dt.year()).to_series().to_list() == [None, 2024]


class Answer(Contract):
    """One column of true and false."""

    yes: bool = column(nullable=True)


def test_words_for_true_and_false_leave_json_s_own_as_they_are(tmp_path: Path) -> None:
    lines = b'{"yes": true}\n{"yes": "nein"}\n{"yes": false}\n{"yes": "perhaps"}\n'
    reader = Reader(columns={"yes": ColumnFormat(true=("ja",), false=("nein",))})
    rows, misfits = read(tmp_path, lines, reader, Answer, name="rows.jsonl")
    assert rows == [(True,), (False,), (False,), (None,)]
    assert misfits == [(4, "yes", "perhaps")]


def test_numbered_names_are_names_that_no_other_column_has() -> None:
    assert numbered_names(["a", "a", "a (2)"]) == ["a", "a (3)", "a (2)"]
    assert numbered_names(["a", "a", "a"]) == ["a", "a (2)", "a (3)"]
    assert numbered_names(["unnamed_2", "", ""]) == ["unnamed_2", "unnamed_2 (2)", "unnamed_3"]


def test_what_means_missing_is_null_and_a_word_that_does_not_is_rejected(tmp_path: Path) -> None:
    content = b"name,amount,day\nNA,?,-\n?,NA,2024-03-04\n , n/a, \n"
    reader = Reader(strip=True, missing=("NA", "-"), columns={"amount": ColumnFormat(missing=("?",))})
    rows, misfits = read(tmp_path, content, reader)
    assert rows == [(None, None, None), ("?", None, DAY), (None, None, None)]
    assert misfits == [(3, "amount", " n/a")]


class Times(Contract):
    """One column a kind of time."""

    local: Moment = column(nullable=True)
    instant: Utc = column(nullable=True)
    clock: pl.Time = column(nullable=True)
    yes: bool = column(nullable=True)


def test_times_and_words(tmp_path: Path) -> None:
    reader = Reader(
        columns={
            "local": ColumnFormat(times=("%Y-%m-%d %H:%M", "%d.%m.%Y")),
            "instant": ColumnFormat(times=("%d.%m.%Y %H:%M",), time_zone="Europe/Berlin"),
            "clock": ColumnFormat(times=("%H:%M",)),
            "yes": ColumnFormat(true=("ja",), false=("nein",)),
        }
    )
    content = (
        b"local,instant,clock,yes\n2024-01-02 03:04,01.07.2024 12:00,17:35,ja\n02.01.2024,31.03.2024 02:30,24:00,nein\n"
        b"02.01.24,,,true\n"
    )
    rows, misfits = read(tmp_path, content, reader, Times)
    utc, local = datetime(2024, 7, 1, 10, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC).replace(tzinfo=None)
    assert rows[0] == (local.replace(hour=3, minute=4), utc, time(17, 35), True)
    assert rows[1] == (local, None, None, False)
    assert misfits == [
        (2, "instant", "31.03.2024 02:30"),  # the clock was put forward: there was no such time
        (2, "clock", "24:00"),
        (3, "local", "02.01.24"),  # a year without its century
        (3, "yes", "true"),
    ]


def test_json_and_parquet_read_texts_and_numbers_as_declared(tmp_path: Path) -> None:
    reader = Reader(
        rename={"Name": "name"},
        omit=("index",),
        columns={"amount": ColumnFormat(decimal=","), "day": ColumnFormat(times=("%Y%m%d",), missing=("0",))},
    )
    lines = b'{"Name": "a", "amount": "1,5", "day": 20240304, "index": 1}\n{"Name": "b", "amount": 2, "day": "0"}\n'
    expected = ([("a", 1.5, DAY), ("b", 2.0, None)], [])
    assert read(tmp_path, lines, reader, name="rows.jsonl") == expected
    frame = pl.DataFrame({"index": [1, 2], "Name": ["a", "b"], "amount": ["1,5", "2"], "day": [20240304, 0]})
    frame.write_parquet(tmp_path / "rows.parquet")
    assert read(tmp_path, (tmp_path / "rows.parquet").read_bytes(), reader, name="rows.parquet") == expected


def test_a_number_that_means_missing_in_parquet(tmp_path: Path) -> None:
    frame = pl.DataFrame({"name": ["a", "b"], "amount": [-200.0, 1.5], "day": [DAY, DAY]})
    frame.write_parquet(tmp_path / "rows.parquet")
    for text in ("-200.0", "-200"):
        reader = Reader(columns={"amount": ColumnFormat(missing=(text,))})
        content = (tmp_path / "rows.parquet").read_bytes()
        assert read(tmp_path, content, reader, name="rows.parquet") == ([("a", None, DAY), ("b", 1.5, DAY)], [])


def test_days_that_a_column_with_gaps_has_made_floats_are_days(tmp_path: Path) -> None:
    frame = pl.DataFrame({"name": ["a", "b"], "amount": [1.5, 2.5], "day": [20240304.0, None]})
    frame.write_parquet(tmp_path / "rows.parquet")
    reader = Reader(columns={"day": ColumnFormat(times=("%Y%m%d",))})
    content = (tmp_path / "rows.parquet").read_bytes()
    assert read(tmp_path, content, reader, name="rows.parquet") == ([("a", 1.5, DAY), ("b", 2.5, None)], [])


def test_two_columns_under_one_name_are_refused_in_every_format(tmp_path: Path) -> None:
    frame = pl.DataFrame({"Amount": [1.0], "amount": [2.0], "name": ["a"], "day": [DAY]})
    frame.write_parquet(tmp_path / "rows.parquet")
    lines = b'{"Amount": 1, "amount": 2, "name": "a", "day": "2024-03-04"}\n'
    contents = {"x.parquet": (tmp_path / "rows.parquet").read_bytes(), "x.jsonl": lines, "x.csv": frame.write_csv().encode()}
    for name, content in contents.items():
        with pytest.raises(Refused, match="'Amount' and 'amount' would both be the column 'amount'"):
            read(tmp_path, content, Reader(rename={"Amount": "amount"}), name=name)


@pytest.mark.parametrize(
    ("content", "reader", "said"),
    [
        (b"name;amount;day\na;1;\n", PLAIN, r"separated by semicolons: let the input say reader=Reader\(separator=';'\)"),
        (b"name,amounts,day\na,1,\n", PLAIN, r"reader=Reader\(rename=\{'amounts': 'amount'\}\)"),
        (b"title,amount,day\na,1,\n", PLAIN, r"rename=\{'title': 'name'\}"),
        ("name,amount,day\n".encode("utf-16"), PLAIN, 'encoding="utf-16"'),
        (b"name,amount,day\n\xe9,1,\n", PLAIN, 'encoding="cp1252"'),
        (b"name,amount,day\n\xe9,1,\n", Reader(encoding="ascii"), "is not ascii after line"),
        (b"only\n", Reader(skip_lines=3), "ends within the 2 more lines"),
        (b"name,amount,day\na,1,\n", Reader(rename={"Title": "name"}, omit=("name",)), r"'name' \(written 'Title'\)"),
    ],
)
def test_a_file_that_is_not_as_declared_is_refused_with_what_would_allow_it(
    tmp_path: Path, content: bytes, reader: Reader, said: str
) -> None:
    with pytest.raises(Refused, match=said):
        read(tmp_path, content, reader)


def test_records_of_another_width_are_rejected_by_their_row_behind_comments_and_blank_rows(tmp_path: Path) -> None:
    content = b"# x\nname;amount;day\na;1;\n;;\n#c\nb;2\nc;3;\n"
    rows, misfits = read(tmp_path, content, Reader(separator=";", comment="#", blank_rows="skip"))
    assert [row[0] for row in rows] == ["a", None, "c"]
    assert misfits == [(2, None, "b;2")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoding": "utf-99"}, {"separator": ""}, {"separator": "\n"}, {"quote": "''"}, {"quote": ","}, {"header": 0},
        {"names": ("a",)}, {"header": 0, "names": ("a", "a")}, {"missing": "NA"}, {"decimal": ",", "thousands": ","},
        {"footer": "("}, {"rename": {"a": "x", "b": "x"}}, {"rename": {"a": "x"}, "omit": ("a",)}, {"format": "xls"},
        {"skip_lines": -1}, {"decimal": "5"},
    ],
)  # fmt: skip
def test_a_reader_that_cannot_be_is_refused_when_it_is_declared(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        Reader(**wrong)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "columns",
    [
        {"amounts": ColumnFormat()},
        {"amount": ColumnFormat(times=("%Y",))},
        {"day": ColumnFormat(times=("%Y-%m-%d",))} | {"nothing": ColumnFormat()},
    ],
)
def test_a_reader_that_does_not_fit_its_contract_is_refused(columns: dict[str, ColumnFormat]) -> None:
    with pytest.raises(UsageError, match="its reader"):
        Input(name="rows", contract=Row, reader=Reader(columns=columns))


def test_times_with_and_without_an_offset_do_not_mix() -> None:
    for name, times in (("local", "%Y-%m-%dT%H:%M%z"), ("instant", "%Y-%m-%dT%H:%M")):
        with pytest.raises(UsageError, match=f"times of '{name}'"):
            Input(name="rows", contract=Times, reader=Reader(columns={name: ColumnFormat(times=(times,))}))


def test_a_reader_is_versioned_with_its_contract_and_a_plain_one_changes_nothing() -> None:
    reader = Reader(separator=";", columns={"day": ColumnFormat(times=("%d/%m/%Y",))})
    plain, declared = Input(name="rows", contract=Row), Input(name="rows", contract=Row, reader=reader)
    assert plain.contract_version() == Row.version() == Input(name="rows", contract=Row, reader=Reader()).contract_version()
    assert declared.contract_version() != plain.contract_version()
    assert describe_reader(PLAIN) == {}
    assert restore_reader(describe_reader(reader)) == reader


def test_a_column_may_be_called_like_a_fact_of_the_reader() -> None:
    class Odd(Contract):
        """A column with that name."""

        comment: str = column()

    plain = Input(
        name="rows", contract=Odd, reader=Reader(comment="#", columns={"comment": ColumnFormat(spellings={"Y": "yes"})})
    )
    other = Input(
        name="rows", contract=Odd, reader=Reader(comment="#", columns={"comment": ColumnFormat(spellings={"Y": "no"})})
    )
    (change,) = compare_contracts(plain.described(), other.described())
    assert (change.column, change.effect) == ("comment", "unclear")


def test_the_difference_of_two_readers_is_shown_with_what_it_does() -> None:
    before = Input(name="rows", contract=Row, reader=Reader(missing=("NA",)))
    after = Input(
        name="rows",
        contract=Row,
        reader=Reader(separator=";", missing=("NA", "?"), columns={"day": ColumnFormat(times=("%Y",))}),
    )
    changes = {(c.column, c.effect, c.what) for c in compare_contracts(before.described(), after.described())}
    assert changes == {
        ("day", "widens", "is read with times=['%Y'], was times as usual"),
        (None, "unclear", "is read with separator=';', was separator as usual"),
        (None, "widens", "is read with missing=['NA', '?'], was missing=['NA']"),
    }

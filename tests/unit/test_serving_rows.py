"""What a caller sends is judged as a file of the same rows is: the fast way, the careful way, and the audit agree."""

import json
import random
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.contract import Contract, column, rule
from schemas.usecase import Input
from tasks.contracts import audit
from tasks.inference.online import json_schema
from tasks.inference.online.expression_operators import bits, physical
from tasks.inference.online.request_decoding import Reader
from tasks.inference.online.request_validation import RequestValidator
from tasks.parsing import parse

MOST = 50


class Everything(Contract):
    """A column of each type that one row at a time can have."""

    number: int = column(ge=1)
    tiny: pl.Int8 = column(nullable=True)
    share: float = column(nullable=True, ge=-1, le=1)
    free: float = column()
    flag: bool = column(nullable=True)
    code: str = column(str_matches=r"^[A-Z]{2}\d?$")
    note: str = column(nullable=True, str_length={"max_value": 4})
    kind: Annotated[pl.Enum, ["a", "b", "ü"]] = column()
    day: pl.Date = column(nullable=True)
    naive: Annotated[pl.Datetime, "us", None] = column(nullable=True)
    at: Annotated[pl.Datetime, "us", "UTC"] = column()
    there: Annotated[pl.Datetime, "us", "Europe/Berlin"] = column(nullable=True)
    late: float = column(known="outcome", nullable=True)

    @rule
    @classmethod
    def share_is_no_note(cls) -> pl.Expr:
        """A row with a share has no note."""
        return pl.col("share").is_null() | pl.col("note").is_null()

    @rule
    @classmethod
    def late_comes_after(cls) -> pl.Expr:
        """Reads an outcome: nobody can break it before."""
        return pl.col("late") > pl.col("free")

    class Config:
        unique = ["number"]


GOOD: dict[str, Any] = {
    "number": 1, "tiny": -3, "share": 0.25, "free": 5, "flag": True, "code": "AB1", "note": None, "kind": "ü",
    "day": "2013-02-28", "naive": "2013-01-01 10:00:00.5",
    "at": "2013-01-01T10:00:00+05:30", "there": "2013-07-01T00:00:00Z",
}  # fmt: skip
POOL: list[str] = [
    "null", "true", "false", "0", "-0", "-0.0", "1", "127", "128", "-128", "1.0", "1e0", "0.1", "-1", "1.0000000001",
    "1e308",
    "1e309", "-1e400", "9223372036854775807", "9223372036854775808", "123456789012345678901234567890", "4.9e-324", "1E5",
    '""', '"a"', '"b"', '"AB"', '"AB1"', '"AB1\\n"', '"ab"', '"Ab"', '"\\u0000"', '"ü"', '"\\ud83d\\ude00"', '"1"', '"true"',
    '"2013-02-30"', '"2012-02-29"', '"0000-01-01"', '"0001-01-01"', '"9999-12-31"', '"13-01-01"', '"\uff12013-01-01"',
    '"2013-01-01T10:00:00"', '"2013-01-01T10:00"', '"2013-01-01T24:00:00Z"',
    '"2013-01-01T10:00:60Z"', '"2013-01-01t10:00:00z"',
    '"2013-01-01T10:00:00.1234567Z"', '"2013-01-01T10:00:00.123456-0000"',
    '"2013-01-01T10:00:00+23:59"', '"9999-12-31T23:59:59Z"',
    '"9999-12-31T23:59:59-01:00"', '"0001-01-01T00:00:00+01:00"', '"2013-03-31T02:30:00"', '"1969-12-31T23:59:59.999999Z"',
    '"2013-06-01T10:00:00 Z"', "[]", "{}", '[1]', '{"a": [1]}', '"A\\u0042"', '" AB"', '"abcd"', '"abcde"', '"éééé"',
]  # fmt: skip


def line(number: int, changes: dict[str, str | None]) -> str:
    """A good row with some values replaced by JSON texts, or left out."""
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in {**GOOD, "number": number}.items()}
    texts |= {name: text for name, text in changes.items() if text is not None}
    return "{" + ", ".join(f'"{name}": {text}' for name, text in texts.items() if changes.get(name, "") is not None) + "}"


def lines(count: int) -> list[str]:
    chance = random.Random(7)
    names = [name for name in GOOD if name != "number"]
    made = []
    for number in range(1, count + 1):
        chosen = chance.sample(names, chance.choice([0, 1, 1, 1, 2]))
        made.append(line(number, {name: chance.choice([*POOL, None]) for name in chosen}))
    return made


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[int, dict[str, Any]]]:
    """Lines of a file, and the rows of it that the audit accepts."""
    folder = tmp_path_factory.mktemp("rows")
    texts = lines(1200)
    Path(folder, "rows.jsonl").write_text("\n".join([line(9999, {"late": "null"}), *texts]))
    parsed = parse.parse_source(parse.fingerprint(folder / "rows.jsonl"), Everything, folder / "parsed")
    made = audit.audit_parts(parsed, Input(name="rows", contract=Everything), folder / "audited")
    accepted = pl.concat(pl.read_parquet(part.path) for part in made.accepted)
    columns = {name: physical(accepted[name]) for name in accepted.columns}
    return texts, {columns["number"][at]: {n: c[at] for n, c in columns.items()} for at in range(accepted.height)}


def test_both_ways_agree_with_the_audit_of_a_file(audited: tuple[list[str], dict[int, dict[str, Any]]]) -> None:
    texts, accepted = audited
    reader, judge = Reader(Everything), RequestValidator(Everything)
    fast = 0
    for number, text in enumerate(texts, 1):
        judged = judge.validate(text.encode(), MOST)
        assert (judged.frame is not None) == (number in accepted), (text, judged.problems)
        values = reader.one(text.encode())
        if values is not None:
            fast += 1
            found = dict(zip(reader.columns, map(bits, values), strict=True))
            assert found == {name: bits(accepted[number][name]) for name in reader.columns}, text
        if judged.frame is not None:
            careful = {name: bits(physical(judged.frame[name])[0]) for name in reader.columns}
            assert careful == {name: bits(accepted[number][name]) for name in reader.columns}, text
    assert 300 < len(accepted) < 900
    assert fast > 0.9 * len(accepted)


def test_many_rows_are_judged_like_one_each() -> None:
    reader, judge = Reader(Everything), RequestValidator(Everything)
    texts = lines(300)
    good = [text for text in texts if judge.validate(text.encode(), MOST).frame is not None][:MOST]
    body = ('{"rows": [' + ",\n".join(good) + "]}").encode()
    judged = judge.validate(body, MOST)
    assert judged.frame is not None
    assert not judged.single
    assert [physical(judged.frame[name])[3] for name in reader.columns] == [
        physical(judge.validate(good[3].encode(), MOST).frame[name])[0]  # type: ignore[index]
        for name in reader.columns
    ]
    fast = [text for text in good if reader.one(text.encode()) is not None]
    many = reader.many(('{"rows": [' + ", ".join(fast) + "]}").encode(), MOST)
    assert many == [reader.one(text.encode()) for text in fast]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (line(1, {"tiny": "128"}), "tiny cannot be 128; allowed: integer or null from -128 to 127"),
        (line(1, {"kind": '"c"'}), "kind cannot be c; allowed: one of a, b, ü"),
        (line(1, {"code": '"x"'}), r"code cannot be 'x'; allowed: string matching ^[A-Z]{2}\d?$"),
        (line(1, {"share": "2"}), "share cannot be 2.0; allowed: number or null from -1 to 1"),
        (line(1, {"free": "null"}), "free must not be null"),
        (line(1, {"free": None}), "free is missing"),
        (line(1, {"free": "NaN"}), "free cannot be NaN, which is no number"),
        (line(1, {"free": "-Infinity"}), "free cannot be -Infinity, which is no number"),
        (line(1, {"free": "1e400"}), "free cannot be 1e400"),
        (line(1, {"note": '"x"'}), "share_is_no_note fails for share=0.25, note='x': A row with a share has no note."),
        (line(1, {"late": "3"}), "late is an outcome"),
        (line(1, {"fre": "3"}), "fre is not a field of the contract; did you mean free?"),
        (line(1, {"note": '"\\ud800"'}), "note holds half a character"),
        (line(1, {"note": "[[1]]"}), "note cannot be an array"),
        (line(1, {})[:-1] + ', "number": 2}', "number is given twice"),
        ('{"rows": [], "rows": []}', "rows is given twice"),
        ('{"rows": []}', "rows is a list of 1 to 50 rows"),
        ('{"rows": [' + ",".join(["{}"] * 51) + "]}", "rows is a list of 1 to 50 rows"),
        ('{"rows": [3]}', "a row is an object"),
        ("[" * 200_000, "nested too deeply"),
        ('{"rows": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply"),
        ('{"note": ' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "}", "nested too deeply"),
        ("", "the body is no JSON"),
        ("nonsense", "the body is no JSON"),
        ("3", "a row is an object"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_and_what_is_allowed(body: str, says: str) -> None:
    assert Reader(Everything).one(body.encode()) is None
    assert Reader(Everything).many(body.encode(), MOST) is None
    judged = RequestValidator(Everything).validate(body.encode(), MOST)
    assert judged.frame is None
    assert any(says in problem.message for problem in judged.problems), judged.problems


def test_bytes_that_are_no_text_are_refused() -> None:
    for body in (b"\xff", b"\x80abc", b'{"note": "' + b'\xed\xa0\x80"}', "ä".encode("utf-16")):
        assert Reader(Everything).one(body) is None
        assert RequestValidator(Everything).validate(body, MOST).frame is None


def test_every_problem_of_every_row_is_told_with_its_row() -> None:
    bad = line(2, {"tiny": "300", "code": '"x"'})
    judged = RequestValidator(Everything).validate(
        f'{{"rows": [{line(1, {})}, {bad}, {line(3, {"flag": "7"})}]}}'.encode(), MOST
    )
    assert [(p.row, p.field) for p in judged.problems] == [(1, "tiny"), (2, "flag"), (1, "code")]
    assert judged.problems[0].allowed == {"type": ["integer", "null"], "minimum": -128, "maximum": 127}


def test_a_rule_that_cannot_be_evaluated_refuses_its_row_alone() -> None:
    class Dates(Contract):
        """Pieces of a date."""

        month: int = column()
        day: int = column()

        @rule
        @classmethod
        def in_order(cls) -> pl.Expr:
            """No day before February."""
            return pl.date(2013, "month", "day") > pl.date(2013, 2, 1)

        class Config:
            unique = ["month", "day"]

    rows = [{"month": 3, "day": 1}, {"month": 2, "day": 31}, {"month": 1, "day": 1}, {"month": 4, "day": 1}]
    assert Reader(Dates).one(json.dumps(rows[0]).encode()) == [3, 1]
    assert [Reader(Dates).one(json.dumps(row).encode()) for row in rows[1:3]] == [None, None]
    judged = RequestValidator(Dates).validate(json.dumps({"rows": rows}).encode(), MOST)
    assert [problem.row for problem in judged.problems] == [1, 2]


def test_the_schema_knows_no_outcome_and_every_limit() -> None:
    found = json_schema.json_properties(Everything)
    assert "late" not in found
    assert found["share"] == {"type": ["number", "null"], "minimum": -1, "maximum": 1}
    assert found["kind"] == {"type": "string", "enum": ["a", "b", "ü"]}
    assert found["note"] == {"type": ["string", "null"], "maxLength": 4}
    assert json_schema.required_fields(Everything) == ["number", "free", "code", "kind", "at"]


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner, max_size=3),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_body_breaks_either_way(body: bytes) -> None:
    judged = JUDGE.validate(body, MOST)
    assert (judged.frame is None) == bool(judged.problems)
    if READER.one(body) is not None or READER.many(body, MOST) is not None:
        assert judged.frame is not None


JUDGE, READER = RequestValidator(Everything), Reader(Everything)

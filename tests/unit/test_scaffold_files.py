"""Anyone's file: however the same members are written, `new` finds how, and what is read of them is the same."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from deployments.scaffold.draft import NewUseCaseOptions
from deployments.scaffold.new_use_case import Drafted, new_use_case
from deployments.scaffold.read_options import reader_facts
from deployments.scaffold.trial_audit import loaded
from schemas.contract import Contract, column
from schemas.errors import UsageError
from schemas.reader import ColumnFormat, Reader
from schemas.usecase import Input
from tasks.parsing.parse import Limits, fingerprint, parse_source

LIMITS = Limits(2048, 60)
ROWS = 300
random.seed(2013)
MEMBERS = [
    (
        f"M-{i:05d}",
        date(2023, 1, 2) + timedelta(days=i),
        random.choice(["basic", "family", "pro", "café"]),
        random.randrange(40),
        round(random.uniform(5, 1800), 2) if i % 40 else None,
        random.choice(["no", "yes"]),
    )
    for i in range(ROWS)
]
NAMES = ["member", "seen", "plan", "visits", "amount", "left"]
SCHEMA = {
    "member": pl.String,
    "seen": pl.Date,
    "plan": pl.String,
    "visits": pl.Int64,
    "amount": pl.Float64,
    "left": pl.String,
}
EXPECTED = pl.DataFrame(MEMBERS, schema=SCHEMA, orient="row")

Write = Callable[[object], str]


def text(
    separator: str = ",",
    names: list[str] | None = NAMES,
    quote: bool = False,
    end: str = "\n",
    **columns: Write,
) -> str:
    """The members as text; `columns` write single columns otherwise."""
    lines = [] if names is None else [separator.join(f'"{n}"' if quote else n for n in names)]
    for member in MEMBERS:
        fields = []
        for name, value in zip(NAMES, member, strict=True):
            written = columns.get(name, lambda v: "" if v is None else str(v))(value)
            fields.append(f'"{written}"' if quote and not isinstance(value, (int, float)) else written)
        lines.append(separator.join(fields))
    return end.join(lines) + end


def day(form: str) -> Write:
    return lambda value: value.strftime(form)  # type: ignore[attr-defined, no-any-return]


def number(form: Callable[[float], str], nothing: str = "") -> Write:
    return lambda value: nothing if value is None else form(float(str(value)))


def euro(value: float) -> str:
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


HEAD = ",".join(NAMES)
FILES: dict[str, str | bytes] = {
    "commas": text(),
    "semicolons": text(";"),
    "semicolons and quotes": text(";", quote=True),
    "tabs": text("\t"),
    "bars": text("|"),
    "double colons": text("::"),
    "carets": text("^"),
    "a title with a colon": "Report: members\n" + text(),
    "no blanks in dates": text(seen=day("%d%b%Y")),
    "curly apostrophes": text(amount=number(lambda v: f"CHF {v:,.2f}".replace(",", "\u2019"))),
    "a word for missing": text(amount=number(str, "k.A.")),
    "returns and newlines": text(end="\r\n"),
    "returns alone": text(end="\r"),
    "cp1252": text().encode("cp1252"),
    "utf-16": text().encode("utf-16"),
    "utf-16 without a mark": text().encode("utf-16-le"),
    "a byte order mark": text().encode("utf-8-sig"),
    "sep= line": "sep=;\n" + text(";"),
    "a blank line first": "\n" + text(),
    "titles": "Report of members\nCreated 2024-01-01\n\n" + text(),
    "comments": "# exported\n# by hand\n" + text(),
    "a total": text() + f"Total,,,,{ROWS},\n",
    "a source": text() + "\nSource: the members' office\n",
    "rows of nothing": text() + ",,,,,\n" * 4,
    "empty columns": "\n".join(f"{line},," for line in text().splitlines()),
    "separators at the ends": HEAD + "\n" + "\n".join(f"{line}," for line in text().splitlines()[1:]),
    "pandas' index": "\n".join([f",{HEAD}", *(f"{i},{row}" for i, row in enumerate(text().splitlines()[1:]))]),
    "R's row names": "\n".join([HEAD, *(f"{i + 1},{row}" for i, row in enumerate(text().splitlines()[1:]))]),
    "a row counter": "\n".join([f"rownames,{HEAD}", *(f"{i + 1},{row}" for i, row in enumerate(text().splitlines()[1:]))]),
    "blanks after commas": text(", "),
    "blanks about names": text(names=[" member", "seen ", "plan", "visits", " amount ", "left"]),
    "no-break spaces": text(names=["member", "seen", "plan\u00a0", "visits", "amount", "left"]),
    "day first": text(seen=day("%d/%m/%Y")),
    "month first": text(seen=day("%m/%d/%Y")),
    "dots": text(seen=day("%d.%m.%Y")),
    "dashes": text(seen=day("%d-%m-%Y")),
    "two digits": text(seen=day("%m/%d/%y")),
    "month names": text(seen=day("%d-%b-%Y")),
    "long dates": text(";", seen=day("%B %d, %Y")),
    "digits": text(seen=day("%Y%m%d")),
    "midnights": text(seen=day("%m/%d/%Y 12:00:00 AM")),
    "decimal commas": text(";", amount=number(lambda v: f"{v:.2f}".replace(".", ","))),
    "euros": text(";", amount=number(lambda v: f"{euro(v)} €")),
    "dollars": text("\t", amount=number(lambda v: f"${v:,.2f}")),
    "USD": text(amount=number(lambda v: f"USD {v:.2f}")),
    "per cent": text(amount=number(lambda v: f"{v:.2f}%")),
    "units": text(amount=number(lambda v: f"{v:.2f} kg")),
    "apostrophes": text(amount=number(lambda v: f"{v:,.2f}".replace(",", "'"))),
    **{
        f"missing as {word}": text(amount=number(str, word))
        for word in ("NA", "?", "#N/A", "null", "-", "n/a", "none", ".", " ")
    },
    "other spellings": text(left=lambda v: "Yes" if v == "yes" and random.random() < 0.1 else str(v)),
}


def new(folder: Path, content: str | bytes, name: str = "members.csv", target: str = "left", **wishes: object) -> Drafted:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return new_use_case("members", path, NewUseCaseOptions(target, **wishes), folder, LIMITS)  # type: ignore[arg-type]


def rows(folder: Path, name: str = "members.csv") -> pl.DataFrame:
    """What ingestion reads of the file under the module that was written."""
    module = (folder / "members.py").read_text()
    with loaded(module, "MEMBERS", folder) as case:
        parsed = parse_source(
            fingerprint(folder / name), case.inputs[0].contract, folder / "parsed", LIMITS, case.inputs[0].reader
        )
    frame = pl.concat([pl.read_parquet(part) for part in parsed.parts])
    assert frame["_untyped"].list.len().sum() == 0
    return frame.drop("_row", "_untyped")


@pytest.mark.parametrize("kind", FILES)
def test_however_it_is_written_the_same_rows_are_read(tmp_path: Path, kind: str) -> None:
    made = new(tmp_path, FILES[kind])
    assert (made.audit.accepted, made.audit.rejected) == (ROWS, 0)
    assert (made.kind, made.key, made.time) == ("binary", ("member",), "seen")
    assert rows(tmp_path).equals(EXPECTED, null_equal=True)
    assert {"plan", "visits", "amount"} <= set(made.features)


@pytest.mark.parametrize("name", ["members.tsv", "members.txt", "members.dat", "members.data", "members.2024", "members"])
def test_any_name_will_do_for_text(tmp_path: Path, name: str) -> None:
    assert new(tmp_path, text("\t"), name).audit.accepted == ROWS
    assert rows(tmp_path, name).equals(EXPECTED, null_equal=True)


def test_a_compressed_file_of_any_name_is_read_as_the_format_that_the_reader_then_says(tmp_path: Path) -> None:
    assert new(tmp_path, gzip.compress(text().encode()), "members.weird.gz").audit.accepted == ROWS
    assert 'format="csv"' in (tmp_path / "members.py").read_text()


def test_a_separator_of_several_characters_may_stand_within_quotes(tmp_path: Path) -> None:
    made = new(tmp_path, text("::", names=["member", "seen", '"plan::kind"', "visits", "amount", "left"]))
    assert made.audit.accepted == ROWS
    assert "plan::kind" in rows(tmp_path).columns


DRAWN = {
    "psql": " member | seen | plan \n--------+------+------\n M-1    | 2024 | pro\n(1 row)\n",
    "mysql": "+--------+------+\n| member | left |\n+--------+------+\n| M-1    | yes  |\n+--------+------+\n",
    "Markdown": "| member | left |\n| ------ | :--: |\n| M-1 | yes |\n",
}


@pytest.mark.parametrize("kind", DRAWN)
def test_a_table_drawn_for_people_is_refused_with_what_to_do(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match=r"is a table drawn for people to read .* export it as CSV") as caught:
        new(tmp_path, DRAWN[kind])
    assert "\n" not in str(caught.value)


def test_a_header_may_begin_like_the_comments_above_it(tmp_path: Path) -> None:
    made = new(tmp_path, "##version=4\n##made by hand\n#" + text())
    assert (made.audit.accepted, made.key) == (ROWS, ("#member",))


def test_nanoseconds_are_kept(tmp_path: Path) -> None:
    new(tmp_path, text(seen=lambda day: f"{day} 01:02:03.123456789"))
    assert rows(tmp_path)["seen"].dt.nanosecond().unique().to_list() == [123456789]


def test_names_are_those_that_are_left_when_blanks_are_stripped(tmp_path: Path) -> None:
    new(tmp_path, text(names=[" member", "seen ", "plan", "plan ", "amount", "left"]))
    assert rows(tmp_path).columns == ["member", "seen", "plan", "plan_2", "amount", "left"]
    assert "rename" not in (tmp_path / "members.py").read_text().replace('rename={"plan (2)"', "")


def test_records_inside_records_are_columns_and_lists_are_left_out(tmp_path: Path) -> None:
    records = [
        {"id": f"R-{i:04d}", "who": {"age": i % 50, "city": "ABC"[i % 3]}, "tags": ["a"], "left": "yes" if i % 3 else "no"}
        for i in range(ROWS)
    ]
    for name, content in (
        ("members.jsonl", "\n".join(map(json.dumps, records))),
        ("members.json", json.dumps(records)),
        ("page.json", json.dumps({"total": ROWS, "data": records})),
    ):
        folder = tmp_path / name
        folder.mkdir()
        made = new(folder, content, name)
        assert (made.audit.accepted, made.audit.rejected) == (ROWS, 0)
        assert {"who.age", "who.city"} <= set(rows(folder, name).columns)
        assert any(note.startswith("tags: left out") for note in made.notes)


def test_a_file_without_a_header_takes_its_target_by_position(tmp_path: Path) -> None:
    made = new(tmp_path, text(names=None), target="6")
    assert (made.outcome, made.key, made.time) == ("column_6", ("column_1",), "column_2")
    assert rows(tmp_path).rows() == EXPECTED.rows()


def test_two_header_lines_are_joined(tmp_path: Path) -> None:
    content = "member,seen,plan,visits,amount,left\n,,,count,in EUR,\n" + "\n".join(text().splitlines()[1:])
    made = new(tmp_path, content)
    assert "amount in EUR" in rows(tmp_path).columns
    assert made.audit.accepted == ROWS


def test_names_that_no_contract_can_hold_are_cleaned_and_repeated_ones_numbered(tmp_path: Path) -> None:
    content = "id,_row,a,a,^x$,*,left\n" + "".join(
        f"{i},{i % 7},{i % 3},{i % 5},{i % 4},{i % 6},{i % 2}\n" for i in range(300)
    )
    new(tmp_path, content)
    assert rows(tmp_path).columns == ["id", "row", "a", "a_2", "x", "column_6", "left"]


@pytest.mark.parametrize("name", ["self", "frame", "exprs", "class", "other", "schema", "by", "known", "named_exprs"])
def test_a_column_may_have_any_name(tmp_path: Path, name: str) -> None:
    made = new(tmp_path, text(names=["member", "seen", "plan", name, "amount", "left"]))
    assert made.audit.accepted == ROWS


def test_what_a_person_says_of_the_file_stands_above_what_was_seen(tmp_path: Path) -> None:
    content = text(seen=lambda v: v.strftime("%d/%m/%Y") if v.day <= 12 else "05/06/2023")  # type: ignore[attr-defined]
    for said, month in (("%d/%m/%Y", 6), ("%m/%d/%Y", 5)):
        made = new(tmp_path, content, reader=reader_facts([f"seen.times={said}"]))
        assert "seen" not in " ".join(note for note in made.notes if "or is it" in note)
        assert rows(tmp_path)["seen"].dt.month().mode().sort()[0] == month
        (tmp_path / "members.py").unlink()
        (tmp_path / "test_members.py").unlink()


def test_a_column_that_is_a_number_but_for_a_word_is_to_be_confirmed(tmp_path: Path) -> None:
    made = new(tmp_path, text(amount=number(str, "unknwon")))
    assert any("'unknwon' in" in note and note.startswith("amount:") for note in made.notes)
    summary = next(column for column in made.columns if column.name == "amount")
    assert summary.kind == "number"


def test_of_two_times_the_finer_one_is_the_event(tmp_path: Path) -> None:
    lines = ["meter,Time,Date,load"]
    for i in range(600):
        at = date(2024, 1, 1) + timedelta(days=i // 24)
        lines.append(f"L-{i:04d},{at}T{i % 24:02d}:00:00Z,{at},{(i % 24) * 10 + i % 7}")
    made = new(tmp_path, "\n".join(lines), target="load")
    assert made.time == "Time"
    assert "Time_hour" in made.features


def test_categories_are_kept_by_the_hundreds_and_a_cut_is_said(tmp_path: Path) -> None:
    lines = [f"S-{i:05d},shop {i % 300:03d},{i % 17},{i % 2}" for i in range(4000)]
    made = new(tmp_path, "\n".join(["id,shop,items,left", *lines]))
    assert "shop" in made.features
    assert not any("rarer" in note for note in made.notes)
    lines = [f"S-{i:05d},shop {min(i % 900, i % 90)},{i % 17},{i % 2}" for i in range(9000)]
    (tmp_path / "more").mkdir()
    made = new(
        tmp_path / "more", "\n".join(["id,shop,items,left", *lines, *(f"T-{i:05d},rare {i},1,0" for i in range(900))])
    )
    assert any("rarer values are read as missing" in note for note in made.notes)


def test_a_count_of_which_only_0_and_1_were_seen_may_be_larger(tmp_path: Path) -> None:
    lines = [f"S-{i:05d},{int(i % 30 == 0)},{int(i % 3 == 0)},{i % 2}" for i in range(600)]
    new(tmp_path, "\n".join(["id,faults,member,left", *lines]))
    module = (tmp_path / "members.py").read_text()
    assert "faults: int = column(ge=0)" in module
    assert "member: int = column(isin=(0, 1))" in module


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("separator", "write fact=value"),
        ("seperator=;", "did you mean separator"),
        ("header=two", "no count of lines"),
        ("strip=maybe", "true or false"),
        ("encoding=utf-99", "no encoding"),
        ("seen.times=soon", "no format of a time"),
        ("rename=a", "OLD->NEW"),
    ],
)
def test_a_fact_that_cannot_be_is_one_line(option: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        reader_facts([option])


def test_the_page_on_your_own_file_shows_a_reader_that_can_be_declared() -> None:
    page = (Path(__file__).parents[2] / "docs" / "own-file.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)

    class Churn(Contract):
        """The page's contract."""

        seen: pl.Date = column()
        fee: float = column()

    declared = eval(block, {"Input": Input, "Reader": Reader, "ColumnFormat": ColumnFormat, "Churn": Churn})
    assert declared.reader.column("fee").thousands == "."
    stated = [fact for fact in re.findall(r"--read \"?([^\s\"`]+)", page) if fact != "FACT=VALUE"]
    assert len(stated) > 3
    for fact in stated:
        assert reader_facts([fact])

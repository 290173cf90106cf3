"""Why rows were rejected, for a person: in the terminal and in the dashboard."""

from __future__ import annotations

from pathlib import Path

import pandera.polars as pa
import polars as pl
import pytest

from deployments.commands.rejection_table import print_reasons
from schemas.contract import Contract, column
from schemas.results import Delivery
from schemas.usecase import Input
from schemas.verdicts import AuditVerdict, Example, Reason
from tasks.contracts.audit import audit_parts
from tasks.contracts.check_descriptions import describe_check
from tasks.parsing.type_conversion import ROW
from tasks.reporting import artifacts
from tests.unit.trades import parsed


def verdict(*reasons: Reason, rows: int = 200) -> AuditVerdict:
    return AuditVerdict(
        input="trades",
        contract_version="v",
        rows=rows,
        accepted=0,
        rejected=rows,
        reasons=reasons,
        publishable=False,
        why=".",
    )


def reason(rows: int, *examples: Example, check: str = "finite", column: str | None = "price") -> Reason:
    return Reason(check=check, column=column, rows=rows, examples=examples)


TWELVE = tuple(reason(100 - n, Example(row=n + 1, value=f"value-{n}"), column=f"column-{n}") for n in range(12))


def test_a_page_shows_the_ten_most_frequent_reasons_with_rows_and_values() -> None:
    page = artifacts.audit_page(
        Delivery(source="a.csv", sha256="5", input="t", status="rejected", why=".", audit=verdict(*TWELVE))
    )
    assert "| 100 | 50.0% | column-0 | must be finite | row 1: value-0 |" in page
    assert "column-9" in page
    assert "column-10" not in page
    assert "And 2 more checks" in page


def test_a_terminal_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_reasons(TWELVE, 200)
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines() if "column-" in line]
    assert lines[0] == ["100", "50.0%", "column-0", "must", "be", "finite", "row", "1:", "value-0"]
    assert len(lines) == 10
    assert "and 2 more checks" in shown


def test_what_a_file_holds_is_shown_as_it_is_and_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    nasty = "\x1b[31m|<b>[link](http://x)[/]\n`"
    found = reason(1, Example(row=3, value=nasty))
    print_reasons([found], 1)
    assert "row 3: \N{REPLACEMENT CHARACTER}[31m|<b>[link](http://x)[/]\\n`" in capsys.readouterr().out
    cell = artifacts.markdown_table(("",), [(artifacts.rejection_rows([found], 1)[0][4],)]).splitlines()[-1]
    assert cell == "| row 3: \x1b\\[31m\\|\\<b>\\[link](http://x)\\[/]\\\\n\\` |"


def test_examples_show_other_values_first_and_rows_in_order(tmp_path: Path) -> None:
    class Level(Contract):
        level: float = column(ge=0)

    frame = pl.DataFrame({"level": [-1.0, -1.0, 5.0, -1.0, -2.0, -1.0]})
    done = audit_parts(
        parsed(tmp_path / "parsed", frame, part_rows=6), Input(name="levels", contract=Level), tmp_path / "audited"
    )
    (found,) = done.verdict.reasons
    assert [(e.row, e.value) for e in found.examples] == [(1, "-1.0"), (5, "-2.0"), (2, "-1.0"), (4, "-1.0"), (6, "-1.0")]
    assert artifacts.rejection_rows([found], 6)[0][4].splitlines() == ["row 1: -1.0", "row 2: -1.0", "row 5: -2.0"]
    assert pl.read_parquet(done.rejected[0].path)[ROW].to_list() == [1, 2, 4, 5, 6]


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (pa.Check.ge(0), "at least 0"),
        (pa.Check.lt(7.5), "less than 7.5"),
        (pa.Check.isin(("a", "b")), "one of 'a', 'b'"),
        (pa.Check.str_matches("^x"), "must match '^x'"),
        (pa.Check(lambda data: data, name="times_agree"), "times_agree"),
    ],
)
def test_a_check_is_told_in_words(check: pa.Check, words: str) -> None:
    assert describe_check(str(check.error or check.name)) == words


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (pl.Int64(), "must be a whole number (Int64)"),
        (pl.UInt8(), "must be a whole number (UInt8)"),
        (pl.Float32(), "must be a number (Float32)"),
        (pl.Date(), "must be a date"),
        (pl.Datetime("us", "UTC"), "must be a date and time with its zone"),
        (pl.Datetime("us"), "must be a date and time"),
        (pl.Enum(["a"]), "must be one of the contract's categories"),
        (pl.Boolean(), "must be true or false"),
        (pl.Time(), "must be Time"),
    ],
)
def test_a_type_is_told_in_words(dtype: pl.DataType, words: str) -> None:
    assert describe_check(f"dtype('{dtype}')") == words

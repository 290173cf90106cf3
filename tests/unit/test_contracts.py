"""The audit: Pandera's verdict row by row, nothing lost, every reason told."""

from __future__ import annotations

import dataclasses
import string
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandera.errors
import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.contract import Contract, column, rule
from schemas.errors import IntegrityError, Refused, UsageError
from schemas.usecase import Input
from tasks.contracts.audit import Audited, audit_parts, comparable_keys, failing_rows, split, touched_partitions
from tasks.contracts.compiler import compile_contract
from tasks.contracts.failures import Failure, FailureCounts
from tasks.contracts.uniqueness import _twice, find_repeated_keys
from tasks.parsing.parse import Parsed
from tasks.parsing.type_conversion import ROW, UNTYPED, UNTYPED_DTYPE
from tests.unit.trades import GOOD, SPEC, Trade, parsed, trades

Utc = Annotated[pl.Datetime, "us", "UTC"]
NAN, INF = float("nan"), float("inf")
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-3, 4),
    float: st.sampled_from([-1.5, -0.0, 0.0, 0.5, 2.0, NAN, INF, -INF]),
    str: st.sampled_from(["", "a", "ab", "Zebra", "a b", "äß"]),
    bool: st.booleans(),
    Utc: st.sampled_from([datetime(2013, 1, day, tzinfo=UTC) for day in (1, 2, 3)]),
}
NUMBER_CHECKS = st.fixed_dictionaries(
    {},
    optional={
        "ge": st.integers(-2, 2),
        "gt": st.integers(-2, 2),
        "le": st.integers(-2, 3),
        "lt": st.integers(-2, 3),
        "ne": st.integers(-2, 3),
        "in_range": st.fixed_dictionaries({"min_value": st.integers(-3, 0), "max_value": st.integers(0, 4)}),
    },
)
TEXT_CHECKS = st.fixed_dictionaries(
    {},
    optional={
        "isin": st.lists(VALUES[str], min_size=1, max_size=3, unique=True),
        "notin": st.lists(VALUES[str], min_size=1, max_size=2, unique=True),
        "str_matches": st.sampled_from(["^[a-z]+$", "a", "[A-Z]"]),
        "str_contains": st.sampled_from(["b", " "]),
        "str_length": st.sampled_from([{"min_value": 1}, {"max_value": 2}, {"min_value": 1, "max_value": 3}]),
    },
)
CHECKS = {int: NUMBER_CHECKS, float: NUMBER_CHECKS, str: TEXT_CHECKS, bool: st.just({}), Utc: st.just({})}


def _own(name: str, expression: pl.Expr, ignore_na: bool) -> Any:
    def check(cls: type, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(expression)

    check.__name__ = name
    return pa.dataframe_check(ignore_na=ignore_na)(check)


def _by_element(of: str) -> Any:
    def positive(cls: type, value: Any) -> bool:
        return value != "a" and value != 2

    return pa.check(of, element_wise=True)(positive)


@st.composite
def _contracts(draw: st.DrawFn) -> tuple[type[Contract], dict[str, Any]]:
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4))
    types = dict(zip(string.ascii_lowercase, kinds, strict=False))
    body: dict[str, Any] = {"__annotations__": types, "__module__": __name__}
    for name, kind in types.items():
        flags = draw(st.fixed_dictionaries({}, optional={k: st.booleans() for k in ("nullable", "unique", "ignore_na")}))
        body[name] = column(**draw(CHECKS[kind]), **flags)
    of_two = [pl.col(a) != pl.col(b) for a in types for b in types if a < b and types[a] is types[b]]
    for at, expression in enumerate(
        draw(st.lists(st.sampled_from([*of_two, pl.col("a").is_not_null(), pl.all() != 2]), max_size=2))
    ):
        if expression.meta.has_multiple_outputs() and set(kinds) - {int, float}:
            continue
        body[f"own_{at}"] = _own(f"own_{at}", expression, draw(st.booleans()))
    if types["a"] in (int, str) and draw(st.booleans()):
        body["positive"] = _by_element("a")
    config = {"unique": draw(st.lists(st.sampled_from(list(types)), min_size=1, unique=True))} if draw(st.booleans()) else {}
    return type("Random", (Contract,), {**body, "Config": type("Config", (), config)}), types


@st.composite
def _cases(draw: st.DrawFn) -> tuple[type[Contract], pl.DataFrame]:
    contract, types = draw(_contracts())
    rows = draw(st.integers(0, 8))
    data = {n: draw(st.lists(st.none() | VALUES[kind], min_size=rows, max_size=rows)) for n, kind in types.items()}
    return contract, pl.DataFrame(data, schema=contract.dtypes(), strict=True)


def pandera_says(contract: type[Contract], frame: pl.DataFrame) -> set[tuple[int, str]]:
    """Row position and check of every failure that Pandera itself finds."""
    try:
        contract.validate(frame, lazy=True)
        return set()
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
    assert cases["index"].null_count() == 0, "a failure of the frame, not of rows"
    columns = contract.dtypes()
    return {
        (row["index"], f"{row['column']}: {row['check']}" if row["column"] in columns else row["check"])
        for row in cases.iter_rows(named=True)
    }


def we_say(contract: type[Contract], frame: pl.DataFrame) -> set[tuple[int, str]]:
    found = split(frame, contract)
    assert found.accepted.height + found.rejected.height == frame.height
    bad = [row - 1 for row in found.rejected[ROW]]
    assert found.accepted.equals(frame.filter(~pl.int_range(pl.len()).is_in(bad)))
    return {(row - 1, check) for row, checks in found.rejected.select(ROW, "_checks").iter_rows() for check in checks}


@given(_cases())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_compiled_audit_and_pandera_reject_the_same_rows_for_the_same_checks(
    case: tuple[type[Contract], pl.DataFrame],
) -> None:
    contract, frame = case
    assert we_say(contract, frame) == pandera_says(contract, frame)


class FirstStays(Trade):
    class Config:
        unique = ["id", "day"]
        metadata = {"first_stays": True}


def rejected(done: Audited) -> dict[int, list[str]]:
    frames = [pl.read_parquet(part.path) for part in done.rejected]
    return {row: checks for frame in frames for row, checks in frame.select(ROW, "_checks").iter_rows()}


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["mon", "tue"])), max_size=8))
@settings(max_examples=60, deadline=None)
def test_of_repeated_keys_the_first_stays_where_the_contract_says_so(keys: list[tuple[int, str]]) -> None:
    frame = trades(*((*key, 1.0, "buy") for key in keys))
    firsts = {keys.index(key) for key in keys}
    assert split(frame, FirstStays).rejected[ROW].to_list() == [at + 1 for at in range(len(keys)) if at not in firsts]


@pytest.mark.parametrize("part_rows", [1, 2, 100])
def test_an_audit_in_pieces_is_the_audit_of_the_whole(tmp_path: Path, part_rows: int) -> None:
    frame = trades(
        *GOOD, (1, "mon", 2.0, "buy"), (9, "wed", -1.0, "buy"), (10, "wed", None, "sell"), (-1, "wed", 0.0, "sell")
    )
    done = audit_parts(parsed(tmp_path / "parts", frame, part_rows), SPEC, tmp_path / "audit")
    whole = split(frame, Trade)
    assert rejected(done) == dict(whole.rejected.select(ROW, "_checks").iter_rows())
    accepted = pl.concat([pl.read_parquet(part.path) for part in done.accepted])
    assert accepted.sort("day", "id").equals(whole.accepted.sort("day", "id"))
    assert {p.partition: p.rows for p in done.accepted} == dict(whole.accepted.group_by("day").len().iter_rows())


def test_every_failed_check_is_told_with_its_value(tmp_path: Path) -> None:
    done = audit_parts(parsed(tmp_path / "parts", trades(*GOOD, (-7, "mon", -1.0, "gift"))), SPEC, tmp_path / "audit")
    assert rejected(done) == {
        7: ["id: greater_than_or_equal_to(0)", "price: greater_than_or_equal_to(0)", "side: isin(('buy', 'sell'))"]
    }
    (part,) = done.rejected
    assert pl.read_parquet(part.path)["_reasons"].item() == (
        "id: greater_than_or_equal_to(0) fails for -7; price: greater_than_or_equal_to(0) fails for -1.0; "
        "side: isin(('buy', 'sell')) fails for gift"
    )
    reason = done.verdict.reasons[0]
    assert (reason.column, reason.rows, str(reason.examples[0])) == ("id", 1, "row 7: -7")
    assert done.verdict.why == "6 of 7 rows accepted, 1 rejected"


def test_an_untyped_value_is_told_by_its_text_and_blames_no_other_check(tmp_path: Path) -> None:
    frame = trades(*GOOD, (None, "mon", 1.0, "buy"), (None, None, None, None), (8, "mon", None, "sell"))
    untyped = {
        7: [{"column": "id", "text": "seven"}],
        8: [{"column": None, "text": "torn,line"}],
        9: [{"column": "price", "text": "cheap"}],
    }
    done = audit_parts(parsed(tmp_path / "parts", frame, untyped=untyped), SPEC, tmp_path / "audit")
    assert rejected(done) == {7: ["id: dtype('Int64')"], 8: ["record"], 9: ["price: dtype('Float64')"]}
    assert {r.check: r.examples[0].value for r in done.verdict.reasons}["record"] == "torn,line"
    assert {part.partition for part in done.rejected} == {"mon", "unknown"}


def test_rows_whose_key_could_not_be_typed_repeat_no_key(tmp_path: Path) -> None:
    class Loose(Trade):
        id: int = column(nullable=True)

        class Config:
            unique = ["id", "day"]

    spec = dataclasses.replace(SPEC, contract=Loose)
    frame = trades((None, "mon", 1.0, "buy"), (None, "mon", 1.0, "buy"))
    done = audit_parts(
        parsed(tmp_path / "parts", frame, untyped={2: [{"column": "id", "text": "x"}]}), spec, tmp_path / "audit"
    )
    assert rejected(done) == {2: ["id: dtype('Int64')"]}
    both = audit_parts(parsed(tmp_path / "more", frame), spec, tmp_path / "audit")
    assert set(rejected(both)) == {1, 2}, "nulls equal each other, as Pandera has it"


@pytest.mark.parametrize(
    ("policy", "accepted", "dropped", "check"),
    [("reject", 3, 0, ["redelivered"]), ("keep_first", 3, 2, None), ("replace_partition", 3, 0, ["redelivered"])],
)
def test_rows_whose_key_is_published_are_rejected_or_dropped(
    tmp_path: Path, policy: Any, accepted: int, dropped: int, check: list[str] | None
) -> None:
    known = trades((0, "mon", 9.0, "sell"), (1, "mon", 9.0, "sell"), (5, "tue", 1.0, "buy"), (2, "wed", 1.0, "buy"))
    spec = dataclasses.replace(SPEC, on_redelivery=policy, max_rejected_share=1.0)
    frame = trades(*GOOD[:5])
    done = audit_parts(parsed(tmp_path / "parts", frame), spec, tmp_path / "audit", known.lazy().select("id", "day"))
    verdict = done.verdict
    assert (verdict.accepted, verdict.redelivered, verdict.rejected) == (accepted, dropped, 2 - dropped)
    assert rejected(done) == ({1: check, 2: check} if check else {})


def test_a_bad_row_with_a_known_key_is_bad_and_a_repeated_one_repeated(tmp_path: Path) -> None:
    known = trades((0, "mon", 9.0, "sell"), (1, "mon", 9.0, "sell"))
    frame = trades((0, "mon", -1.0, "buy"), (1, "mon", 1.0, "buy"), (1, "mon", 2.0, "buy"))
    spec = dataclasses.replace(SPEC, on_redelivery="keep_first")
    done = audit_parts(parsed(tmp_path / "parts", frame), spec, tmp_path / "audit", known.lazy())
    assert rejected(done) == {
        1: ["price: greater_than_or_equal_to(0)"],
        2: ["multiple_fields_uniqueness"],
        3: ["multiple_fields_uniqueness"],
    }


@pytest.mark.parametrize("day", ["../etc", "a/b", "", "%2e%2e", ".hidden", "x" * 200, "mon\n"])
def test_a_partition_that_cannot_be_named_rejects_its_row(tmp_path: Path, day: str) -> None:
    source = parsed(tmp_path / "parts", trades(*GOOD, (9, day, 1.0, "buy")))
    assert touched_partitions(source, SPEC) == ["mon", "tue"]
    done = audit_parts(source, SPEC, tmp_path / "audit")
    assert rejected(done) == {7: ["partition"]}
    assert done.rejected[0].partition == "unknown"


def test_equal_hashes_alone_reject_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.contracts.uniqueness.hashed", lambda frame, key: np.zeros(frame.height, np.uint64))
    frame = trades(*GOOD, (0, "mon", 2.0, "buy"))
    known = trades((1, "tue", 9.0, "sell"))
    done = audit_parts(parsed(tmp_path / "parts", frame), SPEC, tmp_path / "audit", known.lazy())
    assert sorted(rejected(done)) == [1, 5, 7]


def test_of_several_ranges_each_takes_its_own_hashes_alone() -> None:
    """So memory holds one range; the even hashes are the first of two, and 8 and 6 occur twice."""
    stored = [lambda: iter([np.array([8, 5, 6, 8], np.uint64)]), lambda: iter([np.array([5, 6, 4], np.uint64)])]
    assert [_twice(stored, number, 2).tolist() for number in (0, 1)] == [[6, 8], [5]]
    assert _twice(stored, 0, 1).tolist() == [5, 6, 8]


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_keys_are_found_range_by_range(keys: list[int], part: int) -> None:
    from tasks.contracts import uniqueness

    frame = pl.DataFrame({"k": keys}, schema={"k": pl.Int64})
    pieces = [(lambda piece=piece: piece) for piece in frame.iter_slices(part)]
    before = uniqueness.RANGE
    uniqueness.RANGE = 8
    try:
        found = uniqueness.find_repeated_keys(pieces, ["k"], False, pl.DataFrame({"k": [3, 4]}))
    finally:
        uniqueness.RANGE = before
    assert found.duplicate.tolist() == frame["k"].is_duplicated().to_list()
    assert found.known.tolist() == frame["k"].is_in([3, 4]).to_list()


@pytest.mark.parametrize(("day_of", "part_rows"), [(lambda n: n % 7, 50), (lambda n: n // 2, 2)], ids=["mixed", "in order"])
def test_many_partitions_and_little_memory_lose_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, day_of: Callable[[int], int], part_rows: int
) -> None:
    monkeypatch.setattr("tasks.contracts.partition_writer.CELLS", 40)
    frame = trades(*((n, f"d{day_of(n)}", 1.0, "buy") for n in range(200)))
    done = audit_parts(parsed(tmp_path / "parts", frame, part_rows), SPEC, tmp_path / "audit")
    assert sum(part.rows for part in done.accepted) == 200
    back = pl.concat([pl.read_parquet(part.path).with_columns(p=pl.lit(part.partition)) for part in done.accepted])
    assert back.filter(pl.col("p") != pl.col("day")).is_empty()
    assert back.drop("p").sort("id").equals(frame)
    assert not list((tmp_path / "audit").rglob("*.scrap"))


def test_one_source_makes_the_same_files_and_two_sources_different_ones(tmp_path: Path) -> None:
    source = parsed(tmp_path / "parts", trades(*GOOD))
    first, again = (audit_parts(source, SPEC, tmp_path / name) for name in ("a", "b"))
    assert [p.sha256 for p in first.accepted] == [p.sha256 for p in again.accepted]
    other = audit_parts(dataclasses.replace(source, source_sha256="6" * 64), SPEC, tmp_path / "c")
    assert {p.sha256 for p in first.accepted}.isdisjoint(p.sha256 for p in other.accepted)


@pytest.mark.parametrize(("share", "publishable"), [(0.2, True), (0.19, False), (0.0, False)])
def test_too_large_a_share_of_rejected_rows_is_not_published(tmp_path: Path, share: float, publishable: bool) -> None:
    frame = trades((0, "mon", -1.0, "buy"), *GOOD[1:5])
    spec = dataclasses.replace(SPEC, max_rejected_share=share)
    verdict = audit_parts(parsed(tmp_path / "parts", frame), spec, tmp_path / "audit").verdict
    assert verdict.publishable is publishable
    assert ("price" in verdict.why) is not publishable


def test_a_source_without_rows_is_not_publishable(tmp_path: Path) -> None:
    done = audit_parts(Parsed((), 0), SPEC, tmp_path / "audit")
    assert not done.verdict.publishable
    assert done.accepted == done.rejected == ()


def test_a_lost_row_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = parsed(tmp_path / "parts", trades(*GOOD))
    with pytest.raises(IntegrityError, match="7 rows came in"):
        audit_parts(dataclasses.replace(source, rows=7), SPEC, tmp_path / "audit")


class Cautious(Contract):
    """An aggregate, a window, own code and advice."""

    a: int = pa.Field(gt=100, raise_warning=True)

    @pa.dataframe_check
    def mean_is_small(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("a").mean() < 10)

    @pa.dataframe_check
    def rises(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("a") >= pl.col("a").shift(1))

    @pa.check("a")
    def own_code(cls, data: Any) -> pl.LazyFrame:
        return data.lazyframe.with_columns(pl.col("a") != 7).select("a")


def test_checks_over_many_rows_are_judged_over_the_whole_source(tmp_path: Path) -> None:
    spec = Input(name="cautious", contract=Cautious, max_rejected_share=1.0)
    frame = pl.DataFrame({"a": [1, 2, 1, 7, 8]})
    done = audit_parts(parsed(tmp_path / "parts", frame), spec, tmp_path / "audit")
    assert rejected(done) == {3: ["rises"], 4: ["a: own_code"]}
    whole = audit_parts(parsed(tmp_path / "more", pl.DataFrame({"a": [1, 90]})), spec, tmp_path / "audit")
    assert rejected(whole) == {1: ["mean_is_small"], 2: ["mean_is_small"]}


def _contract(config: dict[str, Any] | None = None, **fields: Any) -> type[Contract]:
    body = {
        "__annotations__": dict.fromkeys(fields, int),
        "__module__": __name__,
        "Config": type("Config", (), config or {}),
    }
    return type("Wanting", (Contract,), {**body, **fields})


@pytest.mark.parametrize(
    ("contract", "says"),
    [
        (_contract({"strict": False}, a=column()), "strict"),
        (_contract({"coerce": True}, a=column()), "coerce"),
        (_contract(a=column(default=3)), "default"),
        (_contract(a=column(alias="a.*", regex=True)), "regex"),
        (_contract({"drop_invalid_rows": True}, a=column()), "drop_invalid_rows"),
        (_contract({"add_missing_columns": True}, a=column()), "add_missing_columns"),
        (_contract(a=column(str_matches="x")), "does not fit the columns' types"),
    ],
)
def test_a_contract_that_an_audit_cannot_keep_is_a_usage_error(contract: type[Contract], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        compile_contract(contract)


def test_a_check_that_raises_refuses_the_source(tmp_path: Path) -> None:
    class Raising(Contract):
        a: str = column()

        @rule
        @classmethod
        def number(cls) -> pl.Expr:
            """A number in words."""
            return pl.col("a").cast(pl.Int64) > 0

    with pytest.raises(Refused, match=r"contract Raising.*cannot be evaluated") as caught:
        split(pl.DataFrame({"a": ["1", "one"]}), Raising)
    assert "\n" not in str(caught.value)
    assert "in column 'a'" in str(caught.value)
    assert "one" not in str(caught.value)  # a refusal is shown and logged where no row may be


def test_an_optional_column_may_be_missing_but_not_where_a_rule_reads_it() -> None:
    class Growing(Contract):
        a: int = column(ge=0)
        b: int | None = column(ge=0)

    class Reading(Growing):
        @rule
        @classmethod
        def larger(cls) -> pl.Expr:
            """B is larger."""
            return pl.col("b") > pl.col("a")

    frame = pl.DataFrame({"a": [1, -1]})
    assert split(frame, Growing).accepted.height == 1
    assert split(frame.with_columns(b=-pl.col("a")), Growing).accepted.height == 0
    with pytest.raises(Refused, match="larger reads b, which the source lacks"):
        split(frame, Reading)


def test_the_version_changes_with_the_rules_and_with_nothing_else() -> None:
    def make(limit: int, name: str = "Same", first: bool = False) -> type[Contract]:
        class Made(Contract):
            a: int = column(ge=0)

            @rule
            @classmethod
            def limited(cls) -> pl.Expr:
                """Not too large."""
                return pl.col("a") < limit

            class Config:
                metadata = {"first_stays": first}

        Made.__name__ = name
        return Made

    assert make(3).version() == make(3, "Other").version()
    assert len({make(3).version(), make(4).version(), make(3, first=True).version()}) == 3


def test_the_folder_of_an_audit_holds_that_audit_alone(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet" / "there"
    audit_parts(parsed(tmp_path / "parts", trades(*GOOD)), SPEC, folder)
    (folder / "accepted" / "stale.parquet").write_bytes(b"of another audit")
    done = audit_parts(parsed(tmp_path / "parts", trades(*GOOD)), SPEC, folder)
    assert sorted(folder.rglob("*.parquet")) == sorted(part.path for part in done.accepted)


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("keep_first", "3 of 6 rows accepted, 1 rejected, 2 delivered before"),
        (
            "reject",
            "3 of 6 rows accepted, 3 rejected: more than the share of 40.00% that may be; most often the key was published before",  # noqa: E501
        ),
    ],
)
def test_a_verdict_counts_in_words_and_rows_delivered_before_are_not_rejected(tmp_path: Path, policy: Any, why: str) -> None:
    known = trades((0, "mon", 9.0, "sell"), (1, "mon", 9.0, "sell"))
    spec = dataclasses.replace(SPEC, on_redelivery=policy, max_rejected_share=0.4)
    frame = trades(*GOOD[:5], (7, "wed", -1.0, "buy"))
    done = audit_parts(parsed(tmp_path / "parts", frame), spec, tmp_path / "audit", known.lazy().select("id", "day"))
    assert done.verdict.why.startswith(why)
    assert done.verdict.publishable is (policy == "keep_first")


def test_the_share_that_may_be_rejected_is_of_all_rows_that_came(tmp_path: Path) -> None:
    frame = trades(*GOOD[:3], (7, "wed", -1.0, "buy"))
    for share, publishable in ((0.25, True), (0.24, False)):
        spec = dataclasses.replace(SPEC, max_rejected_share=share)
        verdict = audit_parts(parsed(tmp_path / "parts", frame), spec, tmp_path / "audit").verdict
        assert verdict.publishable is publishable
    assert verdict.why == (
        "3 of 4 rows accepted, 1 rejected: more than the share of 24.00% that may be; most often price: at least 0"
    )


def test_rejected_rows_are_told_alike_however_many_are_explained_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [(n, "mon", -1.0 - n, "gift" if n % 2 else "buy") for n in range(3, 10)]
    frame = trades(*GOOD, *bad, (3, "mon", 1.0, "buy"))
    whole = split(frame, Trade)
    source = parsed(tmp_path / "parts", frame, part_rows=9)
    first = audit_parts(source, SPEC, tmp_path / "a")
    monkeypatch.setattr("tasks.contracts.audit.AT_ONCE", 2)
    assert split(frame, Trade).rejected.equals(whole.rejected)
    second = audit_parts(source, SPEC, tmp_path / "b")
    assert second.verdict == first.verdict
    assert rejected(second) == rejected(first) == dict(whole.rejected.select(ROW, "_checks").iter_rows())
    assert [part.sha256 for part in second.rejected] == [part.sha256 for part in first.rejected]


def test_every_check_that_fails_of_every_kind_is_told_of_a_frame() -> None:
    """A rule, a value of a column that must be unique, own code row by row and own code over all rows."""

    class Odd(Contract):
        a: int = column(ge=0)
        b: int = column(unique=True)

        @pa.check("a", element_wise=True)
        def not_seven(cls, value: int) -> bool:
            return value != 7

        @pa.dataframe_check
        def rises(cls, data: Any) -> pl.LazyFrame:
            return data.lazyframe.select((pl.col("a") >= pl.col("a").shift(1)).fill_null(True))

    found = split(pl.DataFrame({"a": [1, 7, -1, 3, 4], "b": [1, 2, 3, 5, 5]}), Odd)
    assert {row: set(checks) for row, checks in found.rejected.select(ROW, "_checks").iter_rows()} == {
        2: {"a: not_seven"},
        3: {"a: greater_than_or_equal_to(0)", "rises"},
        4: {"b: field_uniqueness"},
        5: {"b: field_uniqueness"},
    }
    assert found.accepted["a"].to_list() == [1]


@pytest.mark.parametrize("at_once", [1, 2, 50])
def test_rows_are_counted_that_fail_a_rule_a_type_or_what_was_found_before(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("tasks.contracts.audit.AT_ONCE", at_once)
    frame = trades((0, "mon", -1.0, "buy"), (1, "mon", 1.0, "buy"), (2, "mon", None, "buy"), (3, "mon", -2.0, "buy"))
    untyped = [[], [], [{"column": "price", "text": "cheap"}], []]
    rows = frame.with_row_index(ROW, 1).cast({ROW: pl.UInt64}).with_columns(
        pl.Series(UNTYPED, untyped, dtype=UNTYPED_DTYPE)
    )  # fmt: skip
    tally = FailureCounts()
    known = Failure(None, "redelivered", pl.Series([False, False, False, True]), ("id",))
    assert failing_rows(rows, compile_contract(Trade), [known], tally) == 3
    assert {(reason.column, reason.check): reason.rows for reason in tally.reasons()} == {
        ("price", "greater_than_or_equal_to(0)"): 2,
        ("price", "dtype('Float64')"): 1,
        (None, "redelivered"): 1,
    }
    assert [str(example) for example in tally.reasons()[0].examples] == ["row 1: -1.0", "row 4: -2.0"]
    assert failing_rows(rows[1:2], compile_contract(Trade), [], FailureCounts()) == 0


def test_a_key_can_be_compared_where_each_of_its_parts_could_be_typed() -> None:
    untyped = [[], [{"column": "id", "text": "x"}], [{"column": "price", "text": "x"}], [{"column": None, "text": "torn"}]]
    rows = trades(*GOOD[:4]).with_columns(pl.Series(UNTYPED, untyped, dtype=UNTYPED_DTYPE))
    found = comparable_keys(rows, ["id", "day"])
    assert found.columns == ["id", "day", "_comparable"]
    assert found["_comparable"].to_list() == [True, False, True, False]


def test_repeated_keys_of_pieces_are_flagged_where_they_lie() -> None:
    pieces = [pl.DataFrame({"k": each}, schema={"k": pl.Int64}) for each in ([1, 2], [], [3, 1, 4], [2, 9, 1])]
    known = pl.DataFrame({"k": [4, 9, 77]})

    def found(first_stays: bool, scratch: Path | None = None) -> tuple[list[int], list[int]]:
        repeats = find_repeated_keys([(lambda p=p: p) for p in pieces], ["k"], first_stays, known, scratch)
        return [int(at) for at in repeats.duplicate.nonzero()[0]], [int(at) for at in repeats.known.nonzero()[0]]

    assert found(False) == ([0, 1, 3, 5, 7], [4, 6])
    assert found(True) == ([3, 5, 7], [4, 6])


def test_hashes_on_disk_find_what_hashes_in_memory_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read back in pieces of one hash, in ranges of a few, and with known keys that the source repeats."""
    monkeypatch.setattr("tasks.contracts.uniqueness.RANGE", 8)
    frame = pl.DataFrame({"k": [n % 13 for n in range(40)] + list(range(100, 110))})
    pieces = [(lambda piece=piece: piece) for piece in frame.iter_slices(7)]
    found = find_repeated_keys(pieces, ["k"], False, pl.DataFrame({"k": [105, 3, 999]}), tmp_path)
    assert found.duplicate.tolist() == frame["k"].is_duplicated().to_list()
    assert found.known.tolist() == frame["k"].is_in([105, 3]).to_list()


def test_a_category_is_the_same_key_under_another_code_and_null_equals_null() -> None:
    one, other = pl.Series(["a", None, "b"], dtype=pl.Enum(["a", "b"])), pl.Series(["b", None], dtype=pl.Enum(["b", "a"]))
    found = find_repeated_keys([lambda: pl.DataFrame({"k": one})], ["k"], False, pl.DataFrame({"k": other}))
    assert found.known.tolist() == [False, True, True]
    assert not found.duplicate.any()


EARLY = """
from schemas.contract import Contract, column  # registers the polars backend
import pandera.api.checks as checks
import pandera.polars as pa
from pandera.api.polars.types import PolarsData

for dispatcher in checks.Check.CHECK_FUNCTION_REGISTRY.values():
    dispatcher._function_registry.pop(PolarsData, None)  # as before anything of polars was validated

class Plain(Contract):
    size: int = column(ge=1)

Plain.to_schema()
import pandera.backends.polars.register as register
import importlib, pandera.backends.polars.builtin_checks as builtin
importlib.reload(builtin)
from tasks.contracts.compiler import compile_contract
compiled = compile_contract(Plain)
print([rule.check for rule in compiled.rules], compiled.opaque)
"""


def test_a_schema_made_before_pandera_knows_polars_keeps_its_checks() -> None:
    made = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, check=True)
    assert "greater_than_or_equal_to(1)" in made.stdout
    assert made.stdout.rstrip().endswith("()")

"""What is read out of values: types, forms, ranges, keys, times, outcomes, and names in code."""

import ast
import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.scaffold import source_code
from deployments.scaffold.column_profile import KNOWN_SHAPES, Profile
from deployments.scaffold.contract_columns import columns_of
from deployments.scaffold.draft import profile
from deployments.scaffold.key_detection import find_key
from deployments.scaffold.ranges import LARGEST, bounds
from deployments.scaffold.render_test import from_shape
from deployments.scaffold.sampling import Sample
from deployments.scaffold.target_detection import find_outcome
from deployments.scaffold.time_detection import find_clock
from deployments.scaffold.type_inference import DTYPES, type_column
from schemas.errors import UsageError
from schemas.reader import Reader
from tasks.parsing.column_formats import from_written
from tests.unit.scaffold_domains import members, plain, stations, tickets

TEXTS = st.sampled_from(
    """|0|-1|007|1.5|.5|1.|1e5|1e999|NaN|inf|NA|true|True|tRUE|yes|2024-02-30|2024-02-29|2024-02-29T10:00:00
    |2024-02-29 10:00:00.5|2024-02-29T10:00:00Z|2024-02-29T10:00:00+0200|2024-02-29 10:00|0000-01-01|2024-01-01T25:00:00
    |9223372036854775808|+5|1_000|1,5|31/12/2024""".replace("\n    ", "").split("|")
)


def profiles(frame: pl.DataFrame, form: str = "csv") -> list[Profile]:
    return profile(Sample(frame, whole=True, form=form))


def as_csv(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.read_csv(frame.write_csv().encode(), infer_schema=False)


@settings(deadline=None)  # the first example imports what the others find
@given(st.lists(TEXTS | st.none(), min_size=1, max_size=4))
def test_what_is_taken_for_a_type_is_what_ingestion_parses(texts: list[str | None]) -> None:
    series = pl.Series("c", texts, dtype=pl.String)
    typed = type_column(series, "csv")
    reader = Reader(missing=typed.nothing, columns={"c": typed.form})
    conversion = from_written("c", DTYPES[typed.type], reader)
    parsed = series.to_frame().select(conversion.value.alias("value"), conversion.text.alias("text"))
    assert parsed["text"].null_count() == len(texts)
    assert parsed["value"].equals(typed.values.alias("value"), null_equal=True)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-20", None], "integer"),
        (["1", "2.5", "1e3"], "number"),
        (["007", "123"], "text"),
        (["true", "False"], "flag"),
        (["2024-01-31", "2024-02-01"], "date"),
        (["2024-01-31", "2024-02-31"], "text"),
        (["2024-01-31T10:00:00", "2024-02-01 10:00:00.5"], "moment"),
        (["2024-01-31T10:00:00Z", "2024-02-01T10:00:00+02:00"], "utc"),
        (["2024-01-31T10:00:00Z", "2024-02-01T10:00:00"], "text"),
        (["99999999999999999999", "1"], "text"),
        (["31/12/2024", "01/02/2024"], "date"),
        (["2024-01-01 10:00", "2024-01-01 11:30"], "moment"),
        (["2023-01-02T10:00Z", "2023-01-18T10:00Z"], "utc"),
        (["January 02, 2023", "March 5, 2023"], "date"),
        (["20240131", "20240201", "20240202"], "date"),
        (["17:35", "4:16"], "clock"),
        (["1.234,56", "0,5"], "number"),
        (["$1,200", "7"], "integer"),
        (["12.5%", "3%"], "number"),
        (["77.14 kg", "3 kg"], "number"),
        (["(12.50)", "3.50"], "number"),
        (["1", "?", "2"], "integer"),
        (["1", "none", " "], "integer"),
        (["T123", "T124"], "text"),
        (["1.2.3", "1.2.4"], "text"),
        (["10-20", "20-30"], "text"),
        (["1st", "2nd"], "text"),
        (["1.2k", "3M"], "text"),
        (["$5", "5 €"], "text"),
        (["1672531200", "1672617600", "1672704000"], "integer"),
        ([None, None], "text"),
    ],
)
def test_types_of_text(values: list[str | None], kind: str) -> None:
    assert type_column(pl.Series("c", values, dtype=pl.String), "csv").type == kind


@pytest.mark.parametrize(("form", "kind"), [("csv", "date"), ("jsonl", "date"), ("parquet", "date")])
def test_only_a_file_without_types_has_its_text_retyped(form: str, kind: str) -> None:
    assert type_column(pl.Series("c", ["2024-01-31"]), form).type == kind
    assert type_column(pl.Series("c", ["5"]), form).type == ("integer" if form == "csv" else "text")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["03/04/2021", "01/02/2021"], "or is it %d/%m/%Y"),
        (["1,234", "5,678"], "or is ',' a decimal mark"),
        ([*map(str, range(990)), *["unknwon"] * 10], "'unknwon' in 1.0% of the rows is read as missing"),
        ([*map(str, range(30)), "30+"], "numbers with limits (30+) are read as text"),
        ([*map(str, range(30)), "<5"], "numbers with limits (<5) are read as text"),
        ([*(f"{n}.50" for n in range(30)), "7.50 CR"], "amounts with a word for their sign (7.50 CR) are read as text"),
        ([*(f"${n}.50" for n in range(30)), "\u20ac7.50"], "numbers in several units"),
        ([*(f"${n}.50" for n in range(30)), "-"], "in accounts it means zero"),
        (["13/04/2021", "01/02/2021"], ""),
        (["1,234.5", "5,678"], ""),
        (["NA", "1"], ""),
    ],
)
def test_what_can_be_read_in_two_ways_is_to_be_confirmed(values: list[str], says: str) -> None:
    confirm = type_column(pl.Series("c", values), "csv").confirm
    assert says in confirm
    assert bool(says) == bool(confirm)


def test_words_for_missing_are_declared_and_what_they_stand_among_are_values() -> None:
    typed = type_column(pl.Series("c", ["1.5", "NA", "nan", "-", None]), "csv")
    assert (typed.nothing, typed.form.missing) == (("NA", "nan"), ("-",))
    assert typed.values.to_list() == [1.5, None, None, None, None]
    text = type_column(pl.Series("c", ["a", "NA", "none", "b"]), "csv")
    assert text.values.to_list() == ["a", None, "none", "b"]  # "none" is a word among words


def test_other_spellings_of_a_value_are_that_value() -> None:
    typed = type_column(pl.Series("c", ["yes", "yes", "Yes", "no", "NO ", "no"]), "csv")
    assert typed.values.to_list() == ["yes", "yes", "yes", "no", "no", "no"]
    assert dict(typed.form.spellings) == {"Yes": "yes", "NO ": "no"}


def test_numbers_that_are_seconds_are_times_where_the_name_says_so() -> None:
    values = ["1672531200", "1672617600", "1672704000"]
    assert type_column(pl.Series("created_at", values), "csv").type == "moment"
    assert type_column(pl.Series("created_at", list(map(int, values))), "parquet").type == "moment"
    assert type_column(pl.Series("phone", values), "csv").type == "integer"


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE, FINITE)
def test_bounds_hold_the_values_with_room(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    least, most = bounds(low, high, whole=False)
    assert least <= low <= high <= most
    assert not (low >= 0 > least)
    assert not (high <= 0 < most)


@given(st.integers(-LARGEST - 1, LARGEST), st.integers(-LARGEST - 1, LARGEST))
def test_bounds_of_whole_numbers_are_exact(a: int, b: int) -> None:
    least, most = bounds(min(a, b), max(a, b), whole=True)
    assert (type(least), type(most)) == (int, int)
    assert -LARGEST - 1 <= least <= min(a, b) <= max(a, b) <= most <= LARGEST


@pytest.mark.parametrize(
    ("low", "high", "whole", "wanted"),
    [(0.02, 0.97, False, (0, 1)), (3, 88, True, (0, 130)), (-12.5, 31.0, False, (-40, 60)), (1931, 2012, True, (1890, 2060)),
     (5, 5, True, (3, 7)), (0, 0, True, (0, 0)), (-9, -3, True, (-12, 0))],
)  # fmt: skip
def test_bounds_that_a_person_would_sign(low: float, high: float, whole: bool, wanted: tuple[float, float]) -> None:
    assert bounds(low, high, whole=whole) == wanted


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ([f"M-{i:06d}" for i in range(40)], "^M-[0-9]{6}$"),
        ([f"A.{i}" for i in range(40)], r"^A\.[0-9]+$"),
        ([f"{c}{d}7" for c in "ABCDE" for d in "VWXYZ"], "^[A-Z]{2}[0-9]$"),
        ([f"user{i}@example.org" for i in range(40)], KNOWN_SHAPES["e-mail addresses"]),
        ([f"word{'s' * i}" for i in range(40)], ""),
        (["M-1", "M-2"], ""),
    ],
)
def test_shapes(values: list[str], shape: str) -> None:
    found = profiles(pl.DataFrame({"c": values}))[0].shape
    assert found == shape
    assert not shape or (re.search(shape, from_shape(shape)) and all(re.search(shape, v) for v in values))


@given(st.text(max_size=40))
def test_quoted_text_is_that_text_in_python(text: str) -> None:
    assert ast.literal_eval(source_code.quote(text)) == text


@pytest.mark.parametrize("line_length", ["88", "125"])
def test_long_expressions_are_broken_as_the_formatter_breaks_them(tmp_path: Path, line_length: str) -> None:
    names = [
        "short",
        "a name of a length that",
        "a name that is too long " * 4,
        'it\'s "quoted" \\d and is much too long for a line ' * 2,
    ]
    ends = ["", ".cast(pl.Float32)", ".dt.weekday().cast(pl.Float32)", ".cast(pl.Enum(PLAN), strict=False)"]
    ends += [".cast(pl.Float32, strict=False).fill_nan(None)", '.dt.strftime("%Y-%m")', " == 1", ".cast(pl.Float64) == 1"]
    quoted = [source_code.quote(name) for name in names]
    texts = [f"pl.col({name}){end}" for name in quoted for end in ends] + [f"days_since({name})" for name in quoted]
    lines = [line for i, text in enumerate(texts) for line in source_code.expression(f"    a{i}=", text)]
    (tmp_path / "x.py").write_text("\n".join(["X = Y(", *lines, ")", ""]))
    ruff = [Path(sys.executable).with_name("ruff"), "format", "--diff", "--isolated", "--line-length", line_length, tmp_path]
    assert subprocess.run(ruff, capture_output=True, text=True, check=False).stdout == ""


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=12))
def test_columns_of_any_name_get_names_of_their_own(columns: list[str]) -> None:
    used: set[str] = set()
    names = [source_code.attribute(column, used) for column in columns]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and not name.startswith("_") and name not in source_code.TAKEN for name in names)


@pytest.mark.parametrize(
    ("frame", "target", "key"),
    [
        (members(), "churned", ("member_id",)),
        (tickets(), "queue", ("Ticket No",)),
        (stations(), "state", ("date", "station")),
        (plain().rename({"id": "nothing"}), "y", ("nothing",)),
    ],
)
def test_the_key_is_found(frame: pl.DataFrame, target: str, key: tuple[str, ...]) -> None:
    assert find_key(frame, profiles(frame), target, None, ()).columns == key


def test_copies_of_a_key_are_counted_not_hidden() -> None:
    frame = pl.concat([plain(), plain().head(3)])
    assert find_key(frame, profiles(frame), "y", None, ()).rejected == 6


def by_chance() -> pl.DataFrame:
    """Whole numbers, texts and three measurements that are unique, alone or together, as any would be in so few rows."""
    rng = np.random.default_rng(6)
    return pl.DataFrame(
        {
            "weight": rng.choice(10**6, 300, replace=False),
            "model": [f"{word} {at * 7}" for at, word in enumerate(rng.choice(["Fiat", "Dodge", "Merc"], 300))],
            "age": rng.integers(18, 90, 300),
            "height": rng.integers(140, 200, 300),
            "pulse": rng.integers(40, 160, 300),
            "y": rng.integers(0, 2, 300),
        }
    )


KEYLESS = {
    "nothing": plain().select("plan", "y").with_columns(z=pl.col("plan") + "x"),
    "measurements": plain().drop("id").with_columns(z=pl.int_range(pl.len()) * 7919 % 100_003),
    "chance": by_chance(),
}


@pytest.mark.parametrize("name", KEYLESS)
def test_where_no_column_is_a_key_the_row_is(name: str) -> None:
    key = find_key(KEYLESS[name], profiles(KEYLESS[name]), "y", None, ())
    assert key.by_row, key
    assert "the row itself is the key" in key.note


def test_columns_that_are_unique_against_all_odds_are_a_key() -> None:
    rng, orders = np.random.default_rng(7), 300
    lines = [(order, line) for order in rng.integers(10**6, 10**7, orders) for line in range(1, rng.integers(2, 6))]
    frame = pl.DataFrame(lines, schema=["purchase", "position"], orient="row").with_columns(
        amount=pl.Series(rng.integers(1, 50, len(lines))), y=pl.Series(rng.integers(0, 2, len(lines)))
    )
    assert find_key(frame, profiles(frame), "y", None, ()).columns == ("purchase", "position")


@pytest.mark.parametrize(
    ("told", "says"), [("nope", "no such column"), ("y", "not known"), ("x", "fractions"), ("plan", "400 of 400")]
)
def test_a_told_key_must_be_one(told: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        find_key(plain(), profiles(plain()), "y", None, (told,))
    assert find_key(plain(), profiles(plain()), "y", None, ("id,plan",)).columns == ("id", "plan")


def days(n: int, start: date = date(2024, 1, 1)) -> list[date]:
    return [start + timedelta(days=i % 90) for i in range(n)]


@pytest.mark.parametrize(
    ("extra", "time"),
    [
        ({}, None),
        ({"seen": days(400)}, "seen"),
        ({"birth_date": days(400)}, None),
        ({"seen": [*days(399), None]}, None),
        ({"a": days(400), "b": days(400)}, None),
        ({"a": days(400), "created_at": days(400)}, "created_at"),
        ({"a": days(400), "b": sorted(days(400))}, "b"),
        ({"seen": [date(2024, 1, 1 + i % 5) for i in range(400)]}, None),
    ],
)
def test_a_time_is_taken_only_beyond_doubt(extra: dict[str, list[date]], time: str | None) -> None:
    clock = find_clock(profiles(plain().with_columns(**{n: pl.Series(v) for n, v in extra.items()})), "y", None)
    assert (clock.column if clock else None) == time


@pytest.mark.parametrize(
    ("told", "says"),
    [("nope", "no such column"), ("y", "target"), ("x", "reads as no date"), ("eu", "about 2024"), ("few", "4 diff")],
)
def test_a_told_time_must_be_one(told: str, says: str) -> None:
    frame = plain().with_columns(
        eu=pl.Series(days(400)).dt.strftime("about %Y, %j"), few=pl.Series([date(2024, 1, 1 + i % 4) for i in range(400)])
    )
    with pytest.raises(UsageError, match=says):
        find_clock(profiles(frame), "y", told)


@pytest.mark.parametrize(
    ("values", "kind", "wanted", "classes"),
    [
        ([True, False], None, "binary", ("not y", "y")),
        ([0, 1], None, "binary", ("not y", "y")),
        ([1, 2], None, "binary", ("y 1", "y 2")),
        (["no", "yes"], None, "binary", ("no", "yes")),
        (["red", "green", "blue"], None, "multiclass", ("blue", "green", "red")),
        ([1, 2, 10], None, "multiclass", ("1", "2", "10")),
        ([1, 2, 10], "regression", "regression", ()),
        ([0.5, 1.5, 2.5], None, "regression", ()),
        (list(range(20)), None, "regression", ()),
    ],
)
def test_kinds_and_classes(values: list[object], kind: str | None, wanted: str, classes: tuple[str, ...]) -> None:
    outcome = find_outcome(profiles(pl.DataFrame({"y": values * 50})), "y", kind)
    assert (outcome.kind, outcome.classes) == (wanted, classes)
    told = pl.DataFrame({"y": values}).select(eval(outcome.value)).to_series()
    assert told.dtype == pl.Boolean if wanted == "binary" else told.n_unique() == len(values)


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [([1, 1], None, "holds only 1"), ([None, None], None, "is empty"), (["a", "b"], "regression", "not numbers"),
     ([1, 2, 3], "binary", "3 different values"), ([f"v{i}" for i in range(60)], None, "no classes"),
     ([0.5, 1.5, 2.5], "multiclass", "no classes")],
)  # fmt: skip
def test_an_outcome_that_is_none_is_refused(values: list[object], kind: str | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        find_outcome(profiles(pl.DataFrame({"y": values})), "y", kind)


@pytest.mark.parametrize(("target", "says"), [("churn", "did you mean 'churned'"), ("zzz", "it has")])
def test_a_target_that_is_not_there(target: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        find_outcome(profiles(members(50)), target, None)


@pytest.mark.parametrize(
    ("frame", "target", "column", "why"),
    [
        (tickets(), "queue", "resolved_at", "later than Opened At in "),
        (members().drop("snapshot_date", "joined_on"), "churned", "cancelled_on", "filled only where churned is "),
    ],
)
def test_what_is_known_only_afterwards_is_no_feature(frame: pl.DataFrame, target: str, column: str, why: str) -> None:
    found = profiles(as_csv(frame))
    key = find_key(frame, found, target, None, ())
    columns = columns_of(found, find_outcome(found, target, None), key, find_clock(found, target, None))
    late = next(each for each in columns if each.name == column)
    assert late.role == "confirm"
    assert ("known", '"confirm"') in late.checks
    assert late.note.startswith(f"known before the outcome? {why}")


def test_roles() -> None:
    found = profiles(as_csv(members()))
    key = find_key(members(), found, "churned", None, ())
    columns = columns_of(found, find_outcome(found, "churned", None), key, find_clock(found, "churned", None))
    assert {column.name: column.role for column in columns if column.role != "feature"} == {
        "member_id": "key",
        "snapshot_date": "time",
        "email": "id",
        "comment": "free text",
        "cancelled_on": "confirm",
        "churned": "target",
    }

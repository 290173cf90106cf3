"""Expressions as plain data: what is read back is equal, and what has no word is refused and never changed."""

import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from schemas.data_types import describe_dtype, restore_dtype
from schemas.errors import UsageError
from schemas.expression_builder import NotInTree, from_tree
from schemas.expression_tree import to_tree
from schemas.usecases.flights import FLIGHTS

ROWS = pl.DataFrame(
    {
        "a": [1, -2, None, 7],
        "b": [0.5, None, -1.25, 3.0],
        "s": ["x-1", " Up ", None, "2013-07-04"],
        "t": [
            datetime(2013, 7, 4, 12, 30, tzinfo=UTC),
            None,
            datetime(2012, 2, 29, tzinfo=UTC),
            datetime(1969, 1, 1, tzinfo=UTC),
        ],
        "g": ["p", "p", "q", None],
        "l": [[1.0, 2.0], [], None, [4.0]],
        "y": [2013, 2012, None, 2000],
    }
).with_columns(pl.col("t").dt.replace_time_zone("UTC"))
A, B, S, T = pl.col("a"), pl.col("b"), pl.col("s"), pl.col("t")
EXPRESSIONS = {
    "arithmetic": (A + 1) * 2 - B / 3 + A // 2 + A % 3,
    "power": (A**2).sqrt() + B.log(2) + B.log1p() + B.exp() + B.abs().cbrt(),
    "sign": -A + A.abs() + A.sign(),
    "rounded": B.round(1) + B.floor() + B.ceil(),
    "clipped": B.clip(-1, 2) + B.clip(lower_bound=0) + B.clip(upper_bound=0),
    "compared": (A > 1) & (B <= 3.0) | (A == 7) ^ (B != 0.5),
    "missing": A.is_null() | B.is_not_null() | A.eq_missing(B),
    "negated": ~(A > 1),
    "finite": B.is_finite() & B.is_not_nan(),
    "between": B.is_between(0, 3, closed="left"),
    "among": S.is_in(["x-1", "y"]) | A.is_in([1, 7]),
    "choice": pl.when(A > 1).then(pl.lit("much")).when(A < 0).then(pl.lit("less")).otherwise(None),
    "filled": A.fill_null(0) + pl.coalesce(A, pl.lit(5)),
    "across": pl.max_horizontal("a", "b") + pl.sum_horizontal("a", "b") + pl.mean_horizontal("a", "b"),
    "all": pl.all_horizontal(A > 0, B > 0) | pl.any_horizontal(A > 0, B > 0),
    "angles": B.radians().sin() + B.degrees().cos() + pl.arctan2("a", "b"),
    "category": S.cast(pl.Enum(["x-1", "y"]), strict=False),
    "typed": A.cast(pl.Float32) + pl.lit(3, dtype=pl.Int8),
    "text": S.str.strip_chars().str.to_lowercase() + pl.concat_str([S, pl.col("g")], separator="/"),
    "pattern": S.str.contains(r"^\d") | S.str.starts_with("x") | S.str.ends_with("p", ),
    "extracted": S.str.extract(r"(\d+)", 1).cast(pl.Int64),
    "replaced": S.str.replace_all("-", "+", literal=True) + S.str.replace("x", "z"),
    "sliced": S.str.slice(0, 2) + S.str.head(1) + S.str.zfill(4),
    "length": S.str.len_chars() + pl.col("l").list.len() + S.str.count_matches("[0-9]"),
    "split": S.str.split("-").list.get(0, null_on_oob=True),
    "parsed": S.str.to_date("%Y-%m-%d", strict=False),
    "whole": S.str.to_integer(strict=False),
    "mapped": S.replace_strict({"x-1": 1, "y": 2}, default=None),
    "swapped": S.replace({"x-1": "one"}),
    "hour": T.dt.convert_time_zone("America/New_York").dt.hour() + T.dt.weekday() + T.dt.ordinal_day(),
    "day": T.dt.date() == date(2013, 7, 4),
    "truncated": T.dt.truncate("1h") - pl.duration(hours=3) + pl.duration(minutes=A),
    "formatted": T.dt.strftime("%Y-%m"),
    "elapsed": (T - datetime(2013, 1, 1, tzinfo=UTC)).dt.total_hours(),
    "made": pl.date(pl.col("y"), 1, 2).dt.weekday() + pl.datetime(pl.col("y"), 2, 3, 4).dt.hour(),
    "interval": pl.lit(datetime(2013, 1, 1, tzinfo=UTC)) - timedelta(days=2) < T,
    "group": B.mean().over("g") + B.std() + A.sum() + A.max(),
    "named": (A + 1).alias("b"),
    "listed": pl.concat_list("a", "b").list.max() + pl.col("l").list.sum(),
    "field": pl.struct("a", "b").struct.field("a"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_comes_back_equal_from_json(name: str) -> None:
    expression = EXPRESSIONS[name]
    again = from_tree(json.loads(json.dumps(to_tree(expression))))
    assert again.meta.eq(expression)
    assert_frame_equal(ROWS.select(again), ROWS.select(expression))


@pytest.mark.parametrize(
    "expression",
    [
        A.map_elements(lambda value: value, return_dtype=pl.Int64),
        A.rank(),
        A.shift(1).rolling_mean(2),
        pl.col("a", "b"),
        A.filter(B > 0).sum(),
        pl.lit(pl.Series([1, 2])),
    ],
    ids=["python", "rank", "rolling", "several columns", "filter", "series"],
)
def test_what_has_no_word_is_refused(expression: pl.Expr) -> None:
    with pytest.raises(NotInTree):
        to_tree(expression)


def test_every_expression_of_the_flights_is_in_the_tree() -> None:
    looked_up = [each for lookup in FLIGHTS.lookups for each in lookup.on.values()]
    for expression in [*FLIGHTS.features.values(), *looked_up, FLIGHTS.target.value]:
        assert from_tree(to_tree(expression)).meta.eq(expression)


def test_a_word_of_another_release_is_refused() -> None:
    with pytest.raises(NotInTree, match=r"no expression named 'dt\.fortnight'"):
        from_tree({"call": "dt.fortnight", "of": [{"column": "t"}]})


def test_a_column_of_another_type_by_now_is_read_as_the_type_it_had() -> None:
    tree = to_tree(A + 1)
    text = ROWS.with_columns(pl.col("a").cast(pl.Float64))
    assert text.select(from_tree(tree, {"a": pl.Int64()})).schema["a"] == pl.Int64


DTYPES = [
    *(pl.Int8(), pl.UInt64(), pl.Float32(), pl.String(), pl.Boolean(), pl.Date(), pl.Time(), pl.Binary(), pl.Null()),
    *(pl.Datetime("us", "UTC"), pl.Datetime("ms"), pl.Duration("ns"), pl.Enum(["b", "a"]), pl.Decimal(10, 2)),
    *(pl.List(pl.Date()), pl.Array(pl.Int16(), 3), pl.Struct({"x": pl.Int8(), "y": pl.List(pl.String())})),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_type_comes_back_equal_from_json(dtype: pl.DataType) -> None:
    assert restore_dtype(json.loads(json.dumps(describe_dtype(dtype)))) == dtype


def test_types_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be kept with a model"):
        describe_dtype(pl.Object())
    with pytest.raises(UsageError, match="names no data type"):
        restore_dtype({"Matrix": 3})

"""The compiled evaluator against polars: the same bits for every expression of the vocabulary and every row."""

import math
import random
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.usecases.flights import FLIGHTS
from tasks.inference.online.expression_compiler import Declined, Expressions, NotInVocabulary
from tasks.inference.online.expression_operators import bits, physical, restored
from tasks.inference.online.feature_compiler import Designer
from tasks.inference.online.request_decoding import Reader

UTC, NEW_YORK = pl.Datetime("us", "UTC"), pl.Datetime("us", "America/New_York")
SCHEMA: dict[str, pl.DataType] = {
    "i": pl.Int64(),
    "j": pl.Int64(),
    "small": pl.Int8(),
    "x": pl.Float64(),
    "y": pl.Float64(),
    "single": pl.Float32(),
    "s": pl.String(),
    "t": pl.String(),
    "p": pl.Boolean(),
    "q": pl.Boolean(),
    "at": UTC,
    "there": NEW_YORK,
    "naive": pl.Datetime("us"),
    "d": pl.Date(),
    "long": pl.Duration("us"),
}
CODES = ("AA", "BB", "é", "")

whole = st.one_of(st.integers(-40, 40), st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from([1 << 53, (1 << 53) + 1]))
number = st.one_of(st.integers(-5, 5).map(float), st.floats(allow_nan=True, allow_infinity=True))
text = st.one_of(st.sampled_from(CODES), st.text(st.characters(exclude_categories=["Cs"]), max_size=4))
moment = st.one_of(
    st.integers(1_356_998_400_000_000, 1_420_070_400_000_000), st.integers(-60_000_000_000_000_000, 250_000_000_000_000_000)
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "i": whole, "j": whole, "small": st.integers(-128, 127), "x": number, "y": number, "single": st.floats(width=32),
    "s": text, "t": text, "p": st.booleans(), "q": st.booleans(), "at": moment, "there": moment, "naive": moment,
    "d": st.integers(-700_000, 2_900_000), "long": st.integers(-(10**15), 10**15),
}  # fmt: skip
rows = st.tuples(*(st.one_of(st.none(), VALUES[name]) for name in SCHEMA))


def columns(*names: str) -> st.SearchStrategy[pl.Expr]:
    return st.sampled_from(names).map(pl.col)


def extended(parts: dict[str, st.SearchStrategy[pl.Expr]]) -> dict[str, st.SearchStrategy[pl.Expr]]:
    """One more layer of the vocabulary over expressions of each type."""
    i, x, s, p, at, d, long = (parts[name] for name in ("i", "x", "s", "p", "at", "d", "long"))
    either = st.one_of(i, x)
    integers = st.one_of(
        i,
        st.builds(lambda a, b, o: getattr(a, o)(b), i, i, st.sampled_from(["__add__", "__sub__", "__mul__"])),
        st.builds(lambda a, n: a * n, i, st.integers(-3, 60)),
        st.builds(lambda a, b, o: getattr(a, o)(b), i, i, st.sampled_from(["__floordiv__", "__mod__"])),
        st.builds(
            lambda a, n, o: getattr(a, o)(n),
            i,
            st.sampled_from([100, 1440, -7]),
            st.sampled_from(["__floordiv__", "__mod__"]),
        ),
        st.builds(
            lambda a, part: getattr(a.dt, part)(), at, st.sampled_from(["hour", "minute", "second", "weekday", "day"])
        ),
        st.builds(lambda a, part: getattr(a.dt, part)(), at, st.sampled_from(["month", "year", "ordinal_day", "week"])),
        st.builds(lambda a, part: getattr(a.dt, part)(), d, st.sampled_from(["weekday", "day", "month", "year"])),
        st.builds(lambda a: a.str.len_chars(), s),
        st.builds(lambda a: a.cast(pl.Int64), st.one_of(p, x)),
        st.builds(lambda a, b: a.fill_null(b), i, i),
        st.builds(lambda a: a.abs(), i),
        st.builds(lambda a: -a, i),
    )
    floats = st.one_of(
        x,
        st.builds(lambda a, b, o: getattr(a, o)(b), x, either, st.sampled_from(["__add__", "__sub__", "__mul__"])),
        st.builds(lambda a, b: a / b, either, either),
        st.builds(lambda a: a.cast(pl.Float64), either),
        st.builds(lambda p, a, b: pl.when(p).then(a).otherwise(b), p, x, either),
        st.builds(lambda a: a.sin(), x),
        st.builds(lambda a: a.radians().cos(), x),
        st.builds(lambda a: a.sqrt(), x),
        st.builds(lambda a: a.log1p(), x),
        st.builds(lambda a: a.abs(), x),
        st.builds(lambda a, b: pl.coalesce(a, b), x, x),
        st.builds(lambda a, n: a + n, x, st.sampled_from([0.1, 2, -7])),
    )
    operators = st.sampled_from(["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"])
    conditions = st.one_of(
        p,
        st.builds(lambda a, b, o: getattr(a, o)(b), either, either, operators),
        st.builds(lambda a, n, o: getattr(a, o)(n), either, st.sampled_from([0, 3, 0.5, -1]), operators),
        *(st.builds(lambda a, b, o: getattr(a, o)(b), same, same, operators) for same in (s, at, d, long)),
        st.builds(lambda a, b: a & b, p, p),
        st.builds(lambda a, b: a | b, p, p),
        st.builds(lambda a: ~a, p),
        st.builds(lambda a: a.is_null(), st.one_of(i, s, at)),
        st.builds(lambda a: a.is_not_null(), x),
        st.builds(lambda a, o: getattr(a, o)(), x, st.sampled_from(["is_nan", "is_not_nan", "is_finite", "is_infinite"])),
        st.builds(lambda a: a.is_in(["AA", "é"]), s),
        st.builds(lambda a: a.is_in([1, 2, 3]), i),
        st.builds(lambda a, c: a.is_between(-1, 2, closed=c), either, st.sampled_from(["both", "left", "right", "none"])),
        st.builds(lambda a, b: pl.all_horizontal(a, b), p, p),
        st.builds(lambda a, b: pl.any_horizontal(a, b), p, p),
        st.builds(lambda a, pattern: a.str.contains(pattern), s, st.sampled_from([r"^[A-Z]{2}$", r"\d", "^.$"])),
        st.builds(lambda a, b: pl.all_horizontal(a.is_null(), b), s, p),
    )
    strings = st.one_of(
        s,
        st.builds(lambda a, o: getattr(a.str, o)(), s, st.sampled_from(["to_uppercase", "to_lowercase", "strip_chars"])),
        st.builds(lambda a: a.str.slice(0, 1), s),
        st.builds(lambda a: a.dt.strftime("%Y-%m"), at),
        st.builds(lambda a, b: a.fill_null(b), s, s),
    )
    moments = st.one_of(
        at,
        st.builds(lambda a, z: a.dt.convert_time_zone(z), at, st.sampled_from(["Asia/Kathmandu", "Europe/London", "UTC"])),
        st.builds(lambda a, b: a + b, at, long),
        st.builds(lambda a, h: a - pl.duration(hours=h), at, st.integers(-5, 30)),
        st.builds(lambda a, h: a + pl.duration(days=h), at, i),
    )
    dates = st.one_of(
        d,
        st.builds(lambda a: a.dt.date(), at),
        st.builds(pl.date, st.integers(1, 9999), st.integers(1, 12), st.one_of(st.integers(1, 31), i)),
    )
    durations = st.one_of(
        long, st.builds(lambda a, b: a - b, columns("at"), columns("at")), st.builds(lambda a, b: a + b, long, long)
    )
    return {"i": integers, "x": floats, "s": strings, "p": conditions, "at": moments, "d": dates, "long": durations}


PARTS = {
    "i": columns("i", "j", "small"), "x": columns("x", "y"), "s": columns("s", "t"), "p": columns("p", "q"),
    "at": columns("at", "there"), "d": columns("d"), "long": columns("long"),
}  # fmt: skip
for _ in range(2):
    PARTS = extended(PARTS)
tops = st.one_of(
    *PARTS.values(),
    st.builds(lambda a: a.cast(pl.Float32), st.one_of(PARTS["i"], PARTS["x"], PARTS["p"])),
    st.builds(lambda a: a.cast(pl.Enum(["AA", "é"]), strict=False), PARTS["s"]),
)


def frame(values: list[tuple[Any, ...]]) -> pl.DataFrame:
    columns = zip(*values, strict=True)
    made = zip(SCHEMA.items(), columns, strict=True)
    return pl.DataFrame([restored(name, list(column), dtype) for (name, dtype), column in made])


def in_polars(expression: pl.Expr, row: tuple[Any, ...]) -> Any:
    return physical(frame([row]).select(it=expression).to_series())[0]


SEEN = {"equal": 0, "declined": 0, "outside": 0}


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(tops, st.lists(rows, min_size=1, max_size=3))
def check_random_expressions(expression: pl.Expr, examples: list[tuple[Any, ...]]) -> None:
    try:
        node = Expressions(SCHEMA).compile(expression)
    except NotInVocabulary:
        SEEN["outside"] += 1
        return
    for row in examples:
        try:
            value = node.evaluate(row)
        except Declined:
            SEEN["declined"] += 1
            continue
        assert bits(value) == bits(in_polars(expression, row)), (expression, row)
        SEEN["equal"] += 1


def test_random_expressions_give_the_same_bits() -> None:
    check_random_expressions()
    assert SEEN["equal"] > SEEN["declined"], SEEN
    assert SEEN["equal"] > 500, SEEN


i, x, s, p, at, there, naive, d, long = map(pl.col, ("i", "x", "s", "p", "at", "there", "naive", "d", "long"))
small = pl.col("small")
EACH = [
    *(getattr(moment.dt, part)() for moment in (at, there, naive, d) for part in ("year", "month", "day", "weekday")),
    *(getattr(moment.dt, part)() for moment in (at, there, naive, d) for part in ("ordinal_day", "week", "quarter")),
    *(getattr(moment.dt, part)() for moment in (at, there, naive) for part in ("hour", "minute", "second", "date")),
    *(at.dt.convert_time_zone(zone).dt.hour() for zone in ("Asia/Kathmandu", "America/St_Johns", "Pacific/Apia")),
    at.dt.strftime("%Y-%m-%d %H:%M"), at.dt.truncate("1h"), at - pl.duration(hours=3), at + long, at - at, long + long,
    *(op(i, pl.col("j")) for op in (pl.Expr.__add__, pl.Expr.__sub__, pl.Expr.__floordiv__, pl.Expr.__mod__)),
    i // 100 * 60 + i % 100, small + small, small * 2, -i, i.abs(), i.cast(pl.Float32), i.cast(pl.Float64), i.cast(pl.Int8),
    *(op(x, pl.col("y")) for op in (pl.Expr.__add__, pl.Expr.__sub__, pl.Expr.__mul__, pl.Expr.__truediv__)),
    *(op(x, i) for op in (pl.Expr.__lt__, pl.Expr.__le__, pl.Expr.__eq__, pl.Expr.__ne__, pl.Expr.__gt__, pl.Expr.__ge__)),
    *(op(s, pl.col("t")) for op in (pl.Expr.__lt__, pl.Expr.__le__, pl.Expr.__eq__, pl.Expr.__ne__, pl.Expr.__gt__)),
    *(op(p, pl.col("q")) for op in (pl.Expr.__and__, pl.Expr.__or__, pl.Expr.__eq__)),
    pl.all_horizontal("p", "q"), pl.any_horizontal("p", "q"), ~p, p.cast(pl.Int64), p.cast(pl.Float32),
    -x, x.abs(), x.cast(pl.Float32), x.cast(pl.Int64), x.is_nan(), x.is_not_nan(), x.is_finite(), x.is_infinite(),
    x.sin(), x.cos(), x.tan(), x.arctan(), x.radians().sin(), x.degrees(), x.sqrt(), x.cbrt(), x.exp(), x.log1p(), x.log(),
    x.round(2), x.floor(), x.ceil(), x.clip(-1, 1), x.is_between(-1, 2, closed="left"), i.is_between(-1, 2, closed="none"),
    x.fill_null(0.5), pl.coalesce("x", "y"), i.fill_null(pl.col("j")), x.is_null(), s.is_not_null(),
    pl.when(p).then(i).otherwise(x), pl.when(x > 0).then(pl.lit("up")).otherwise(None), pl.when(p).then(1).otherwise(2),
    s.is_in(["AA", ""]), i.is_in([1, 2, 1 << 53]), d == pl.date(1970, 1, 1), s.cast(pl.Enum(CODES), strict=False),
    s.str.len_chars(), s.str.len_bytes(), s.str.to_uppercase(), s.str.to_lowercase(), s.str.slice(1, 2), s.str.head(1),
    s.str.contains(r"^[A-Z]{2}$"), s.str.contains("A", literal=True), s.str.starts_with("A"), s.str.ends_with("B"),
    s.str.strip_chars(), s.str.replace("A", "x"), s.str.count_matches("A"), s.str.tail(1), s.str.strip_prefix("A"),
    pl.date(2013, 2, i % 28 + 1), pl.date(i % 3000 + 1, 12, 31).dt.weekday(), pl.datetime(2013, 1, 1, i % 24),
]  # fmt: skip


def many_rows(count: int) -> list[tuple[Any, ...]]:
    """Rows with the values at which types end, and ordinary ones."""
    chance = random.Random(3)
    edges: dict[str, list[Any]] = {
        "i": [0, 1, -1, 7, 1545, 1 << 53, (1 << 53) + 1, (1 << 63) - 1, -(1 << 63)], "small": [0, 1, -128, 127, 100],
        "x": [0.0, -0.0, 0.5, -1.5, 2.675, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan], "single": [0.0, 0.1, 1e30],
        "s": [*CODES, "A", "ABAA", "ß", "é\n", " A ", "AA\n"], "p": [True, False],
        "at": [0, -1, 1, 1_372_712_400_000_000, 1_362_898_800_000_000, -60_000_000_000_000_000, 250_000_000_000_000_000],
        "d": [0, -1, 15_000, -700_000, 2_900_000], "long": [0, 1, -1, 10_800_000_000],
    }  # fmt: skip
    like = {"j": "i", "y": "x", "t": "s", "q": "p", "there": "at", "naive": "at"}
    spread = {"i": 3000, "small": 100, "at": 2 * 10**15, "d": 20_000, "long": 10**12}
    made = []
    for _ in range(count):
        row: list[Any] = []
        for name in SCHEMA:
            kind = like.get(name, name)
            value = chance.choice([*edges[kind], None])
            if kind in spread and chance.random() < 0.6:
                value = chance.randint(-spread[kind], spread[kind])
            elif kind == "x" and chance.random() < 0.5:
                value = chance.uniform(-400, 400)
            row.append(value)
        made.append(tuple(row))
    return made


@pytest.mark.parametrize("expression", EACH, ids=lambda e: str(e)[:60])
def test_each_part_of_the_vocabulary_gives_the_same_bits(expression: pl.Expr) -> None:
    node = Expressions(SCHEMA).compile(expression)
    rows = many_rows(400)
    try:
        expected = physical(frame(rows).select(it=expression).to_series())
    except pl.exceptions.PolarsError:  # one row of them breaks a strict cast: then row by row
        expected = None
    equal = 0
    for at, row in enumerate(rows):
        try:
            value = node.evaluate(row)
        except Declined:
            continue
        wanted = expected[at] if expected is not None else in_polars(expression, row)
        assert bits(value) == bits(wanted), row
        equal += 1
    assert equal > len(rows) / 8


EXAMPLE = dict(zip(SCHEMA, (1 << 62, 0, 100, 1.0, 0.0, 0.5, "AA", "x", True, None, 0, 0, 0, 0, 0), strict=True))


@pytest.mark.parametrize(
    "expression",
    [
        pl.col("i") * 4,  # wraps around
        pl.col("small") * 100,
        pl.col("x") / pl.col("y"),
        pl.col("x") * 1e308 * 10 - pl.col("x") * 1e308 * 10 > 1,  # NaN, which polars orders and Python does not
        pl.date(2013, pl.lit(2), pl.col("small")),
        pl.col("i") > pl.col("x"),  # no float64 equals this integer closely enough to be sure
        pl.col("s").cast(pl.Enum(["BB"])),
        pl.col("i").cast(pl.Float32),
        pl.col("x").cast(pl.Int8) + pl.col("small") * 2,
    ],
)
def test_doubtful_values_are_left_to_polars(expression: pl.Expr) -> None:
    node = Expressions(SCHEMA).compile(expression)
    with pytest.raises(Declined):
        node.evaluate(tuple(EXAMPLE.values()))


@pytest.mark.parametrize(
    "expression",
    [
        pl.col("i").sum(),
        pl.col("i").shift(1),
        pl.col("x").mean().over("s"),
        pl.col("single") + 1,
        pl.col("s") + pl.col("t"),
        pl.col("i").map_elements(lambda v: v, return_dtype=pl.Int64),
        pl.col("s").str.to_integer(),
        pl.col("not_there"),
        pl.col("i") + pl.col("s"),
        pl.col("s").is_in(["a", None]),
        pl.col("d") + pl.col("long"),
        pl.lit(pl.Series([1, 2])),
        pl.all(),
    ],
)
def test_what_is_not_known_is_left_to_polars(expression: pl.Expr) -> None:
    with pytest.raises(NotInVocabulary):
        Expressions(SCHEMA).compile(expression)


def test_the_flights_need_no_frame() -> None:
    assert Designer(FLIGHTS).dtypes.keys() == FLIGHTS.features.keys()
    assert Reader(FLIGHTS.input("flights").contract).columns


def test_what_polars_is_asked_is_remembered_within_bounds() -> None:
    node = Expressions(SCHEMA).compile(pl.col("s").str.to_uppercase())
    row = list(EXAMPLE.values())
    for number in range(5000):
        row[list(SCHEMA).index("s")] = f"a{number}"
        assert node.evaluate(row) == f"A{number}"

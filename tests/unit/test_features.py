"""Designed frames: their columns and order, what lookups and labels bring, the canonical order and the digest."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from schemas.errors import UsageError
from schemas.usecase import Lookup
from schemas.usecases.flights import FLIGHTS, Flights, Weather
from tasks.features.engineering import BLOCK, TARGET, design, with_labels
from tasks.features.keys import key_hash
from tasks.features.row_order import _plain, digest_of_sorted, in_canonical_order
from tests.modelling_kit import START, Outcomes, case, frame, shuffled, tables, timeless

FIFTH = pl.int_range(pl.len()) == 5
COLUMNS = ["at", "shop", "number", "_block", "hour", "colour_of", "size", "price"]


def designed(use_case=None, orders=None, prices=None):
    known_orders, known_prices, _ = tables()
    rows = known_orders if orders is None else orders
    looked_up = known_prices if prices is None else prices
    return design(use_case or case(), rows.lazy(), {"prices": looked_up.lazy()})


def test_a_designed_frame_keeps_every_row_in_its_order():
    orders = shuffled(tables()[0], 5)
    made = designed(orders=orders).collect()
    assert made.columns == COLUMNS
    assert made.select("at", "shop", "number").equals(orders.select("at", "shop", "number"))


def test_a_large_input_to_look_up_in_does_not_turn_the_rows():
    """A join follows the larger side's order where nothing forbids it."""
    prices = tables()[1]
    more = pl.concat([prices, *[prices.with_columns(shop=pl.col("shop") + str(i)) for i in range(2000)]])
    orders = shuffled(tables()[0], 5)
    made = designed(orders=orders, prices=shuffled(more, 3)).collect()
    assert made.select("at", "shop", "number").equals(orders.select("at", "shop", "number"))


def test_what_is_not_found_or_not_listed_is_null():
    orders, prices, _ = tables()
    odd = orders.head(3).with_columns(shop=pl.lit("nowhere"), colour=pl.Series(["red", "mauve", None]))
    made = designed(orders=odd, prices=prices).collect()
    assert made["price"].to_list() == [None] * 3
    assert made["colour_of"].to_list() == ["red", None, None]


def test_one_row_alone_is_designed_as_among_many():
    many = designed().collect()
    for i in (0, 77, 2000):
        assert designed(orders=tables()[0][i : i + 1]).collect().equals(many[i : i + 1])


def test_a_key_twice_in_a_looked_up_input_multiplies_no_rows():
    prices = tables()[1]
    with pytest.raises(pl.exceptions.ComputeError, match="validation"):
        designed(prices=pl.concat([prices, prices.head(1)])).collect()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": {"number": pl.col("number")}}, "'number' is a key or time column"),
        ({"features": {"_x": pl.col("size")}}, "'_x' starts with an underscore"),
        ({"lookups": (Lookup(input="prices", on={}, columns={"size": "price"}),)}, "'size' is a column of the rows"),
        ({"lookups": (Lookup(input="prices", on={"shop": pl.col("shop")}, columns={}),)}, "every key column"),
    ],
)
def test_names_that_clash_and_lookups_by_half_a_key_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        designed(replace(case(), **change))


def test_a_missing_input_is_refused_by_name():
    with pytest.raises(UsageError, match="'prices' are needed"):
        design(case(), tables()[0].lazy(), {})


def test_the_newest_known_label_counts_also_when_it_takes_an_outcome_back():
    orders, _, outcomes = tables()
    first = outcomes.filter(pl.col("number") == orders["number"][0])
    later = pl.concat([first.with_columns(delay=pl.lit(value), known_at=pl.col("known_at") + timedelta(days=day))
                       for value, day in ((9.0, 1), (None, 2))]).cast(Outcomes.dtypes())  # fmt: skip
    labels = shuffled(pl.concat([outcomes, later]), 3).lazy()
    known = first["known_at"][0]
    moments = {known - timedelta(hours=1): None, known + timedelta(days=1, hours=1): True, known + timedelta(days=3): None}
    for as_of, expected in moments.items():
        made = with_labels(case(), designed(), labels, as_of).collect()
        assert made.height == orders.height
        assert made[TARGET][0] is expected


def test_rows_may_hold_their_own_outcome():
    made = case()
    own = replace(made, labels=None, target=replace(made.target, value=pl.col("size") > 0))
    rows = tables()[0]
    found = with_labels(own, designed(own), rows.lazy()).collect()
    assert found[TARGET].to_list() == (rows["size"] > 0).to_list()


def row_digest(rows: pl.DataFrame) -> str:
    """The digest of rows in an order that their content gives."""
    plain = [_plain(column) for column in rows]
    return digest_of_sorted([pl.DataFrame(plain).sort(pl.all(), nulls_last=False)], rows.schema)


def test_canonical_order_and_digest_do_not_depend_on_delivery():
    frames = [frame(case(), order=order) for order in (None, 1, 2)]
    assert len({row_digest(f) for f in frames}) == 1
    assert in_canonical_order(case(), frames[1]).equals(in_canonical_order(case(), frames[2]))
    assert not frames[1].equals(frames[2])


@pytest.mark.parametrize(
    "change",
    [
        pl.when(FIFTH).then(pl.col("size") + 1e-3).otherwise(pl.col("size")).alias("size"),
        pl.when(~FIFTH).then(pl.col("size")).alias("size"),
        pl.col("size").alias("size_"),
        pl.when(FIFTH).then(pl.lit("green")).otherwise(pl.col("colour_of")).alias("colour_of"),
    ],
    ids=["value", "null", "name", "category"],
)
def test_the_digest_sees_every_change(change):
    made = frame(case()).with_columns(pl.col("colour_of").cast(pl.String).replace("green", "red"))
    assert row_digest(made.with_columns(change)) != row_digest(made)


def test_the_digest_ignores_what_is_no_content():
    made = pl.DataFrame({"k": ["a", "b"], "x": [0.0, 1.0], "c": pl.Series(["u", None], dtype=pl.Enum(["u", "v"]))})
    same = made.with_columns(x=pl.Series([-0.0, 1.0]), c=made["c"].cast(pl.Enum(["v", "u"])))
    assert row_digest(made) == row_digest(same) == row_digest(made.reverse())
    assert row_digest(made).startswith("e05109ac2a23")  # with any version of polars, on any machine
    moved = pl.DataFrame({"k": ["ab", "c"], "l": ["d", "e"]}), pl.DataFrame({"k": ["a", "bc"], "l": ["d", "e"]})
    assert row_digest(moved[0]) != row_digest(moved[1])


def test_keys_hash_alike_in_every_process():
    program = "from tests.modelling_kit import *; from tasks.features import key_hash; " \
        "print(tables()[0].head(3).select(key_hash(case())).to_series().to_list())"  # fmt: skip
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120).stdout
    assert told.strip() == str(tables()[0].head(3).select(key_hash(case())).to_series().to_list())


def test_blocks_are_days_or_random_groups():
    assert frame(case())[BLOCK].n_unique() == 40
    assert 10 < frame(timeless())[BLOCK].n_unique() <= 20


def test_the_flights_weather_is_that_of_three_hours_before():
    hours = [START - timedelta(hours=h) for h in range(6)]
    weather = pl.DataFrame({"time_hour": hours, "origin": "JFK", "visib": [float(h) for h in range(6)]})
    flight = {"time_hour": START, "carrier": "AA", "flight": 1, "origin": "JFK", "dest": "BOS", "hour": 18, "minute": 30}
    flight |= {"year": 2013, "month": 7, "day": 1, "sched_arr_time": 2030}
    rows, looked_up = [
        pl.concat([given, pl.DataFrame(schema=contract.dtypes())], how="diagonal_relaxed").cast(contract.dtypes())
        for given, contract in ((pl.DataFrame([flight]), Flights), (weather, Weather))
    ]
    made = design(FLIGHTS, rows.lazy(), {"weather": looked_up.lazy()}).collect()
    assert made.select("visib", "departure_minute", "scheduled_minutes").row(0) == (3.0, 18 * 60 + 30, 120.0)

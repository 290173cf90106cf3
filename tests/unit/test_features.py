"""Designed frames: their columns and order, what lookups and labels bring, the canonical order and the digest."""

import hashlib
import itertools
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from schemas.contract import Contract, column
from schemas.errors import UsageError
from schemas.usecase import Input, Lookup
from schemas.usecases.flights import FLIGHTS, Flights, Weather
from tasks.features.engineering import (
    BLOCK,
    TARGET,
    block,
    design,
    identity_columns,
    newest_labels,
    numeric_target,
    with_labels,
    with_outcome,
)
from tasks.features.keys import key_hash, key_text, receipt_inputs
from tasks.features.row_order import _plain, digest_of_sorted, even_batches, in_canonical_order, is_sorted, sort_order
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


# Labels: which one counts


KNOWN_AT = START + timedelta(days=2)


def labelled(delays, known_at, as_of=None):
    """The outcome of one order whose labels came in this order; both ways of reading them agree where all count."""
    key = {"at": START, "shop": "north", "number": 7}
    labels = pl.DataFrame([key | {"delay": delay, "known_at": at} for delay, at in zip(delays, known_at, strict=True)])
    labels = labels.cast(Outcomes.dtypes())
    row = pl.DataFrame([key]).cast({name: Outcomes.dtypes()[name] for name in key})
    outcome = with_labels(case("regression"), row.lazy(), labels.lazy(), as_of).collect()[TARGET].item()
    if as_of is None:
        newest = newest_labels(case("regression"), labels)
        assert newest.select(TARGET, "_known").rows() == [(outcome, True)]
    return outcome


@pytest.mark.parametrize(
    ("hours", "outcome"), [(-1, None), (0, 1.0), (1, 1.0), (23, 1.0), (24, 2.0), (25, 2.0), (None, 2.0)]
)
def test_a_label_counts_from_the_very_moment_at_which_it_became_known(hours, outcome):
    as_of = None if hours is None else KNOWN_AT + timedelta(hours=hours)
    known = [KNOWN_AT, KNOWN_AT + timedelta(hours=24)]
    assert labelled([1.0, 2.0], known, as_of) == outcome
    assert labelled([2.0, 1.0], known[::-1], as_of) == outcome  # in whatever order they were delivered


def test_the_newest_label_counts_and_not_the_largest():
    known = [KNOWN_AT, KNOWN_AT + timedelta(hours=1)]
    assert labelled([5.0, 2.0], known) == 2.0
    assert labelled([5.0, None], known) is None


def test_rows_without_an_outcome_are_left_out_and_a_frame_without_such_is_not_copied():
    whole = pl.DataFrame({TARGET: [True, False]})
    assert with_outcome(whole) is whole
    assert with_outcome(pl.DataFrame({TARGET: [True, None, False]}))[TARGET].to_list() == [True, False]


def test_outcomes_as_numbers():
    assert numeric_target("binary", pl.Series([True, False])).tolist() == [1.0, 0.0]
    classes = pl.Series(["late", "early"], dtype=pl.Enum(["early", "on time", "late"]))
    assert numeric_target("multiclass", classes).tolist() == [2.0, 0.0]
    found = numeric_target("regression", pl.Series([1.5, None]))
    assert (found.dtype, found[0], np.isnan(found[1])) == (np.float64, 1.5, True)


# Keys, blocks and names


def test_a_keys_parts_are_kept_apart():
    """In one text without a separator, AB and C would be the key of A and BC."""

    class Flight(Contract):
        carrier: str = column()
        tail: str = column()

        class Config:
            unique = ["carrier", "tail"]

    made = replace(case(), inputs=(Input(name="orders", contract=Flight), *case().inputs[1:]))
    found = pl.DataFrame({"carrier": ["ab", "a"], "tail": ["c", "bc"]}).select(key_text(made), hash=key_hash(made))
    assert found.to_series(0).to_list() == ["ab\x1fc", "a\x1fbc"]
    assert found["hash"].n_unique() == 2


def test_a_key_is_its_parts_as_whole_numbers_and_text():
    row = tables()[0].head(1)
    text = f"{int(row['at'][0].timestamp() * 1_000_000)}\x1f{row['shop'][0]}\x1f{row['number'][0]}"
    assert row.select(key_text(case())).item() == text
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    assert row.select(key_hash(case())).item() == int.from_bytes(digest, "little")


def test_a_block_is_what_is_declared_else_the_day_else_one_of_twenty_groups():
    row = tables()[0].slice(700, 1)
    assert row.select(block(replace(case(), block=pl.col("shop")))).item() == row["shop"][0]
    assert row.select(block(case())).item() == row["at"][0].date() == date(2024, 1, 12)
    assert row.select(block(timeless())).item() == row.select(key_hash(case())).item() % 20


def test_a_row_is_named_by_its_key_and_its_time_each_once_and_ordered_by_time_first():
    assert identity_columns(case()) == ["at", "shop", "number"]
    assert identity_columns(timeless()) == ["at", "shop", "number"]
    orders, *others = case().inputs

    class Numbered(Contract):
        number: int = column()

        class Config:
            unique = ["number"]

    made = replace(case(), inputs=(replace(orders, contract=Numbered), *others))
    assert identity_columns(made) == ["number", "at"]
    assert sort_order(made) == ["at", "number"]
    assert sort_order(replace(made, inputs=(replace(orders, contract=Numbered, time=None), *others))) == ["number"]


def test_a_slice_that_is_a_feature_or_a_key_stands_once():
    made = replace(case(), slices=("shop", "colour_of", "colour"))
    assert designed(made).collect().columns == ["at", "shop", "number", "_block", "colour", *COLUMNS[4:]]


def test_private_values_are_hashed_or_left_out_of_receipts():
    class Person(Contract):
        person: str = column(private=True)
        street: str = column(private="hashed", nullable=True)
        born: pl.Date = column(private="hashed")
        age: int = column()

    made = replace(case(), inputs=(Input(name="orders", contract=Person), *case().inputs[1:]))
    people = {"person": ["Ann", "Bob"], "street": ["High", None], "born": [date(1970, 1, 3)] * 2, "age": [54, 20]}
    found = pl.DataFrame(people).select(receipt_inputs(made, ["person", "street", "born", "age"]))["inputs"].to_list()

    def pseudonym(text):
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    assert found[0] == {"street": pseudonym("High"), "born": pseudonym("2"), "age": 54}
    assert found[1] == {"street": None, "born": pseudonym("2"), "age": 20}


# Order and digest


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], True),
        ([(2, "b")], True),
        ([(1, "b"), (2, "a")], True),
        ([(2, "a"), (1, "b")], False),
        ([(1, "a"), (1, "b")], True),
        ([(1, "b"), (1, "a")], False),
        ([(1, "a"), (1, "a")], True),
        ([(1, "a"), (1, "c"), (1, "b")], False),
        ([(1, "b"), (2, "c"), (2, "a"), (3, "a")], False),
        ([(1, "b"), (2, "a"), (2, "c"), (3, "a")], True),
        ([(1, None), (1, "a")], False),  # not known to be: sorting will tell
    ],
)
def test_rows_are_sorted_where_each_follows_the_one_before_by_the_first_column_that_differs(pairs, expected):
    rows = pl.DataFrame(pairs, schema={"n": pl.Int64, "s": pl.String}, orient="row")
    assert is_sorted(rows, ["n", "s"]) is expected


def test_canonical_order_is_by_time_and_then_by_key():
    later, same = START + timedelta(hours=1), START
    rows = pl.DataFrame({"at": [later, same, same, same], "shop": ["a", "b", "a", "a"], "number": [1, 2, 4, 3]})
    assert in_canonical_order(case(), rows)["number"].to_list() == [3, 4, 2, 1]
    assert in_canonical_order(case(), rows.sort("at", "shop", "number"))["number"].to_list() == [3, 4, 2, 1]


@pytest.mark.parametrize(
    ("heights", "rows", "batches"),
    [([3, 4], 5, [5, 2]), ([5, 5], 5, [5, 5]), ([12], 5, [5, 5, 2]), ([1, 0, 1, 1], 2, [2, 1]), ([0], 2, []), ([], 2, [])],
)
def test_even_batches_hold_the_same_rows_in_the_same_order(heights, rows, batches):
    begins = np.cumsum([0, *heights])
    frames = [pl.DataFrame({"n": range(a, b)}, schema={"n": pl.Int64}) for a, b in itertools.pairwise(begins)]
    found = list(even_batches(frames, rows))
    assert [batch.height for batch in found] == batches
    assert [n for batch in found for n in batch["n"]] == list(range(sum(heights)))


def test_a_digest_does_not_depend_on_how_rows_are_cut_but_on_their_order_type_and_nulls(monkeypatch):
    monkeypatch.setattr("tasks.features.row_order.CHUNK", 2)
    rows = pl.DataFrame({"n": [1, None, 3, 4, 5], "s": ["a", "", None, "bc", "d"], "b": [True, False, None, True, True]})
    whole = digest_of_sorted([rows], rows.schema)
    assert whole == digest_of_sorted([rows[:1], rows[1:4], rows[4:]], rows.schema)
    others = [
        rows.reverse(),
        rows.with_columns(pl.col("n").fill_null(0)),
        rows.with_columns(pl.col("s").fill_null("")),
        rows.with_columns(pl.col("b").fill_null(False)),
        rows.with_columns(pl.col("b").cast(pl.UInt8)),
        rows.with_columns(s=pl.Series(["a", "", None, "b", "cd"])),
        rows[:4],
    ]
    assert len({whole, *(digest_of_sorted([other], other.schema) for other in others)}) == 8


def test_an_instant_is_of_another_kind_than_a_number():
    at = pl.DataFrame({"at": [START]})
    number = at.select(pl.col("at").to_physical())
    assert digest_of_sorted([at], at.schema) != digest_of_sorted([number], number.schema)

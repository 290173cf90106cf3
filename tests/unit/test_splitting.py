"""Where the cuts lie, on ten rows that can be counted by hand: one at noon of each day, unless said otherwise."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from schemas.usecase import Split
from tasks.features.engineering import BLOCK, TARGET
from tasks.features.splitting import split_by_time
from tests.modelling_kit import START, case, shuffled, timeless

NOON = [day + 0.5 for day in range(10)]


def rows(days=NOON, blocks=None):
    at = [START + timedelta(days=day) for day in days]
    return pl.DataFrame(
        {"at": at, "shop": "north", "number": range(len(days)), BLOCK: blocks or [int(day) for day in days], TARGET: True}
    )


def numbers(frame, holdout, stopping, after=None, made=None):
    """The rows of training, stopping and holdout by number."""
    asked = replace(made or case(), split=Split(holdout_days=holdout, stopping_days=stopping))
    seen = None if after is None else START + timedelta(days=after)
    return [part["number"].to_list() for part in split_by_time(asked, shuffled(frame, 3), after=seen)]


def test_the_newest_days_are_held_out_and_those_before_them_stop_the_boosting():
    assert numbers(rows(), 2, 3) == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9]]
    assert numbers(rows(), 1, 1) == [[0, 1, 2, 3, 4, 5, 6, 7], [8], [9]]


def test_a_part_begins_with_the_first_block_that_begins_in_its_days():
    """Blocks of two days: of the newest three days the first belongs to a block that began before them."""
    blocks = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert numbers(rows(blocks=blocks), 3, 3) == [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9]]


@pytest.mark.parametrize(("begins", "held"), [(5, [4, 5]), (4, [3, 4, 5]), (3.5, [3, 4, 5])])
def test_blocks_that_touch_in_time_are_cut_by_time_alone(begins, held):
    """Days 0 and 4 are one block, another begins then or later and ends at 8, a third has days 9 and 10."""
    frame = rows([0, 4, begins, 8, 9, 10], blocks=[0, 0, 1, 1, 2, 2])
    assert numbers(frame, 3, 1)[2] == held


def test_what_a_champion_has_seen_is_not_held_out():
    assert numbers(rows(), 2, 3, after=8.5) == [[0, 1, 2, 3, 4, 5], [6, 7, 8], [9]]
    assert numbers(rows(), 2, 3, after=8.4) == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9]]
    assert numbers(rows(), 2, 3, after=1.0) == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9]]
    assert numbers(rows(), 2, 3, after=9.5) == [[0, 1, 2, 3, 4, 5, 6], [7, 8, 9], []]


def test_a_holdout_of_all_days_leaves_nothing_to_fit_on():
    assert numbers(rows(), 30, 2) == [[], [], list(range(10))]
    assert numbers(rows(), 2, 30) == [[], list(range(8)), [8, 9]]


def test_a_row_without_an_outcome_is_in_no_part_and_moves_no_cut():
    newest = rows([*NOON, 10.5]).with_columns(pl.when(pl.col("number") != 10).then(TARGET).alias(TARGET))
    assert numbers(newest, 2, 3) == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9]]


def test_without_event_times_the_hash_of_the_key_is_the_rows_place():
    """BLAKE2b of the key's text, as a share of all hashes: below 0.2 held out, below 0.35 for stopping."""
    frame = rows([0.5] * 300)
    parts = split_by_time(timeless(), frame)
    instant = int((START + timedelta(days=0.5)).timestamp() * 1_000_000)
    for number in range(300):
        text = f"{instant}\x1fnorth\x1f{number}".encode()
        share = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") / 2**64
        expected = 2 if share < 0.2 else 1 if share < 0.35 else 0
        assert [number in part["number"] for part in parts] == [at == expected for at in range(3)]

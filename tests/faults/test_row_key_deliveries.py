"""Deliveries of rows without a key: a cumulative export adds what is new, whatever is killed, repeated or shuffled."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from schemas.row_key import ROW_OCCURRENCE, ROW_VALUE
from tests.faults.children import killed, run
from tests.faults.test_deliveries import POINTS
from tests.row_key_kit import COLOURED, GROWING, SALES, SCRIPT, counted, deliver, named, on_main, sales, save

A, B = sales(40, seed=1, hours=1), sales(25, seed=2, hours=1)
BOTH = pl.concat([A, B])


@pytest.fixture
def url(tmp_path: Path) -> str:
    return (tmp_path / "lake").as_uri()


def keys_are_whole(url: str) -> bool:
    """Whether the occurrences of each value run from 1 on, none twice and none left out."""
    rows = on_main(url).group_by(ROW_VALUE).agg(pl.col(ROW_OCCURRENCE).sort())
    return all(each.to_list() == list(range(1, len(each) + 1)) for each in rows[ROW_OCCURRENCE])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_cumulative_export_adds_only_what_is_new(url: str, tmp_path: Path, suffix: str) -> None:
    assert A.height - A.n_unique() > 5, "the files must hold equal rows"
    use_case = named(SALES)
    first, both, again, shuffled = (
        save(frame, tmp_path / f"{name}.{suffix}")
        for name, frame in {
            "a": A,
            "both": BOTH,
            "again": A.select(sorted(A.columns)),  # the same rows in other bytes
            "b": B.sample(fraction=1.0, shuffle=True, seed=5),
        }.items()
    )
    assert deliver(use_case, url, str(first)) == "published, 0 before, 0 rejected"
    assert deliver(use_case, url, str(both)) == f"published, {A.height} before, 0 rejected"
    assert counted(on_main(url)) == counted(BOTH)
    assert deliver(use_case, url, str(again)) == f"published, {A.height} before, 0 rejected"
    assert deliver(use_case, url, str(shuffled)) == f"published, {B.height} before, 0 rejected"
    assert deliver(use_case, url, str(first)) == "already done"
    assert counted(on_main(url)) == counted(BOTH)
    assert keys_are_whole(url)


@pytest.mark.parametrize("point", POINTS)
def test_each_delivery_killed_half_way_is_finished_by_a_rerun(url: str, tmp_path: Path, point: str) -> None:
    use_case = named(SALES)
    files = [
        save(frame, tmp_path / f"{name}.csv")
        for name, frame in {"a": A, "both": BOTH, "again": A.reverse(), "b": B.sample(fraction=1.0, shuffle=True)}.items()
    ]
    for path in files:
        assert killed(run(SCRIPT, use_case, url, str(path), kill_point=point))
        said = deliver(use_case, url, str(path))
        assert said == "already done" or said.endswith("before, 0 rejected")
    assert counted(on_main(url)) == counted(BOTH)
    assert keys_are_whole(url)


def test_of_three_equal_rows_of_which_two_are_there_one_is_added(url: str, tmp_path: Path) -> None:
    one = A.head(1)
    deliver(named(SALES), url, str(save(pl.concat([one, one]), tmp_path / "two.csv")))
    said = deliver(named(SALES), url, str(save(pl.concat([one, one, one]), tmp_path / "three.csv")))
    assert said == "published, 2 before, 0 rejected"
    assert sorted(on_main(url)[ROW_OCCURRENCE]) == [1, 2, 3]


def test_append_takes_every_row_and_counts_on_from_main(url: str, tmp_path: Path) -> None:
    for name, frame in {"a": A, "b": B, "again": A.reverse()}.items():
        assert deliver(named(GROWING), url, str(save(frame, tmp_path / f"{name}.csv"))) == "published, 0 before, 0 rejected"
    assert counted(on_main(url)) == counted(pl.concat([BOTH, A]))
    assert keys_are_whole(url)
    path = save(B.reverse(), tmp_path / "killed.csv")
    assert killed(run(SCRIPT, named(GROWING), url, str(path), kill_point="store.after_commit"))
    deliver(named(GROWING), url, str(save(B.head(3), tmp_path / "between.csv")))
    deliver(named(GROWING), url, str(path))
    assert counted(on_main(url)) == counted(pl.concat([BOTH, A, B, B.head(3)]))
    assert keys_are_whole(url)


def test_a_column_that_comes_or_goes_makes_no_row_a_new_one(url: str, tmp_path: Path) -> None:
    deliver(named(SALES), url, str(save(A, tmp_path / "a.csv")))
    colours = BOTH.with_columns(colour=pl.Series(["red", "blue", None, "red"] * BOTH.height).head(BOTH.height))
    said = deliver(named(COLOURED), url, str(save(colours, tmp_path / "coloured.csv")))
    assert said == f"published, {A.height} before, 0 rejected"
    assert counted(on_main(url).drop("returned")) == counted(BOTH.drop("returned"))
    said = deliver(named(COLOURED), url, str(save(colours.reverse(), tmp_path / "again.csv")))
    assert said == f"published, {BOTH.height} before, 0 rejected"
    more = pl.concat([BOTH, A.head(1)])
    said = deliver(named(SALES), url, str(save(more, tmp_path / "without.csv")))
    assert said == f"published, {BOTH.height} before, 0 rejected"
    assert counted(on_main(url).drop("returned")) == counted(more.drop("returned"))


def test_a_row_that_was_rejected_is_taken_when_it_is_mended(url: str, tmp_path: Path) -> None:
    one = A.head(1).with_columns(returned=pl.lit("true"))
    spoiled = pl.concat([one.with_columns(returned=pl.lit("perhaps")), one])
    said = deliver(named(SALES), url, str(save(spoiled, tmp_path / "spoiled.csv")))
    assert said == "published, 0 before, 1 rejected"
    said = deliver(named(SALES), url, str(save(pl.concat([one, one]), tmp_path / "mended.csv")))
    assert said == "published, 1 before, 0 rejected"
    assert on_main(url).height == 2
    assert keys_are_whole(url)

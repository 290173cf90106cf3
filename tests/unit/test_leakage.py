"""Eight kinds of leak are caught, and clean columns are left alone."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from deployments.scaffold.draft import Draft, NewUseCaseOptions, draft
from deployments.scaffold.render_module import module
from deployments.scaffold.sampling import read
from deployments.scaffold.trial_audit import loaded
from schemas.contract import Contract, column, confirmed_features
from schemas.verdicts import Leak
from tasks.evaluation.leakage import find_leaks, repeated_rows, shared_rows
from tests.modelling_kit import START
from tests.skill_kit import KINDS, file_of
from tests.unit.test_skill import judged

ROWS = 600


def members(kind: str = "binary", seed: int = 1) -> pl.DataFrame:
    return file_of(kind, ROWS, seed, effect=1.0)  # type: ignore[arg-type]


def where(condition: pl.Expr, value: str) -> pl.Expr:
    return pl.when(condition).then(pl.lit(value))


YES = pl.col("outcome") == "yes"
PLANTED: dict[str, tuple[str, Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "other words": ("binary", lambda f: f.with_columns(x=where(YES, "OPEN").otherwise(pl.lit("SHUT"))), "in other words"),
    "other words, classes": (
        "multiclass",
        lambda f: f.with_columns(x=pl.col("outcome").replace_strict({"leaves": 7, "stays": 1, "upgrades": 3})),
        "in other words",
    ),
    "times a constant": ("regression", lambda f: f.with_columns(x=(pl.col("outcome") * 1.19).round(2)), "another unit"),
    "filled for one class": ("multiclass", lambda f: f.with_columns(x=where(pl.col("outcome") == "leaves", "q")), "filled"),
    "filled for some of one class": (
        "binary",
        lambda f: f.with_columns(x=where(YES & (pl.col("age") % 2 == 0), "q").otherwise(None)),
        "filled only where outcome is yes",
    ),
    "a number for one class only": (
        "binary",
        lambda f: f.with_columns(x=pl.when(YES).then(pl.col("spent").round(0) + 1).otherwise(0.0)),
        "0 just where outcome is no",
    ),
    "row order": ("binary", lambda f: f.sort("outcome").with_row_index("x"), "sorted by outcome"),
    "name": (
        "binary",
        lambda f: f.with_columns(closing_note=where(YES ^ (pl.int_range(pl.len()) % 25 == 0), "b").otherwise(pl.lit("a"))),
        "its name speaks",
    ),
    "threshold": (
        "binary",
        lambda f: f.with_columns(x=pl.when(YES).then(pl.col("spent") + 90).otherwise(-pl.col("spent"))),
        "threshold",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_for_a_person_to_confirm(name: str) -> None:
    kind, plant, says = PLANTED[name]
    found = find_leaks(plant(members(kind)), "outcome", kind, ignore=["member_id"])  # type: ignore[arg-type]
    assert [leak.column for leak in found if leak.confirm] == ["closing_note" if name == "name" else "x"]
    assert says in found[0].why


def test_a_time_after_the_event_is_known_later_unless_it_is_planned() -> None:
    frame = file_of("binary", ROWS, 1, dated=True)
    later = frame.with_columns(seen=pl.col("joined") + timedelta(days=3), due_on=pl.col("joined") + timedelta(days=3))
    found = find_leaks(later, "outcome", "binary", time="joined", ignore=["member_id"])
    assert [(leak.column, leak.confirm) for leak in found] == [("seen", True)]


def test_strong_alone_is_a_warning() -> None:
    odour = where(YES ^ (pl.int_range(pl.len()) % 100 == 0), "foul").otherwise(pl.lit("none"))
    [leak] = find_leaks(members().with_columns(smell=odour), "outcome", "binary", ignore=["member_id"])
    assert (leak.column, leak.confirm) == ("smell", False)
    assert leak.why.startswith("tells outcome almost alone (AUC 0.9")


def test_rows_that_are_there_twice_are_counted_beyond_chance() -> None:
    frame = members().drop("member_id")
    assert repeated_rows(pl.concat([frame, frame.head(200)]), frame.columns) == pytest.approx(0.25)
    assert repeated_rows(frame.select("plan", "city"), ["plan", "city"]) == 0
    assert shared_rows(frame, pl.concat([frame.head(30), members(seed=2).drop("member_id").head(90)])) == 0.25
    assert shared_rows(frame.select("plan"), members(seed=2).select("plan")) == 0


def test_thirty_clean_files_have_at_most_three_columns_marked() -> None:
    marked = []
    for seed in range(10):
        for kind in KINDS:
            effect, dated = (0.0, 0.5, 1.0, 2.0)[seed % 4], bool(seed % 2)
            rows = (150, 600, 3_000)[seed % 3]
            frame = realistic(file_of(kind, rows, 40 + seed, effect=effect, dated=dated), seed)
            time = "joined" if dated else None
            marked += find_leaks(frame, "outcome", kind, time=time, ignore=["member_id"])
    assert len(marked) <= 3, marked


def realistic(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """With gaps that follow another column, a counter in the order of delivery, a birthday, and telling names."""
    rng = np.random.default_rng(seed)
    return frame.with_columns(
        pl.when(pl.col("plan") != "student").then(pl.col("visits")).alias("visits"),
        born=pl.Series([date(1940, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 25_000, frame.height)]),
        status=pl.Series(rng.choice(["new", "old"], frame.height)),
        last_result=pl.Series(rng.normal(size=frame.height)),
        number=pl.int_range(pl.len()),
    )


def drafted(frame: pl.DataFrame, tmp_path: Path) -> Draft:
    frame.write_csv(tmp_path / "members.csv")
    return draft("members", "members.csv", read(tmp_path / "members.csv"), NewUseCaseOptions("outcome"))


def test_new_leaves_it_out_and_one_word_brings_it_back(tmp_path: Path) -> None:
    plan = drafted(PLANTED["other words"][1](members()), tmp_path)
    source = module(plan)
    assert "x" not in [name for name, _ in plan.features]
    assert any(note.startswith("x: known before the outcome? says outcome in other words") for note in plan.notes)
    assert "    # confirm: known before the outcome? says outcome in other words" in source
    with loaded(source, plan.constant, tmp_path) as case:
        assert "x" not in case.features
        assert "age" in case.features
        assert case.inputs[0].contract.known("confirm") == ("x",)
        assert "x" in case.inputs[0].contract.known("outcome")
    confirmed = source.replace('known="confirm"', 'known="at_prediction"')
    with loaded(confirmed, plan.constant, tmp_path) as case:
        assert "x" in case.features
        assert case.inputs[0].contract.stated() == {"x"}


def test_new_names_rows_that_are_there_twice(tmp_path: Path) -> None:
    frame = members()
    twice = pl.concat([frame, frame.head(200).with_columns(member_id="N" + pl.col("member_id").str.slice(1))])
    assert any(note.startswith("rows: 25% equal another") for note in drafted(twice, tmp_path).notes)


class Plain(Contract):
    a: int = column()
    b: int = column(known="outcome")

    class Config:
        unique = ["a"]


class Stated(Contract):
    a: int = column(known="at_prediction")
    b: int = column(known="outcome")

    class Config:
        unique = ["a"]


def test_a_persons_word_changes_no_contract() -> None:
    assert Plain.version() == Stated.version()
    assert (Plain.stated(), Stated.stated()) == (frozenset(), {"a"})
    assert list(confirmed_features(Plain, {"f": pl.col("a") + 1})) == ["f"]


def test_a_promotion_stops_on_what_is_to_be_confirmed_and_names_what_is_only_strong() -> None:
    asked = Leak(column="x", confirm=True, why="filled only where left is yes")
    strong = Leak(column="y", confirm=False, why="tells left almost alone (AUC 0.990)")
    gains = [0.3, 0.25, 0.2, 0.3, 0.35]
    refused = judged(gains, leaks=(asked, strong))
    assert refused.why.startswith("refused: confirm: known before the outcome? x: filled only where left is yes; write ")
    assert [check.name for check in refused.checks if not check.passed] == ["leakage"]
    warned = judged(gains, leaks=(strong,))
    assert warned.promoted
    assert warned.checks[-1].detail == "y: tells left almost alone (AUC 0.990)"
    assert "leakage" not in [check.name for check in judged(gains).checks]


def test_the_newest_event_is_no_leak_of_its_own() -> None:
    times = pl.DataFrame({"at": [START + timedelta(hours=n) for n in range(100)], "y": [n % 2 for n in range(100)]})
    assert find_leaks(times, "y", "binary", time="at") == ()

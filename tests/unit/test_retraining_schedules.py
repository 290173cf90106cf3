"""The schedules that a replay compares the loop with train as the loop does: to the byte, on the same rows."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from schemas.usecase import UseCase
from tasks.features.row_order import in_canonical_order
from tasks.replay.retraining_schedules import ROUNDS_HOLD, _Learner
from tasks.training import engines
from tests import modelling_kit as kit
from tests.training_kit import CALIBRATED, KINDS, PLAIN

ROOT = Path(__file__).parents[2]
BEGIN = kit.START + timedelta(days=25)


def learner(case: UseCase) -> _Learner:
    rows = in_canonical_order(case, kit.frame(case).drop("_target"))
    return _Learner(case, rows, kit.tables()[2], label_delay=None)


def known_at(case: UseCase, day: int) -> pl.DataFrame:
    """Rows whose outcome is known on a day: labels come a day late."""
    rows = in_canonical_order(case, kit.frame(case))
    return rows.filter(pl.col("_target").is_not_null(), pl.col("at") <= kit.START + timedelta(days=day - 1))


def loop(case: UseCase, begun: pl.DataFrame, now: pl.DataFrame) -> bytes:
    """A model as the loop ships it: recipe of a challenger fitted on `begun`, refitted on all rows of `now`."""
    recent = pl.col("at") > begun["at"].max() - timedelta(days=case.split.stopping_days)  # type: ignore[operator]
    parts = engines.Split(begun.filter(~recent), begun.filter(recent), begun.clear(), now)
    challenger = engines.fit_split(case, parts, "memory", "cpu")
    return engines.refit_split(case, parts, challenger.best_rounds, challenger.calibration, "memory", "cpu").model


@pytest.mark.parametrize("case", [PLAIN, CALIBRATED, *KINDS.values()], ids=lambda case: case.name)
def test_a_schedule_makes_the_bytes_that_the_loop_would_ship(case: UseCase) -> None:
    schedule = learner(case)
    first = schedule.train(BEGIN).model
    assert first == loop(case, known_at(case, 25), known_at(case, 25))
    second = schedule.train(BEGIN + timedelta(days=7)).model  # the recipe of the first, on a week more
    assert second == loop(case, known_at(case, 25), known_at(case, 32)) != first


def test_a_schedule_seeks_its_rounds_anew_every_so_often() -> None:
    schedule = learner(PLAIN)
    schedule.train(BEGIN - timedelta(days=15))
    early = schedule.recipe
    schedule.train(BEGIN - timedelta(days=15) + ROUNDS_HOLD - timedelta(hours=1))
    assert schedule.recipe is early
    schedule.train(BEGIN - timedelta(days=15) + ROUNDS_HOLD)
    assert schedule.recipe is not early
    assert schedule.model == loop(PLAIN, known_at(PLAIN, 38), known_at(PLAIN, 38))


def test_xgboost_trains_in_one_place() -> None:
    files = [path for wing in ("schemas", "tasks", "flows", "deployments") for path in (ROOT / wing).rglob("*.py")]
    call = re.compile(r"(xgb|xgboost|load_xgboost\(\))\.train\(")
    assert [str(path.relative_to(ROOT)) for path in files if call.search(path.read_text())] == ["tasks/training/fit.py"]

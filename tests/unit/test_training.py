import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import NotEnoughEvidence, UsageError
from schemas.usecase import UseCase
from tasks.scoring import booster, predict
from tasks.training import fit, refit, split_by_time
from tests.unit.problems import BINARY, PROBLEMS, REGRESSION, designed, orders

ROOT = Path(__file__).parents[2]


def parts(case: UseCase, rows: int = 4000) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    return tuple(split_by_time(case, designed(case, orders(rows))))  # type: ignore[return-value]


def test_the_split_is_by_time_with_whole_blocks_and_loses_no_row() -> None:
    train, stopping, holdout = parts(BINARY)
    assert train.height + stopping.height + holdout.height == 4000
    assert train["at"].max() < stopping["at"].min() < stopping["at"].max() < holdout["at"].min()  # type: ignore[operator]
    assert not set(holdout["_block"]) & set(stopping["_block"])


def test_the_holdout_is_newer_than_what_the_champion_saw() -> None:
    rows = designed(BINARY, orders())
    until = rows["at"].max() - timedelta(days=3)  # type: ignore[operator]
    assert split_by_time(BINARY, rows, after=until).holdout["at"].min() > until  # type: ignore[operator]
    assert split_by_time(BINARY, rows, after=rows["at"].max()).holdout.is_empty()  # type: ignore[arg-type]


def test_without_times_the_key_decides_and_new_rows_move_no_old_one() -> None:
    small, large = (split_by_time(REGRESSION, designed(REGRESSION, orders(n))) for n in (2000, 4000))
    for before, after in zip(small, large, strict=True):
        assert set(before["order"]) <= set(after["order"])
    assert 0.15 < large.holdout.height / 4000 < 0.25


@pytest.mark.parametrize("kind", PROBLEMS)
def test_each_kind_learns_what_there_is_to_learn(kind: str) -> None:
    case = PROBLEMS[kind]
    train, stopping, holdout = parts(case)
    fitted = fit(case, train, stopping)
    assert max(fitted.importances, key=fitted.importances.__getitem__) == "size"
    assert sum(fitted.importances.values()) == pytest.approx(1)
    scores = predict(case, booster(fitted.model), holdout)
    assert scores.shape == ((holdout.height, 3) if kind == "multiclass" else (holdout.height,))


def test_the_same_rows_give_the_same_bytes_whatever_the_order_and_threads() -> None:
    train, stopping, _ = parts(BINARY)
    fitted = fit(BINARY, train, stopping, threads=1)
    shuffled = [part.sample(fraction=1, shuffle=True, seed=9) for part in (train, stopping)]
    assert fit(BINARY, *shuffled, threads=2).model == fitted.model
    assert fit(BINARY, train.head(train.height - 1), stopping, threads=1).model != fitted.model
    assert refit(BINARY, train, fitted.best_rounds).model == fitted.model


def test_another_process_gives_the_same_bytes() -> None:
    program = (
        "import hashlib; from tests.unit.test_training import *\n"
        "train, stopping, _ = parts(BINARY)\n"
        "print(hashlib.sha256(fit(BINARY, train, stopping).model).hexdigest())"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] != ""


def test_one_class_only_is_not_enough_evidence() -> None:
    train, stopping, _ = parts(BINARY)
    with pytest.raises(NotEnoughEvidence, match="one class only"):
        fit(BINARY, train.filter("_target"), stopping)
    with pytest.raises(NotEnoughEvidence, match="no outcomes"):
        fit(BINARY, train.clear(), stopping)


@pytest.mark.parametrize("params", [{"max_depth": -1}, {"subsample": 7}, {"no_such_parameter": 1}, {"booster": "steam"}])
def test_a_parameter_that_xgboost_refuses_is_one_line(params: dict[str, object]) -> None:
    case = replace(BINARY, training=replace(BINARY.training, params=params))
    train, stopping, _ = parts(case)
    with pytest.raises(UsageError, match="cannot fit 'orders'") as caught:
        fit(case, train, stopping)
    assert "\n" not in str(caught.value)

"""The gate of a first model without event times: every row judges, each by a model that was not fitted on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from schemas.contract import Contract, column
from schemas.errors import NotEnoughEvidence
from schemas.usecase import GatePolicy, Input, Target, Training, UseCase
from tasks.features.splitting import fold_conditions, split_by_time
from tasks.training import cross_fit
from tasks.training.cross_fit import SMALL_HOLDOUT, Judgment, judge_in_folds
from tasks.training.engines import Split
from tasks.training.fit import Fitted, fit_booster


class Member(Contract):
    member: int = column()
    age: float = column()
    left: bool = column(known="outcome")

    class Config:
        unique = ["member"]


CASE = UseCase(
    name="folds",
    question="Will the member leave?",
    inputs=(Input(name="members", contract=Member),),
    rows="members",
    target=Target(kind="binary", name="left", value=pl.col("left"), classes=("stays", "leaves")),
    features={"age": pl.col("age")},
    training=Training(rounds=5),
    gate=GatePolicy(baseline="constant"),
)


def rows(count: int) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "member": np.arange(count),
            "age": rng.random(count),
            "_target": rng.random(count) < 0.5,
            "_block": np.arange(count) % 7,
        }
    )


def judged(count: int) -> tuple[pl.DataFrame, Judgment, Judgment]:
    known = rows(count)
    parts = split_by_time(CASE, known)
    known = pl.concat(parts)
    first = Judgment(parts.holdout, np.full(parts.holdout.height, -1.0), np.zeros(parts.holdout.height), None)
    return known, first, judge_in_folds(CASE, Split(*parts, known), first, "cpu")


def test_the_folds_part_the_rows_and_the_first_is_the_split() -> None:
    known = rows(2_000)
    held = [known.filter(fold_conditions(CASE, fold).holdout)["member"] for fold in range(5)]
    assert pl.concat(held).sort().to_list() == known["member"].to_list()
    assert sorted(held[0].to_list()) == split_by_time(CASE, known).holdout["member"].sort().to_list()
    for fold in range(5):
        cuts = fold_conditions(CASE, fold)
        assert known.filter(cuts.stopping & cuts.holdout).is_empty()
        assert known.filter(cuts.stopping).height == pytest.approx(300, rel=0.3)


def test_every_row_judges_by_a_model_that_was_not_fitted_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted_on: list[set[int]] = []

    def fit(case: UseCase, train: pl.DataFrame, stopping: pl.DataFrame, device: str) -> Fitted:
        fitted_on.append({*train["member"], *stopping["member"]})
        return fit_booster(case, train, stopping, device="cpu")

    monkeypatch.setattr(cross_fit, "fit_booster", fit)
    known, first, together = judged(400)
    assert together.folds == 5
    assert together.rows["member"].sort().to_list() == sorted(known["member"].to_list())
    assert len(together.scores) == len(together.baseline) == together.rows.height
    assert (together.scores[: first.rows.height] == -1.0).all()  # the first fold's are the challenger's own
    at = first.rows.height
    for seen in fitted_on:
        fold = set(known["member"]) - seen
        assert fold == set(together.rows["member"][at : at + len(fold)])
        at += len(fold)
    assert at == together.rows.height


def test_a_large_holdout_says_enough_by_itself() -> None:
    _, first, together = judged(6 * SMALL_HOLDOUT)
    assert together is first


def test_a_fold_that_cannot_be_fitted_leaves_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: object, **__: object) -> Fitted:
        raise NotEnoughEvidence("one class")

    monkeypatch.setattr(cross_fit, "fit_booster", fit)
    _, first, together = judged(300)
    assert together is first


def test_shares_that_do_not_divide_one_leave_rows_out_and_judge_none_twice() -> None:
    case = replace(CASE, split=replace(CASE.split, holdout_share=0.3))
    known = rows(1_000)
    held = pl.concat([known.filter(fold_conditions(case, fold).holdout)["member"] for fold in range(3)])
    assert held.is_unique().all()
    assert 850 < len(held) < 950

"""What a challenger must beat where a linear model fits best: that model, or on request the base rate alone."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from schemas.contract import Contract, column
from schemas.usecase import GatePolicy, Input, Target, Training, UseCase
from schemas.verdicts import GateVerdict
from tasks.evaluation.baseline_models import baseline_scores
from tasks.evaluation.gate import gate_challenger
from tasks.features.engineering import design, with_labels
from tasks.features.row_order import in_canonical_order
from tasks.features.splitting import split_by_time
from tasks.models.booster import load_booster, predict_scores
from tasks.training.fit import fit_booster


class Row(Contract):
    id: int = column(ge=0)
    a: float = column()
    b: float = column()
    won: bool = column(known="outcome", nullable=True)

    class Config:
        unique = ["id"]


CASE = UseCase(
    name="games",
    question="Won?",
    inputs=(Input(name="games", contract=Row),),
    rows="games",
    target=Target(kind="binary", name="won", value=pl.col("won"), classes=("no", "yes")),
    features={name: pl.col(name).cast(pl.Float32) for name in ("a", "b")},
    training=Training(params={"max_depth": 2, "learning_rate": 0.1}),
    gate=GatePolicy(min_rows=100, margin=0.03, max_calibration_error=0.2),
)


def judged(case: UseCase) -> GateVerdict:
    rng = np.random.default_rng(11)
    a, b = rng.normal(size=(2, 1500))
    won = rng.random(1500) < 1 / (1 + np.exp(-a - b))
    rows = pl.LazyFrame({"id": range(1500), "a": a, "b": b, "won": won})
    parts = split_by_time(case, in_canonical_order(case, with_labels(case, design(case, rows, {}), rows)))
    scores = predict_scores(
        case, load_booster(fit_booster(case, parts.train, parts.stopping, threads=1).model), parts.holdout
    )
    simple = baseline_scores(case, parts.train, parts.holdout, parts.stopping)
    return gate_challenger(case, parts.holdout, scores, None, simple, data_commit="0" * 40, seed=1)


@pytest.mark.parametrize(("baseline", "promoted"), [("linear", False), ("constant", True)])
def test_the_policy_says_which_baseline_must_be_beaten(baseline: str, promoted: bool) -> None:
    verdict = judged(replace(CASE, gate=replace(CASE.gate, baseline=baseline)))
    assert verdict.promoted is promoted, verdict.why

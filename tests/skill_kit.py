"""Files in which nothing can be learned, files in which much can, and what the gate says of a first champion on them.

A file goes the way of `penstock new` and of the first training: drafted with the scaffold's own policies, split, fitted and
gated, in this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import cycle
from pathlib import Path

import numpy as np
import polars as pl

from deployments.scaffold.draft import NewUseCaseOptions, draft
from deployments.scaffold.render_module import module
from deployments.scaffold.sampling import read
from deployments.scaffold.trial_audit import loaded
from schemas.usecase import UseCase
from schemas.verdicts import GateVerdict, Kind
from tasks.evaluation.gate import gate_challenger
from tasks.features.engineering import design, with_own_outcome
from tasks.features.splitting import split_by_time
from tasks.models.booster import load_booster, predict_scores
from tasks.training.cross_fit import judge_holdout, judge_in_folds
from tasks.training.engines import Split
from tasks.training.fit import fit_booster
from tasks.training.manifest import newest_event

KINDS: tuple[Kind, ...] = ("binary", "multiclass", "regression")


def file_of(kind: Kind, rows: int, seed: int, *, effect: float = 0.0, dated: bool = False) -> pl.DataFrame:
    """Members of a club and an outcome. `effect` is how far it follows age and plan, in standard deviations of the rest."""
    rng = np.random.default_rng(seed)
    age, spent = rng.integers(18, 80, rows), rng.lognormal(3, 1, rows).round(2)
    plan = rng.choice(["basic", "family", "student"], rows)
    frame = pl.DataFrame(
        {
            "member_id": [f"M-{n:06d}" for n in rng.permutation(rows)],
            "age": age,
            "spent": spent,
            "plan": plan,
            "city": rng.choice(["Bern", "Genf", "Chur", "Thun", "Zug"], rows),
            "visits": rng.poisson(5, rows),
            "score": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows).round(3)),
        }
    ).with_columns(pl.col("score").fill_nan(None))
    signal = effect * ((age - 49) / 18 + np.where(plan == "student", 1.0, -0.5))
    frame = frame.with_columns(_outcome(kind, signal, rng))
    if not dated:
        return frame
    days = np.sort(rng.integers(0, max(30, rows // 20), rows))
    return frame.with_columns(joined=pl.Series([date(2024, 1, 1) + timedelta(days=int(day)) for day in days]))


def _outcome(kind: Kind, signal: np.ndarray, rng: np.random.Generator) -> pl.Series:
    """A skewed number (what people pay), one of three words, or yes and no, one in three on average."""
    if kind == "regression":
        return pl.Series("outcome", np.exp(3 + 0.5 * (signal + rng.normal(size=signal.size))).round(2))
    latent = signal + rng.logistic(scale=0.55, size=signal.size)
    if kind == "binary":
        return pl.Series("outcome", np.where(latent > 0.4, "yes", "no"))
    return pl.Series("outcome", np.select([latent < -0.4, latent > 0.5], ["leaves", "upgrades"], "stays"))


def noise_files() -> Iterator[tuple[str, pl.DataFrame]]:
    """Forty files in which nothing can be learned, with a name each."""
    kinds = cycle(KINDS)
    for seed, rows in enumerate(np.linspace(300, 5_000, 40).astype(int)):
        kind, dated = next(kinds), bool(seed % 2)
        yield f"{kind}, {rows} rows{', dated' if dated else ''}", file_of(kind, int(rows), 100 + seed, dated=dated)


def first_gate(frame: pl.DataFrame, folder: Path, target: str = "outcome") -> GateVerdict:
    """The gate's verdict on the first challenger of a file."""
    path = folder / "members.csv"
    frame.write_csv(path)
    drafted = draft("members", path.name, read(path), NewUseCaseOptions(target))
    with loaded(module(drafted), drafted.constant, folder) as case:
        rows = pl.DataFrame([column.profile.values for column in drafted.columns])
        return judge(case, rows)


def judge(case: UseCase, rows: pl.DataFrame) -> GateVerdict:
    """What `train_challenger` does with rows that hold their outcome, where there is no champion."""
    known = with_own_outcome(case, design(case, rows.lazy(), {}), rows.lazy()).collect()
    parts = split_by_time(case, known)
    fitted = fit_booster(case, parts.train, parts.stopping, threads=1)
    scores = predict_scores(case, load_booster(fitted.model), parts.holdout)
    sample = pl.concat([parts.train, parts.stopping])
    judged = judge_holdout(case, sample, parts.holdout, scores)
    if case.time is None:
        judged = judge_in_folds(case, Split(*parts, known), judged, "cpu")
    return gate_challenger(
        case,
        judged.rows,
        judged.scores,
        None,
        judged.baseline,
        data_commit="0" * 40,
        seed=case.training.seed,
        seen_until=newest_event(case, sample),
        constant_scores=judged.constant,
        folds=judged.folds,
    )

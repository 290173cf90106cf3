"""How often the gate promotes what it must not, and how often what it should, on score vectors of the flights.

Models fitted on the year's first months score the days that follow. A challenger is planted: a model of some age, bent
(noise, a shift, less or more confidence) just so far that its true gain over all those days has a chosen value. Holdouts
are days drawn at random, whole, with their rows, so the dependence within a day is the flights' own. At the boundary of
the null every promotion is false. Also printed: the power curve of 200 planted challengers, challengers trained on
flipped labels, swapped pairs, and a challenger that fails on rare days only, of which no sample of 14 days can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, islice

import numpy as np
import polars as pl
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import beta

from schemas.usecase import UseCase
from schemas.usecases.flights import FLIGHTS
from schemas.verdicts import GateVerdict
from tasks.evaluation.gate import gate_challenger
from tasks.evaluation.intervals import block_interval
from tasks.features import engineering, row_order
from tasks.features.engineering import BLOCK, TARGET
from tasks.models import booster
from tasks.replay.nycflights13 import flights_of_the_year
from tasks.training import fit

DECISIONS = 2000
PER_FAMILY = 2000
PLANTED = 200
ROUNDS = 80
CHAMPIONS = ((3, 1), (3, 2), (6, 1), (6, 3), (8, 1), (9, 1), (9, 3))  # month of the newer model, months between the two
DAYS = (7, 14)
MARGIN = FLIGHTS.gate.margin


@dataclass(frozen=True)
class World:
    """Days after both models were fitted: the rows, where each day's lie, what both models say, and the share before."""

    rows: pl.DataFrame
    days: tuple[np.ndarray, ...]
    y: np.ndarray
    champion: np.ndarray
    challenger: np.ndarray
    base_rate: float

    def gains(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and gain in log loss of each day."""
        gain = _loss(self.y, self.champion) - _loss(self.y, scores)
        return np.array([day.size for day in self.days], float), np.array([gain[day].mean() for day in self.days])

    def truth(self, scores: np.ndarray) -> float:
        """The gain over all days."""
        weights, gains = self.gains(scores)
        return float(np.average(gains, weights=weights))


def _loss(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return -np.log(np.where(y == 1, p, 1 - p))


@cache
def _labelled() -> pl.DataFrame:
    year = flights_of_the_year()
    rows = engineering.design(FLIGHTS, year["flights"].lazy(), {"weather": year["weather"].lazy()})
    told = engineering.with_labels(FLIGHTS, rows, year["labels"].lazy())
    return row_order.in_canonical_order(FLIGHTS, told.filter(pl.col(TARGET).is_not_null()))


def _until(month: int) -> pl.Expr:
    return pl.col(BLOCK).dt.month() <= month


@cache
def _scores(month: int, *, flipped: bool = False) -> np.ndarray:
    """Scores of all rows by a model of the months up to this one."""
    rows = _labelled().filter(_until(month))
    if flipped:
        rows = rows.with_columns(~pl.col(TARGET))
    model = fit.refit_booster(FLIGHTS, rows, ROUNDS).model
    return np.clip(booster.predict_scores(FLIGHTS, booster.load_booster(model), _labelled()).astype(float), 1e-6, 1 - 1e-6)


@cache
def world(newer: int, apart: int, *, old_challenges: bool) -> World:
    """The three months after the newer model; champion and challenger are `apart` months apart."""
    kept = _labelled().select(~_until(newer) & _until(newer + 3)).to_series().to_numpy()
    rows = _labelled().filter(kept)
    number = rows[BLOCK].rank("dense").to_numpy() - 1
    days = tuple(np.flatnonzero(number == day) for day in range(int(number.max()) + 1))
    pair = [_scores(newer)[kept], _scores(newer - apart)[kept]]
    champion, challenger = pair if old_challenges else pair[::-1]
    before = float(_labelled().filter(_until(newer))[TARGET].mean())  # type: ignore[arg-type]
    return World(rows, days, rows[TARGET].cast(pl.Float64).to_numpy(), champion, challenger, before)


Bend = Callable[[World, float], np.ndarray]


def _noise(at: World, t: float) -> np.ndarray:
    return expit(logit(at.challenger) + t * np.random.default_rng(1).normal(size=at.y.size))


def _confidence(at: World, t: float) -> np.ndarray:
    margin = logit(at.challenger)
    return expit(margin.mean() + (margin - margin.mean()) * np.exp(t))


BENDS: dict[str, tuple[Bend, float]] = {  # how a challenger is bent, and how far at most
    "noise": (_noise, 3.0),
    "too high": (lambda at, t: expit(logit(at.challenger) + t), 3.0),
    "too low": (lambda at, t: expit(logit(at.challenger) - t), 3.0),
    "timid": (lambda at, t: _confidence(at, -t), 4.0),
    "overconfident": (_confidence, 2.0),
}
LIFTS: dict[str, tuple[Bend, float]] = {  # a challenger that knows a little more of every row
    "informed": (lambda at, t: expit(logit(at.challenger) + t * (at.y - at.base_rate)), 3.0)
}


def planted(at: World, bend: str, gain: float) -> np.ndarray | None:
    """A challenger whose true gain is `gain`, bent no further than needed; None where bending does not lead there."""
    bent, most = {**BENDS, **LIFTS}[bend]
    away = [at.truth(bent(at, t)) - gain for t in (0.0, most)]
    if away[0] * away[1] > 0:
        return None
    return bent(at, brentq(lambda t: at.truth(bent(at, t)) - gain, 0.0, most, xtol=1e-5))


def worlds() -> Iterator[tuple[str, World]]:
    """Every pair of champion and challenger."""
    for newer, apart in CHAMPIONS:
        for old in (True, False):
            name = f"{'older' if old else 'newer'} by {apart} mo., after month {newer}"
            yield name, world(newer, apart, old_challenges=old)


def at_the_boundary(bar: float) -> dict[str, tuple[World, np.ndarray]]:
    """Challengers of every pair and bend whose true gain is exactly `bar`."""
    made = {f"{bend}, {name}": (at, planted(at, bend, bar)) for name, at in worlds() for bend in BENDS}
    return {name: (at, scores) for name, (at, scores) in made.items() if scores is not None}


def decide(case: UseCase, at: World, scores: np.ndarray, days: np.ndarray, seed: int) -> GateVerdict:
    """The gate's verdict on some days; a day drawn twice counts as two blocks."""
    rows = np.concatenate([at.days[day] for day in days])
    blocks = np.repeat(np.arange(days.size), [at.days[day].size for day in days])
    holdout = at.rows[rows].with_columns(pl.Series(BLOCK, blocks))
    base = np.full(rows.size, at.base_rate)
    return gate_challenger(case, holdout, scores[rows], at.champion[rows], base, data_commit="-", seed=seed)


def bounds(wrong: int, of: int) -> tuple[float, float]:
    """Two-sided 95% bounds of a rate (Clopper and Pearson, 1934)."""
    return float(beta.ppf(0.025, wrong, of - wrong + 1)) if wrong else 0.0, float(beta.ppf(0.975, wrong + 1, of - wrong))


def _told(wrong: int, of: int) -> str:
    low, high = bounds(wrong, of)
    return f"{wrong / of:.4f} of {of:,} (95% bounds {low:.4f} to {high:.4f})"


def _false_promotions(case: UseCase, bar: float, blocks: int, rng: np.random.Generator) -> None:
    """Whole decisions, all families in turn; then the rule alone for each family, the worst printed."""
    families = at_the_boundary(bar)
    wrong = {False: 0, True: 0}
    for seed, (at, scores) in enumerate(islice(cycle(families.values()), DECISIONS)):
        verdict = decide(case, at, scores, rng.integers(0, len(at.days), blocks), seed)
        wrong[False] += verdict.promoted
        wrong[True] += (verdict.interval or (-np.inf, 0))[0] > bar
    print(f"{case.gate.rule}, {blocks} days, {len(families)} families at the null's boundary, alpha {case.gate.alpha}:")
    print(f"  the gate promoted {_told(wrong[False], DECISIONS)}; its interval alone {_told(wrong[True], DECISIONS)}")
    counts = {name: _rule_alone(at, scores, bar, blocks, case.gate.alpha, rng) for name, (at, scores) in families.items()}
    for name in sorted(counts, key=lambda name: -counts[name])[:3]:
        print(f"  interval alone, {name}: {_told(counts[name], PER_FAMILY)}")
    above = [name for name, count in counts.items() if bounds(count, PER_FAMILY)[0] > case.gate.alpha]
    print(f"  families whose lower bound is above alpha: {len(above)} of {len(families)} {above or ''}")


def _rule_alone(at: World, scores: np.ndarray, bar: float, blocks: int, alpha: float, rng: np.random.Generator) -> int:
    weights, gains = at.gains(scores)
    drawn = rng.integers(0, gains.size, (PER_FAMILY, blocks))
    return sum(block_interval(weights[d], gains[d], alpha, seed)[0] > bar for seed, d in enumerate(drawn))


def _power(rng: np.random.Generator) -> None:
    case, steps = replace(FLIGHTS, slices=()), np.linspace(-4, 1.5, 12) * MARGIN
    found: dict[float, list[bool]] = {float(step): [] for step in steps}
    errors: dict[float, list[float]] = {step: [] for step in found}
    sources = cycle([(at, bend) for _, at in worlds() for bend in BENDS])
    for seed, step in enumerate(islice(cycle(found), PLANTED)):
        scores = None
        while scores is None:
            at, bend = next(sources)
            scores = planted(at, bend if step <= at.truth(at.challenger) else "informed", step)
        errors[step].append(float(at.gains(scores)[1].std() / 14**0.5))
        found[step].append(decide(case, at, scores, rng.integers(0, len(at.days), 14), seed).promoted)
    print(f"power, {PLANTED} planted challengers, 14 days, non-inferiority with margin {MARGIN}:")
    print("  true gain, its standard error in 14 days (median), share promoted")
    for step, each in found.items():
        print(f"  {step:+.3f} +- {np.median(errors[step]):.3f}: {np.mean(each):.2f} of {len(each)}")
    worse = sum(sum(each) for step, each in found.items() if step < -3 * MARGIN - 1e-9)
    print(f"  worse by more than three margins and promoted: {worse}")


def _flipped_and_swapped(rng: np.random.Generator, runs: int = 60) -> None:
    superior = replace(FLIGHTS, gate=replace(FLIGHTS.gate, rule="superiority"))
    flipped, both = 0, 0
    for seed, (month, apart) in enumerate(islice(cycle(CHAMPIONS), runs)):
        at = world(month, apart, old_challenges=False)
        kept = _labelled().select(~_until(month) & _until(month + 3)).to_series().to_numpy()
        days = rng.integers(0, len(at.days), 14)
        wrong = _scores(month, flipped=True)[kept]
        flipped += any(decide(case, at, wrong, days, seed).promoted for case in (FLIGHTS, superior))
        back = replace(at, champion=at.challenger, challenger=at.champion)
        both += all(decide(superior, each, each.challenger, days, seed).promoted for each in (at, back))
    print(f"trained on flipped labels and promoted: {flipped} of {runs}")
    print(f"swapped pairs of which both directions were promoted under superiority: {both} of {runs}")


def _rare(rng: np.random.Generator) -> None:
    at = world(*CHAMPIONS[2], old_challenges=True)
    bad = np.zeros(at.y.size, bool)
    for day in at.days[::16]:
        bad[day] = True
    t = brentq(lambda t: at.truth(expit(logit(at.champion) - t * bad)) + MARGIN, 0, 8)
    wrong = _rule_alone(at, expit(logit(at.champion) - t * bad), -MARGIN, 14, FLIGHTS.gate.alpha, rng)
    print(f"known limit, a challenger that fails on one day in 16 and nowhere else: promoted {_told(wrong, PER_FAMILY)}")


def main() -> None:
    """Print all of it."""
    rng = np.random.default_rng(2013)
    equal = replace(FLIGHTS, gate=replace(FLIGHTS.gate, rule="superiority"))
    for blocks in DAYS:
        _false_promotions(equal, 0.0, blocks, rng)
        _false_promotions(FLIGHTS, -MARGIN, blocks, rng)
    _power(rng)
    _flipped_and_swapped(rng)
    _rare(rng)


if __name__ == "__main__":
    main()

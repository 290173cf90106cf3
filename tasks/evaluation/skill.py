"""Whether a first champion has learned anything: it must be surely better than the base rate, or the mean.

The margin of non-inferiority is not for it: that margin is what a team would give up of a champion, and there is none yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.usecase import UseCase
from schemas.verdicts import Check
from tasks.evaluation.intervals import student_interval

CONSTANT = "constant"
SKILL = "skill"
NO_SKILL = "no model beats the baseline"
TO_TRY = "try more rows, columns that say more about the target, or another target"


@dataclass(frozen=True)
class Skill:
    """What a challenger gains over a constant: its name and metric, the mean gain, the lower end of the interval."""

    name: str
    constant: float
    gain: float
    low: float

    def check(self, use_case: UseCase, challenger: float) -> Check:
        """The condition of the gate: the whole interval lies above 0."""
        policy, passed = use_case.gate, self.low > 0
        detail = (
            f"{policy.metric} {challenger:.4f} against the {self.name}'s {self.constant:.4f}: the gain of {self.gain:+.4f} "
            f"is {'surely' if passed else 'not surely'} above 0 "
            f"({100 * (1 - policy.alpha):.4g}% interval from {self.low:+.4f})"
        )
        return Check(name=SKILL, passed=passed, detail=detail if passed else f"{NO_SKILL}: {detail}; {TO_TRY}")


def measure_skill(use_case: UseCase, who: str, metric: float, weights: np.ndarray, gains: np.ndarray) -> Skill:
    """The gain over a constant with its interval.

    Args:
        use_case: The use case.
        who: `constant`, or `baseline` where that is the constant.
        metric: The constant's.
        weights: Rows in each block, shape (blocks,).
        gains: Gain of each block, shape (blocks,).

    Returns:
        The skill.
    """
    name = who
    if who == CONSTANT:
        name = "mean" if use_case.target.kind == "regression" else "base rate"
    low = student_interval(weights, gains, use_case.gate.alpha)[0]
    return Skill(name, metric, float(np.average(gains, weights=weights)), low)

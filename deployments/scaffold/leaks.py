"""Columns of a file that may not be known before the outcome, and rows that are there twice."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from deployments.scaffold.column_profile import Profile
from deployments.scaffold.target_detection import Outcome
from deployments.scaffold.time_detection import Clock
from schemas.verdicts import Leak
from tasks import evaluation


def leaks(profiles: Sequence[Profile], features: Collection[str], outcome: Outcome, clock: Clock | None) -> dict[str, Leak]:
    """What the columns of the features say of the outcome that they should not, by the column's name."""
    time = clock.column if clock else None
    idle = {p.name for p in profiles} - {*features, outcome.column}
    frame = pl.DataFrame([p.values for p in profiles])
    found = evaluation.find_leaks(frame, outcome.column, outcome.kind, time=time, ignore=idle)
    return {leak.column: leak for leak in found}


def repeated(profiles: Sequence[Profile], ids: Collection[str]) -> str:
    """A sentence where many rows are there twice under different keys, or ''."""
    compared = [p.values for p in profiles if p.name not in ids]
    share = evaluation.repeated_rows(pl.DataFrame(compared), [values.name for values in compared])
    if share < evaluation.MOST_REPEATED:
        return ""
    return f"{share:.0%} equal another in all but the key: drop what is there twice, for the gate would see rows fitted on"

"""The event time, and what the span of the data means for the split, the gate and monitoring."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

import polars as pl

from deployments.scaffold.column_profile import Profile
from schemas.errors import UsageError

WELL_KNOWN = (
    "event_time", "event_date", "timestamp", "time", "datetime", "date", "day", "created_at", "created", "snapshot_date",
    "as_of", "observed_at", "occurred_at", "recorded_at", "ts",
)  # fmt: skip
NEVER = re.compile(r"birth|born|dob|built|expir|deadline|due")
MIN_DAYS = 6
MONTHS_UP_TO = 3653


@dataclass(frozen=True)
class Clock:
    """The event time of the rows: the column, its type, the first and last moment, and the days with rows."""

    column: str
    type: str
    values: pl.Series
    note: str = ""

    @property
    def first(self) -> datetime:
        """The oldest event."""
        return self._moments.min()  # type: ignore[return-value]

    @property
    def last(self) -> datetime:
        """The newest event."""
        return self._moments.max()  # type: ignore[return-value]

    @property
    def days(self) -> int:
        """Calendar days from the first event to the last, both included."""
        return (self.last.date() - self.first.date()).days + 1

    @property
    def _moments(self) -> pl.Series:
        """As naive datetimes, in UTC where they have a zone."""
        values = self.values.drop_nulls()
        if self.type == "utc":
            values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return values.cast(pl.Datetime("us"))

    @property
    def partition(self) -> str:
        """Format of the partitions' names: months, or years where months would be too many."""
        return "%Y-%m" if self.days < MONTHS_UP_TO else "%Y"

    @property
    def event_days(self) -> pl.Series:
        """The days on which there are rows, oldest first."""
        return self._moments.dt.date().unique().sort()

    def days_of_newest(self, share: float) -> int:
        """How many of the last days hold at least that share of the rows."""
        cut = self._moments.sort().gather(int((1 - share) * (len(self._moments) - 1)))[0]
        return int(max(1, ceil((self.last - cut) / timedelta(days=1))))

    def days_of_blocks(self, blocks: int) -> int:
        """How many of the last days hold rows of that many different days."""
        days = self.event_days
        return int((days[-1] - days[-min(blocks, len(days))]).days) + 1

    def blocks_of(self, newest: int) -> int:
        """On how many different days of the newest ones there are rows."""
        return int((self.event_days > self.last.date() - timedelta(days=newest)).sum())


def find_clock(profiles: Sequence[Profile], target: str, named: str | None) -> Clock | None:
    """The event time that was told, or the one that is beyond doubt; None where rows have none.

    Raises UsageError for a told column that is not there, is no time, or spans too few days for a split by time.
    """
    if named is not None:
        return _named_clock({p.name: p for p in profiles}, target, named)
    whole = [p for p in profiles if p.is_time and p.nulls == 0 and p.name != target]
    candidates = [p for p in whole if not NEVER.search(p.name.lower())]
    note = "the only date that every row has"
    candidates = [p for p in candidates if not any(_is_finer(other, p) for other in candidates)]
    if len(candidates) > 1:
        candidates, note = _beyond_doubt(candidates)
    clock = _clock(candidates[0], note) if len(candidates) == 1 else None
    return clock if clock and len(clock.event_days) >= MIN_DAYS else None


def _named_clock(profiles: dict[str, Profile], target: str, named: str) -> Clock:
    profile = profiles.get(named)
    if profile is None:
        raise UsageError(f"--time {named}: the file has no such column; it has {', '.join(profiles)}")
    if named == target:
        raise UsageError(f"--time {named}: the target cannot be the event time")
    if not profile.is_time:
        example = next((str(v) for v, _ in profile.counts[:1]), "nothing")
        raise UsageError(
            f"--time {named}: holds {example!r}, which reads as no date; say how it is written, as in "
            f"--read '{named}.times=%d/%m/%Y'"
        )
    clock = _clock(profile, "")
    if profile.nulls or len(clock.event_days) < MIN_DAYS:
        why = f"{profile.nulls:,} rows have none" if profile.nulls else f"it has {len(clock.event_days)} different days"
        raise UsageError(f"--time {named}: {why}; a split by time needs it in each row, on {MIN_DAYS} days: leave it out")
    return clock


def _clock(profile: Profile, note: str) -> Clock:
    return Clock(profile.name, profile.type, profile.values, note)


def _is_finer(one: Profile, other: Profile) -> bool:
    """Whether one column holds the moments of the other's days: Time 2024-01-01T10:30 beside Date 2024-01-01."""
    if one.name == other.name or one.type == "date" or other.type != "date":
        return False
    return bool((one.values.dt.date() == other.values).all())


def _beyond_doubt(candidates: list[Profile]) -> tuple[list[Profile], str]:
    """Of several dates the one named like an event time, or the one that the file is sorted by, the earlier of two."""
    named = [p for p in candidates if p.name.lower().replace(" ", "_") in WELL_KNOWN]
    if len(named) == 1:
        return named, "of several dates, the one named so"
    ordered = [p for p in named or candidates if p.distinct > 1 and _is_ordered(p.values)]
    first = [p for p in ordered if all(p.type == q.type and (p.values <= q.values).all() for q in ordered)]
    return (first if len(first) == 1 else ordered), "of several dates, the first that the file is sorted by"


def _is_ordered(values: pl.Series) -> bool:
    return values.is_sorted() or values.is_sorted(descending=True)

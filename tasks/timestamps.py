"""Event times of any kind as moments: a date is its midnight, a time without a zone is taken as UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import polars as pl


def moment(value: object) -> datetime | None:
    """An event time as a datetime in UTC; what is no time is None."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.combine(value, time(), UTC) if isinstance(value, date) else None


def cast_like(dtype: pl.DataType, when: datetime) -> date | datetime:
    """A moment as a value that a column of this type can be compared with."""
    known = (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    if dtype == pl.Date:
        return known.date()
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    return known.astimezone(ZoneInfo(zone)) if zone else known.replace(tzinfo=None)

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest

from tasks.timestamps import cast_like, moment

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (NOON, NOON),
        (NOON.replace(tzinfo=None), NOON),
        (date(2024, 5, 1), datetime(2024, 5, 1, tzinfo=UTC)),
        (None, None),
        ("2024-05-01", None),
    ],
)
def test_any_event_time_is_a_moment(value: object, found: datetime | None) -> None:
    assert moment(value) == found


@pytest.mark.parametrize("dtype", [pl.Date(), pl.Datetime("us"), pl.Datetime("us", "UTC"), pl.Datetime("us", "Asia/Tokyo")])
def test_a_moment_can_be_compared_with_a_column_of_any_kind(dtype: pl.DataType) -> None:
    column = pl.Series([NOON - timedelta(days=2), NOON + timedelta(days=2)], dtype=pl.Datetime("us", "UTC")).cast(dtype)
    assert (column > cast_like(dtype, NOON)).to_list() == [False, True]
    assert (column > cast_like(dtype, NOON.astimezone(timezone(timedelta(hours=9))))).to_list() == [False, True]

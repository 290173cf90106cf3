from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from schemas.errors import UsageError
from schemas.usecases.flights import FLIGHTS, Flights, Labels, Weather
from tasks.features import canonical, design, feature_names, labelled, row_digest
from tests.unit.problems import BINARY, START, STORES, designed, orders


def test_every_row_stays_in_its_order_and_features_in_theirs() -> None:
    frame = orders(500).sample(fraction=1, shuffle=True, seed=1)
    rows = designed(BINARY, frame)
    assert rows["order"].to_list() == frame["order"].to_list()
    assert rows.columns[-len(BINARY.features) - 1 : -1] == feature_names(BINARY)
    assert rows["rent"].to_list() == frame.join(STORES, on="place", how="left", maintain_order="left")["rent"].to_list()


def test_what_is_unseen_or_missing_is_null_and_loses_no_row() -> None:
    frame = orders(3).with_columns(place=pl.Series(["mars", "north", "south"]), size=pl.Series([None, 1.0, 2.0]))
    rows = designed(BINARY, frame)
    assert rows["where"].to_list() == [None, "north", "south"]
    assert rows["rent"].to_list() == [None, 1.0, 2.0]
    assert rows["size"].to_list() == [None, 1.0, 2.0]
    assert rows["place"].to_list() == ["mars", "north", "south"]


def test_a_doubled_key_in_a_lookup_is_an_error_and_never_a_doubled_row() -> None:
    doubled = pl.concat([STORES, STORES])
    with pytest.raises(pl.exceptions.ComputeError):
        design(BINARY, orders(10).lazy(), {"stores": doubled.lazy()}).collect()


@pytest.mark.parametrize(
    ("name", "says"), [("order", "is a key"), ("_own", "underscore"), ("at", "is a key or time column")]
)
def test_a_feature_may_not_take_a_name_that_is_taken(name: str, says: str) -> None:
    case = replace(BINARY, features={**BINARY.features, name: pl.col("noise")})
    with pytest.raises(UsageError, match=says):
        design(case, orders(5).lazy(), {"stores": STORES.lazy()})


def test_the_digest_follows_content_and_not_delivery_order() -> None:
    rows = designed(BINARY, orders(400))
    digest = row_digest(rows)
    assert row_digest(rows.sample(fraction=1, shuffle=True, seed=3)) == digest
    assert row_digest(rows.with_columns(pl.col("where").cast(pl.String))) == digest
    assert row_digest(rows.with_columns(size=pl.col("size") + 1e-6)) != digest
    assert row_digest(rows.with_columns(size=pl.when(pl.col("order") == 7).then(None).otherwise("size"))) != digest
    assert row_digest(rows.head(399)) != digest


def test_canonical_order_is_by_time_then_key() -> None:
    rows = designed(BINARY, orders(300)).sample(fraction=1, shuffle=True, seed=5)
    assert canonical(BINARY, rows)["order"].to_list() == list(range(300))


def flights(rows: list[tuple[str, int]]) -> pl.DataFrame:
    """Flights of the same hour, by carrier and number."""
    base = {
        "year": 2013,
        "month": 7,
        "day": 1,
        "sched_dep_time": 1830,
        "sched_arr_time": 2030,
        "tailnum": "N1",
        "origin": "JFK",
        "dest": "BOS",
        "distance": 187,
        "hour": 18,
        "minute": 30,
        "time_hour": START,
    }
    return pl.DataFrame([{**base, "carrier": c, "flight": n} for c, n in rows]).select(
        pl.col(name).cast(dtype) for name, dtype in Flights.dtypes().items()
    )


def test_of_several_labels_the_newest_known_counts() -> None:
    rows = flights([("AA", 1), ("AA", 2), ("AA", 3)])
    told = [(1, 5.0, 1), (1, 40.0, 3), (2, 20.0, 2)]
    labels = pl.DataFrame(
        [
            {
                "time_hour": START,
                "carrier": "AA",
                "flight": n,
                "outcome": "arrived",
                "arr_delay": d,
                "labelled_at": START + timedelta(days=days),
            }
            for n, d, days in told
        ]
    ).select(pl.col(name).cast(dtype) for name, dtype in Labels.dtypes().items())
    weather = pl.DataFrame(schema=Weather.dtypes())
    designed = design(FLIGHTS, rows.lazy(), {"weather": weather.lazy()})
    known = [
        labelled(FLIGHTS, designed, labels.lazy(), START + timedelta(days=day)).collect()["_target"].to_list()
        for day in (0, 1, 2, 3)
    ]
    assert known == [[None] * 3, [False, None, None], [False, True, None], [True, True, None]]


def test_the_weather_is_that_of_three_hours_before() -> None:
    hours = [START - timedelta(hours=h) for h in range(6)]
    weather = pl.DataFrame({"time_hour": hours, "origin": ["JFK"] * 6, "visib": [float(h) for h in range(6)]})
    weather = weather.select(
        (pl.col(name) if name in weather.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in Weather.dtypes().items()
    )
    rows = design(FLIGHTS, flights([("AA", 1)]).lazy(), {"weather": weather.lazy()}).collect()
    assert rows["visib"].to_list() == [3.0]

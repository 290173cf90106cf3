from dataclasses import replace

import polars as pl
import pytest

from schemas.errors import UsageError
from schemas.usecase import UseCase, registered, resolve
from schemas.usecases.flights import FLIGHTS


def test_flights_is_registered() -> None:
    assert registered()["flights"] == "schemas.usecases.flights:FLIGHTS"
    assert resolve("flights") is FLIGHTS


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fligths", "registered: .*flights"),
        ("no.such.module:NAME", "check the module's path"),
        ("schemas.usecases.flights:NOTHING", "check the module's path"),
        ("schemas.usecases.flights:AIRPORTS", "is a tuple, not a UseCase"),
    ],
)
def test_an_unknown_use_case_is_a_usage_error(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        resolve(name)


def test_what_an_event_carries_imports_nothing() -> None:
    with pytest.raises(UsageError, match="only the command line and Python"):
        resolve("schemas.usecases.flights:FLIGHTS", modules=False)


@pytest.mark.parametrize(
    ("told", "source", "chosen"),
    [
        ("labels", "whatever.csv", "labels"),
        (None, "landing/flights/weather/x.parquet", "weather"),
        (None, "/tmp/labels-2013-01.csv.gz", "labels"),
        (None, "flights-2013-*.csv", "flights"),
    ],
)
def test_folder_or_file_name_tells_the_input(told: str | None, source: str, chosen: str) -> None:
    assert FLIGHTS.choose_input(told, source).name == chosen


@pytest.mark.parametrize(("told", "source"), [(None, "march.csv"), ("wheather", "weather.csv"), (None, "")])
def test_an_input_that_nothing_tells_is_asked_for(told: str | None, source: str) -> None:
    with pytest.raises(UsageError, match="flights, weather, labels"):
        FLIGHTS.choose_input(told, source)


@pytest.mark.parametrize("name", ["Flights", "../x", "a b", "x", "9lives", "a" * 60])
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        replace(FLIGHTS, name=name)


def test_an_input_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="no input named bookings"):
        replace(FLIGHTS, rows="bookings")


def changed(**changes: object) -> UseCase:
    return replace(FLIGHTS, **changes)  # type: ignore[arg-type]


def test_the_version_follows_what_shapes_a_model_and_nothing_else() -> None:
    assert changed(question="Late?").version() == FLIGHTS.version()
    features = {**FLIGHTS.features, "hour": pl.col("hour").cast(pl.Float32)}
    assert changed(features=features).version() != FLIGHTS.version()
    training = replace(FLIGHTS.training, rounds=7)
    assert changed(training=training).version() != FLIGHTS.version()

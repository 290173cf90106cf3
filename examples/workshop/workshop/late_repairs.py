"""The use case late-repairs: one contract, one target, its features and policies.

Drafted from 3,023 rows and 11 columns of repairs.csv, 2024-01-01 to 2024-10-26. Each guess is marked: confirm or correct it,
and the module is yours.
"""

import polars as pl
from penstock import Contract, GatePolicy, Input, MonitorPolicy, Split, Target, Training, UseCase, column, confirmed_features

KIND = ("cargo", "child", "city", "road")
PART_IN_STOCK = ("no", "yes")


class LateRepairs(Contract):
    """A row of late-repairs: what must hold for it to be let in."""

    repair_id: str = column(str_matches="^R[0-9]{6}$")
    received_on: pl.Date = column()
    bought_on: pl.Date = column()
    # guess: these are all the values there can be
    kind: str = column(isin=KIND)
    motor: bool = column()
    queue_length: int = column(ge=0, le=40)
    quoted_price: float = column(nullable=True, ge=0, le=800)
    # guess: these are all the values there can be
    part_in_stock: str = column(isin=PART_IN_STOCK)
    # guess: sentences, so no feature
    remark: str = column(nullable=True, str_length={"max_value": 160})
    # confirm: known before the outcome? later than received_on in 3,023 rows
    finished_on: pl.Date = column(known="confirm", nullable=True)
    # the outcome: empty until it is known
    late: bool = column(known="outcome", nullable=True)

    class Config:
        unique = ["repair_id"]


def days_since(column: str) -> pl.Expr:
    """Days from a date to the event."""
    event = pl.col("received_on").dt.date()
    return (event - pl.col(column).dt.date()).dt.total_days().cast(pl.Float32)


LATE_REPAIRS = UseCase(
    name="late-repairs",
    question="Will late be true?",
    inputs=(
        Input(
            name="late-repairs",
            contract=LateRepairs,
            # guess: of several dates, the first that the file is sorted by
            time="received_on",
            partition=pl.col("received_on").dt.strftime("%Y-%m"),
        ),
    ),
    rows="late-repairs",
    target=Target(
        kind="binary",
        name="late",
        value=pl.col("late"),
        classes=("not late", "late"),
    ),
    # left out: what reads a column of known="confirm"; write known="at_prediction" there once you know that it is
    features=confirmed_features(
        LateRepairs,
        {
            "received_on_weekday": pl.col("received_on").dt.weekday().cast(pl.Float32),
            "days_since_bought_on": days_since("bought_on"),
            "kind": pl.col("kind").cast(pl.Enum(KIND), strict=False),
            "motor": pl.col("motor").cast(pl.Float32),
            "queue_length": pl.col("queue_length").cast(pl.Float32),
            "quoted_price": pl.col("quoted_price").cast(pl.Float32),
            "part_in_stock": pl.col("part_in_stock").cast(pl.Enum(PART_IN_STOCK), strict=False),
            "days_since_finished_on": days_since("finished_on"),
        },
    ),
    slices=("kind", "part_in_stock"),
    split=Split(holdout_days=45, stopping_days=45),
    training=Training(
        params={
            "max_depth": 3,
            "learning_rate": 0.05,
            "min_child_weight": 1,
            "reg_lambda": 2,
            "subsample": 0.7,
            "colsample_bytree": 0.7,
        },
        rounds=1000,
        stopping_rounds=50,
    ),
    # guess: the margin is the loss you would still accept; each model must beat the base rate, and a linear model too where
    # you write baseline="linear"
    gate=GatePolicy(
        metric="log_loss",
        margin=0.019,
        slice_margin=0.06,
        max_calibration_error=0.13,
        min_rows=200,
        min_blocks=5,
        min_slice_rows=100,
        baseline="constant",
    ),
    monitor=MonitorPolicy(min_rows=100, max_age_days=75),
)

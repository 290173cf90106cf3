"""What must hold for the use case late-repairs."""

from datetime import date

import polars as pl
import pytest
from pandera.errors import SchemaErrors

from workshop.late_repairs import LATE_REPAIRS, LateRepairs

ROW = {
    "repair_id": "R000000",
    "received_on": date(2024, 10, 26),
    "bought_on": date(2024, 9, 29),
    "kind": "cargo",
    "motor": True,
    "queue_length": 20,
    "quoted_price": 400.0,
    "part_in_stock": "no",
    "remark": "text",
    "finished_on": date(2024, 11, 14),
    "late": True,
}


def frame(**changes: object) -> pl.DataFrame:
    """The row above as a frame, with changes."""
    return pl.DataFrame([{**ROW, **changes}], schema=LateRepairs.dtypes())


def test_a_sound_row_is_let_in() -> None:
    LateRepairs.validate(frame(), lazy=True)


@pytest.mark.parametrize("column", LateRepairs.key())
def test_a_row_without_its_key_is_refused(column: str) -> None:
    with pytest.raises(SchemaErrors):
        LateRepairs.validate(frame(**{column: None}), lazy=True)


def test_no_feature_reads_an_outcome() -> None:
    outcomes = set(LateRepairs.known("outcome"))
    for name, feature in LATE_REPAIRS.features.items():
        assert not outcomes & set(feature.meta.root_names()), name


def test_a_row_gives_one_value_to_each_feature() -> None:
    features = frame().select(**LATE_REPAIRS.features)
    assert features.columns == list(LATE_REPAIRS.features)
    assert features.height == 1


def test_the_outcome_is_one_that_the_target_knows() -> None:
    outcome = frame().select(LATE_REPAIRS.target.value).item()
    assert isinstance(outcome, bool)

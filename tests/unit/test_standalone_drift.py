"""One frame against another: drift where it was planted, none where it was not, and the page that Evidently draws."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import UsageError
from tasks.standalone.drift import measure_drift
from tasks.standalone.profile import profile_frame
from tests.standalone_kit import parcels

COLUMNS = ["weight", "colour", "depot", "late"]
BEFORE, AFTER = parcels().select(COLUMNS), parcels(6).select(COLUMNS)
SHIFTED = AFTER.with_columns(pl.col("weight") + 2, colour=pl.lit("red"))


def test_the_same_does_not_drift_and_what_was_shifted_does(tmp_path: Path) -> None:
    same = measure_drift(BEFORE, AFTER, report=tmp_path / "same.html")
    assert same.status == "no drift"
    assert [column.column for column in same.columns] == COLUMNS
    moved = measure_drift(BEFORE, SHIFTED, report=str(tmp_path / "moved.html"))
    assert moved.status == "drift"
    assert {column.column for column in moved.columns if column.drifted} == {"weight", "colour"}
    assert "gain" not in moved.why
    page = (tmp_path / "moved.html").read_text()
    assert f"window of {AFTER.height:,} rows against the {BEFORE.height:,} of the reference" in page
    assert moved.report == str(tmp_path / "moved.html")


@pytest.mark.parametrize("method", ["wasserstein", "psi", "jensenshannon"])
def test_every_method_sees_the_shift(method: str) -> None:
    assert measure_drift(BEFORE, SHIFTED, columns=["weight"], method=method).status == "drift"  # type: ignore[arg-type]
    assert measure_drift(BEFORE, AFTER, columns=["weight"], method=method).status == "no drift"  # type: ignore[arg-type]


def test_a_stored_profile_stands_for_its_frame() -> None:
    stored = json.loads(json.dumps(profile_frame(BEFORE)))
    assert stored["rows"] == BEFORE.height
    assert measure_drift(stored, SHIFTED) == measure_drift(BEFORE, SHIFTED)
    assert measure_drift(stored, SHIFTED, columns=["depot"]).share == 0


def test_the_importances_weigh_what_drifted() -> None:
    found = measure_drift(BEFORE, SHIFTED, columns=["weight", "depot"], importances={"weight": 3, "depot": 1})
    assert found.impact == pytest.approx(0.75)
    assert "with 75% of the model's gain: weight (" in found.why


def test_the_threshold_and_the_rows_that_a_verdict_needs() -> None:
    score = measure_drift(BEFORE, SHIFTED, columns=["weight"]).columns[0].score
    assert measure_drift(BEFORE, SHIFTED, columns=["weight"], threshold=score * 0.99).status == "drift"
    assert measure_drift(BEFORE, SHIFTED, columns=["weight"], threshold=score * 1.01).status == "no drift"
    few = measure_drift(BEFORE, AFTER, min_rows=AFTER.height + 1)
    assert (few.status, few.why) == ("not enough evidence", "the window has 3,000 rows, fewer than 3,001")


def test_columns_named_as_our_scores_are_columns_like_others() -> None:
    names = {"weight": "_score", "late": "_target"}
    assert measure_drift(BEFORE.rename(names), AFTER.rename(names)).status == "no drift"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"columns": ["weight", "size"]}, "frame: no column 'size'"),
        ({"reference": profile_frame(BEFORE), "columns": ["size"]}, "reference: no column 'size'"),
        ({"reference": {"rows": 3}}, "a profile made by profile_frame, is wanted"),
        ({"method": "ks"}, "method is 'ks'; it can be 'wasserstein', 'psi', 'jensenshannon'"),
        ({"threshold": 0}, "threshold is 0"),
    ],
)
def test_arguments_that_fit_nothing_are_one_line(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError) as refused:
        measure_drift(**{"reference": BEFORE, "window": AFTER, **arguments})  # type: ignore[arg-type]
    assert says in str(refused.value)


def test_a_column_of_nulls_is_no_evidence() -> None:
    found = measure_drift(BEFORE, AFTER.with_columns(weight=pl.lit(None, pl.Float64)))
    assert found.status == "not enough evidence"
    assert "weight (all null in the window)" in found.why

"""Any Pandera model judges any frame: its verdict row by row, each row in one of two frames, and every reason told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandera.errors
import pandera.polars as pa
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from schemas.contract import Contract, column
from schemas.errors import Refused, UsageError
from schemas.pandera_models import version_of_model
from tasks.contracts.audit import split
from tasks.standalone.audit import audit_file, audit_frame
from tests.standalone_kit import Parcel

OURS = ["_row", "_untyped", "_checks", "_reasons"]


class Loose(pa.DataFrameModel):
    a: int = pa.Field(ge=0, lt=8)
    b: float = pa.Field(nullable=True, in_range={"min_value": -1, "max_value": 1})

    @pa.dataframe_check
    def together(cls, data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("a") + pl.col("other") < 9)


class Casting(pa.DataFrameModel):
    a: pl.Int8 = pa.Field(ge=0)
    c: pl.Float32 = pa.Field(le=5)

    class Config:
        coerce = True
        strict = "filter"


class Filled(pa.DataFrameModel):
    b: float = pa.Field(default=0.5, ge=0)
    d: str = pa.Field(default="none", isin=["x", "none"])
    absent: int = pa.Field(default=7, nullable=True)

    class Config:
        add_missing_columns = True


class Pattern(pa.DataFrameModel):
    any_number: float = pa.Field(alias="^v[0-9]$", regex=True, ge=0)
    v1: float = pa.Field(ge=-5)


class ElementWise(pa.DataFrameModel):
    d: str = pa.Field(nullable=True)

    @pa.check("d", element_wise=True)
    def short(cls, value: str) -> bool:
        return len(value) < 2


SCHEMA = pa.DataFrameSchema(
    {
        "a": pa.Column(
            pl.Int64, [pa.Check.isin([1, 2, 3]), pa.Check(lambda data: data.lazyframe.select(pl.col(data.key) != 2))]
        )
    }
)
OPEN = pa.DataFrameSchema({"d": pa.Column(nullable=True, checks=pa.Check.str_length(max_value=1))})
ORDERED = pa.DataFrameSchema({"a": pa.Column(), "b": pa.Column()}, ordered=True)
ALL_FLOATS = pa.DataFrameSchema(dtype=pl.Float64, checks=pa.Check(lambda data: data.lazyframe.select(pl.all() < 0.9)))


def frame(rows: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    return pl.DataFrame(
        {
            "a": rng.integers(-2, 11, rows),
            "b": pl.Series(rng.normal(size=rows)).set(pl.Series(rng.random(rows) < 0.2), None),
            "c": rng.choice(["1.5", "7", "0", "x", "", "3e0"], rows),
            "d": pl.Series(rng.choice(["x", "yy", ""], rows)).set(pl.Series(rng.random(rows) < 0.2), None),
            "other": rng.integers(0, 4, rows),
            "v1": rng.normal(size=rows),
            "v2": rng.normal(size=rows),
        }
    )


def passes(model: Any, row: pl.DataFrame) -> bool:
    try:
        model.validate(row, lazy=True)
    except (pandera.errors.SchemaError, pandera.errors.SchemaErrors):
        return False
    return True


@pytest.mark.parametrize("model", [Loose, Casting, Filled, Pattern, ElementWise, SCHEMA, OPEN])
def test_a_row_is_accepted_where_pandera_accepts_it_by_itself(model: Any) -> None:
    rows = frame()
    made = audit_frame(rows, model, max_rejected_share=1)
    good = [passes(model, rows[at]) for at in range(rows.height)]
    assert 0 < sum(good) < rows.height
    assert made.rejected["_row"].to_list() == [at + 1 for at, fine in enumerate(good) if not fine]
    assert_frame_equal(made.accepted, model.validate(rows.filter(pl.Series(good))))
    assert_frame_equal(made.rejected.drop(OURS), rows.filter(~pl.Series(good)))
    assert made.accepted.height + made.rejected.height == made.verdict.rows == rows.height
    assert made.rejected["_checks"].list.len().min() > 0


def test_a_type_for_the_whole_frame_and_its_check_reach_every_column() -> None:
    numbers = pl.DataFrame({"x": [0.1, 0.95, 0.2], "y": [0.3, 0.4, 1.5]})
    assert audit_frame(numbers, ALL_FLOATS).rejected["_row"].to_list() == [2, 3]
    with pytest.raises(UsageError, match="'y' is Int64, not Float64"):
        audit_frame(numbers.cast({"y": pl.Int64}), ALL_FLOATS)


def test_reasons_name_check_and_value_and_are_counted() -> None:
    rows = pl.DataFrame(
        {
            "number": [1, 2, 2, -4],
            "weight": ["1", "heavy", "60", "2"],
            "colour": ["red"] * 3 + ["pink"],
            "left": [0, 1, 2, 3],
        }
    )
    made = audit_frame(rows, Parcel)
    assert made.rejected["_reasons"].to_list() == [
        "weight cannot be Float64: heavy; number: field_uniqueness fails for 2",
        "weight: less_than_or_equal_to(50) fails for 60.0; number: field_uniqueness fails for 2",
        "number: positive fails for -4; colour: isin(('blue', 'green', 'red')) fails for pink",
    ]
    assert made.rejected["weight"].to_list() == ["heavy", "60", "2"]  # as they came, to be mended and given again
    assert made.rejected["_untyped"].to_list()[0] == [{"column": "weight", "text": "heavy"}]
    assert {reason.check: reason.rows for reason in made.verdict.reasons}["field_uniqueness"] == 2
    assert made.verdict.why.startswith("1 of 4 rows accepted, 3 rejected: more than the share of 5.00% that may be")


@pytest.mark.parametrize(("share", "publishable"), [(0.5, True), (0.49, False)])
def test_the_verdict_follows_the_share_that_may_be_rejected(share: float, publishable: bool) -> None:
    made = audit_frame(pl.DataFrame({"a": [1, 3, 5, 7]}), SCHEMA, max_rejected_share=share)
    assert (made.verdict.accepted, made.verdict.publishable) == (2, publishable)


def test_a_check_of_the_whole_frame_rejects_every_row() -> None:
    schema = pa.DataFrameSchema(checks=pa.Check(lambda data: data.lazyframe.select(pl.col("a").mean() > 2)))
    assert audit_frame(pl.DataFrame({"a": [0, 9]}), schema).rejected.height == 0
    assert audit_frame(pl.DataFrame({"a": [0, 1]}), schema).accepted.height == 0


class Keyed(Contract):
    """One of ours."""

    id: int = column()
    value: float = column(nullable=True)

    class Config:
        unique = ["id"]
        metadata = {"first_stays": True}


def test_a_contract_of_ours_judges_as_it_does_in_our_flows() -> None:
    rows = pl.DataFrame({"id": [1, 1, 2], "value": [0.5, 0.7, float("nan")]})
    made, ours = audit_frame(rows, Keyed), split(rows, Keyed)
    assert_frame_equal(made.accepted, ours.accepted)
    assert_frame_equal(made.rejected, ours.rejected)
    assert made.verdict.contract_version == Keyed.version()
    assert made.accepted["id"].to_list() == [1]


def test_a_models_version_follows_its_rules() -> None:
    class Same(Parcel):
        pass

    class Stricter(Parcel):
        weight: float = pa.Field(ge=0, le=40, coerce=True)

    class OtherCode(Parcel):
        @pa.check("number")
        def positive(cls, data: pa.PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col(data.key) > 1)

    versions = [version_of_model(model) for model in (Parcel, Same, Stricter, OtherCode)]
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


ROWS = pl.DataFrame(
    {"number": [1, 2, 3], "weight": [1.0, 2.5, 99.0], "colour": ["red"] * 3, "left": [4, 5, 6], "note": ["a"] * 3}
)


def written(folder: Path, ending: str) -> Path:
    path = folder / f"parcels{ending}"
    if ending == ".parquet":
        ROWS.write_parquet(path)
    elif ending == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS.to_dicts()))
    else:
        path.write_bytes(gzip.compress(ROWS.write_csv().encode()) if ending == ".csv.gz" else ROWS.write_csv().encode())
    return path


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl", ".parquet"])
def test_a_file_is_judged_as_its_frame_is_without_the_columns_that_the_model_does_not_know(
    tmp_path: Path, ending: str
) -> None:
    of_file, of_frame = audit_file(written(tmp_path, ending), Parcel), audit_frame(ROWS.drop("note"), Parcel)
    assert_frame_equal(of_file.accepted, of_frame.accepted)
    assert_frame_equal(of_file.rejected, of_frame.rejected)
    assert of_file.verdict == of_frame.verdict


def test_a_files_values_that_cannot_be_typed_and_broken_records_reject_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "parcels.csv"
    path.write_text("number,weight,colour,left\n1,1.5,red,0\n2,heavy,red,1\n3,4\n4,2,blue,9\n")
    made = audit_file(str(path), Parcel, max_rejected_share=0.5)
    assert made.accepted["number"].to_list() == [1, 4]
    assert made.rejected["_reasons"].to_list() == [
        "weight cannot be Float64: heavy",
        "the record has not the header's fields: 3,4",
    ]
    assert made.verdict.publishable


class Strict(Parcel):
    class Config:
        strict = True


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_strict_model_refuses_a_file_with_other_columns(tmp_path: Path, ending: str) -> None:
    with pytest.raises(Refused, match="'note'"):
        audit_file(written(tmp_path, ending), Strict)


def test_a_file_without_an_added_column_gets_its_default(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("b\n0.25\n-1\n")
    made = audit_file(path, Filled, max_rejected_share=1)
    assert made.accepted.to_dicts() == [{"b": 0.25, "d": "none", "absent": 7}]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Pattern, "cannot read a file as Pattern: '^v[0-9]$' names no column and type"),
        (OPEN, "cannot read a file as schema: 'd' names no column and type"),
        (dict, "give a class derived from pandera.polars.DataFrameModel"),
    ],
)
def test_a_model_that_does_not_say_how_to_read_a_file_is_refused(tmp_path: Path, model: Any, says: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("d\nx\n")
    with pytest.raises(UsageError) as refused:
        audit_file(path, model)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "model", "says"),
    [
        (ROWS.drop("left", "colour"), Parcel, "missing: 'colour', 'left'"),
        (ROWS, Strict, "not known: 'note'"),
        (ROWS.rename({"note": "_row"}), Parcel, "a name that rejected rows need: '_row'"),
        (ROWS.cast({"number": pl.String}), Parcel, "'number' is String, not Int64"),
        (ROWS.with_columns(weight=pl.lit([1.0])), Parcel, "polars does not cast to Float64 as Parcel asks"),
        (pl.DataFrame({"v1": [1.0]}), Pattern, "missing: '^v[0-9]$'"),
        (pl.DataFrame({"b": [1, 2], "a": [1, 2]}), ORDERED, "out of order: 'b'"),
        (ROWS, {"number": int}, "cannot audit against"),
        (ROWS, pa.DataFrameSchema({"number": pa.Column()}, unique=[["number"], ["left"]]), "more than one joint key"),
    ],
)  # fmt: skip
def test_columns_types_and_models_that_do_not_fit_are_one_line(rows: pl.DataFrame, model: Any, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        audit_frame(rows, model)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)

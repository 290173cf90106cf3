"""The key that is the row itself: which rows are equal, whatever the file, and what cannot be joined to them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import model_design
from schemas.contract import Contract, column, describe
from schemas.errors import UsageError
from schemas.row_key import ROW_COLUMNS, ROW_OCCURRENCE, ROW_VALUE
from schemas.usecase import Input, Lookup
from tasks.contracts.row_keys import known_keys_of_rows, with_row_keys, wrong_row_values
from tasks.features.engineering import block, design
from tasks.features.keys import group_hash
from tasks.features.row_values import row_value
from tasks.features.splitting import split_by_time
from tests.row_key_kit import SALES, TIMELESS, Sale, Timeless, sales
from tests.unit.trades import parsed


def value(**columns: Any) -> str:
    """The hash of one row."""
    frame = pl.DataFrame({name: held if isinstance(held, pl.Series) else [held] for name, held in columns.items()})
    return str(frame.select(row_value(frame.schema)).item())


def typed(held: Any, dtype: Any) -> pl.Series:
    return pl.Series([held], dtype=dtype)


def test_the_hash_is_the_one_of_every_release() -> None:
    """Hashes lie on main: another one would take every row for a new one."""
    row = {"b": "red", "a": 3, "c": None, "d": 0.25, "e": True, "f": date(2024, 3, 1), "g": datetime(2024, 3, 1, tzinfo=UTC)}
    assert value(**row) == "b4ffcf83fea32a0f7025d8d974bbbe51f0b55cc8560c55f0e6ca45aaf53cdeb3"


EQUAL = [
    ({"a": 1, "b": "x"}, {"b": "x", "a": 1}),
    ({"a": 1, "b": typed(None, pl.Float64)}, {"a": 1}),
    ({"a": 3}, {"a": 3.0}),
    ({"a": typed(3, pl.Int8)}, {"a": typed(3, pl.UInt64)}),
    ({"a": 0.0}, {"a": -0.0}),
    ({"a": 0.1}, {"a": typed(0.1, pl.Float32)}),
    ({"a": 0.1}, {"a": typed(0.1, pl.Float32).cast(pl.Float64)}),
    ({"a": 1e-7}, {"a": typed(1e-7, pl.Float32).cast(pl.Float64)}),
    ({"a": "x"}, {"a": typed("x", pl.Enum(["w", "x"]))}),
    ({"a": "x"}, {"a": typed("x", pl.Categorical())}),
    ({"a": Decimal("1.5")}, {"a": Decimal("1.50")}),
    *[({"a": datetime(2024, 3, 1)}, {"a": typed(datetime(2024, 3, 1), pl.Datetime(unit))}) for unit in ("ms", "ns")],  # noqa: DTZ001
    (
        {"a": datetime(2024, 3, 1, tzinfo=UTC)},
        {"a": typed(datetime(2024, 3, 1, tzinfo=UTC), pl.Datetime("us", "UTC")).dt.convert_time_zone("Asia/Tokyo")},
    ),
]
DIFFERENT = [
    ({"a": ""}, {"a": typed(None, pl.String)}),
    ({"a": 1, "b": typed(None, pl.Int64)}, {"a": typed(None, pl.Int64), "b": 1}),
    ({"a": "1"}, {"a": 1}),
    ({"a": True}, {"a": 1}),
    ({"a": "x1:b=t1:y"}, {"a": "x", "b": "y"}),
    ({"a": "x", "b": "yz"}, {"a": "xy", "b": "z"}),
    ({"a": 0.1}, {"a": 0.1 + 2**-40}),
    ({"a": 4294967296.0}, {"a": 4294967300.0}),  # one number in the shortest decimal of 32 bits
    ({"a": date(1970, 1, 2)}, {"a": datetime(1970, 1, 2, tzinfo=UTC)}),
    ({"a": datetime(2024, 3, 1)}, {"a": datetime(2024, 3, 1, tzinfo=UTC)}),  # noqa: DTZ001
    ({"a": typed(1, pl.Datetime("ns"))}, {"a": typed(2, pl.Datetime("ns"))}),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_values_have_one_hash(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert value(**one) == value(**other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_values_have_another_hash(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert value(**one) != value(**other)


@settings(max_examples=200, deadline=None)
@given(st.floats(-(2.0**23), 2.0**23, width=32))
def test_a_float_of_32_bits_is_the_number_that_its_text_says(number: float) -> None:
    held = typed(number, pl.Float32)
    assert value(a=held) == value(a=float(held.cast(pl.String).item())) == value(a=held.cast(pl.Float64))


def test_what_is_known_afterwards_is_not_of_the_row() -> None:
    spec, rows = SALES.inputs[0], sales(50)
    keyed = [design(SALES, frame.lazy(), {}).collect() for frame in (rows, rows.with_columns(returned=None))]
    assert keyed[0].equals(keyed[1])
    assert spec.key == SALES.key == ROW_COLUMNS
    assert keyed[0].unique(ROW_COLUMNS).height == rows.height


def test_parts_are_numbered_as_the_whole_is(tmp_path: Path) -> None:
    rows = sales(60, hours=1)
    spec, whole = SALES.inputs[0], design(SALES, rows.lazy(), {}).collect()
    for size in (1, 7, 60):
        keyed = with_row_keys(parsed(tmp_path / f"{size}", rows, size), spec, tmp_path / f"keyed-{size}")
        found = pl.concat([pl.read_parquet(path) for path in keyed.parts])
        assert found.select(ROW_COLUMNS).equals(whole.select(ROW_COLUMNS))
        assert keyed.columns == (*rows.columns, *ROW_COLUMNS)
        assert wrong_row_values(found, spec) == 0
        assert wrong_row_values(found.with_columns(pieces=pl.col("pieces") + 1), spec) == rows.height


def test_equal_rows_never_fall_on_both_sides_of_the_split() -> None:
    rows = sales(900, hours=1).drop("at")
    labelled = design(TIMELESS, rows.lazy(), {}).collect().hstack(rows.select(_target=pl.col("returned")))
    parts = split_by_time(TIMELESS, labelled)
    sides = [set(part[ROW_VALUE]) for part in parts]
    assert all(part.height > 60 for part in parts)
    assert labelled.height > 4 * labelled[ROW_VALUE].n_unique()
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    blocks = labelled.select(ROW_VALUE, block(TIMELESS).alias("b"), hash=group_hash(TIMELESS))
    assert blocks.group_by(ROW_VALUE).agg(pl.col("b").n_unique()).max()["b"].item() == 1


class Keyed(Contract):
    id: int = column()
    returned: bool = column(known="outcome", nullable=True)

    class Config:
        unique = ["id"]


class Clashing(Contract):
    penstock_row: str = column()


LABELS = Input(name="labels", contract=Keyed)
REFUSED = {
    "has the key id": partial(Input, name="x", contract=Keyed, key="row"),
    "'penstock_row', which key=\"row\" makes itself": partial(Input, name="x", contract=Clashing, key="row"),
    "list key columns in Config.unique of Sale": partial(Input, name="x", contract=Sale, key="at"),
    "list key columns in Config.unique of Timeless": partial(Input, name="x", contract=Timeless, key=("item",)),
    'for key="row" alone': partial(Input, name="x", contract=Keyed, on_redelivery="append"),
    "cannot be joined to 'sales' by key=\"row\"": partial(replace, SALES, inputs=(*SALES.inputs, LABELS), labels="labels"),
    "nothing can be looked up in 'sales'": partial(
        replace,
        SALES,
        inputs=(LABELS, *SALES.inputs),
        rows="labels",
        lookups=(Lookup(input="sales", on={}, columns={"price": "price"}),),
    ),
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_cannot_work_is_refused_when_it_is_built(says: str) -> None:
    with pytest.raises(UsageError) as refused:
        REFUSED[says]()
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_defaults_of_redelivery() -> None:
    assert Input(name="x", contract=Keyed).on_redelivery == "reject"
    assert Input(name="x", contract=Sale, key="row").on_redelivery == "keep_first"
    assert Input(name="x", contract=Sale, key="row", on_redelivery="append").on_redelivery == "append"


def test_a_contract_without_the_row_key_is_described_as_before() -> None:
    assert describe(Input(name="x", contract=Keyed).contract) == describe(Keyed)
    assert Input(name="x", contract=Keyed).contract is Input(name="x", contract=Keyed).delivered is Keyed
    spec = SALES.inputs[0]
    assert describe(spec.delivered) == describe(Sale)
    assert [*describe(spec.contract)["columns"]] == [*describe(Sale)["columns"], *ROW_COLUMNS]


def test_an_input_stays_keyed_by_the_row_through_changes_and_a_versions_design() -> None:
    spec = SALES.inputs[0]
    assert replace(spec, max_rejected_share=0.1).by_row
    assert replace(spec, contract=Sale).by_row
    wider = {"colour": {"dtype": "String", "known": "at_prediction", "private": False, "required": True}}
    assert model_design.with_columns(spec, wider).key == ROW_COLUMNS
    assert list(model_design.with_columns(spec, wider).delivered.dtypes()) == [*Sale.dtypes(), "colour"]
    recorded = model_design.describe_design(SALES)
    restored = model_design.restore_design(replace(SALES, features={"price": pl.col("price")}), recorded, "sales v1")
    assert restored.key == ROW_COLUMNS
    other = model_design.other_use_case(replace(SALES, inputs=(Input(name="sales", contract=Keyed),)), recorded)
    assert other == f"its key was {ROW_VALUE}, {ROW_OCCURRENCE} and is id"


def test_the_hash_of_private_values_is_private() -> None:
    class Secret(Contract):
        name: str = column(private=True)

    assert Input(name="x", contract=Secret, key="row").contract.private() == {"name", ROW_VALUE}
    assert SALES.inputs[0].contract.private() == set()


class Asked(Contract):
    """A column of which nobody has said when it is known."""

    price: int = column()
    state: str = column(known="confirm")


class Answered(Contract):
    """The same, answered."""

    price: int = column()
    state: str = column(known="at_prediction")


class Retyped(Contract):
    """The same, of another type."""

    price: str = column()
    state: str = column(known="at_prediction")


@pytest.mark.parametrize("later", [Asked, Answered, Retyped])
def test_rows_are_known_again_when_a_column_is_known_by_now_or_has_another_type(
    tmp_path: Path, later: type[Contract]
) -> None:
    rows = {"price": [1, 1, 2], "state": ["open", "open", "shut"]}
    before, after = Input(name="sales", contract=Asked, key="row"), Input(name="sales", contract=later, key="row")
    there = with_row_keys(parsed(tmp_path / "before", pl.DataFrame(rows), 10), before, tmp_path / "keyed-before")
    published = pl.read_parquet(there.parts[0]).drop("_row", "_untyped")
    again = pl.DataFrame(rows | {"price": [1, 1, 2]}).cast({"price": after.contract.dtypes()["price"]})
    again = pl.concat([again, again.tail(1)])
    here = with_row_keys(parsed(tmp_path / "after", again, 10), after, tmp_path / "keyed-after")
    known = known_keys_of_rows(here, after, published.lazy().select(ROW_COLUMNS), [published.lazy()])
    mine = pl.read_parquet(here.parts[0]).select(ROW_COLUMNS)
    assert mine.join(known.collect().unique(), on=ROW_COLUMNS, how="semi").height == 3  # the fourth is new

"""Two versions of a contract compared: what widens, what narrows."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from schemas.contract import Contract, column, describe, rule, version_of
from schemas.digests import sorted_json
from tasks.contracts.schema_diff import compare_contracts


class Parcel(Contract):
    code: str = column(str_length={"max_value": 8}, str_matches="^[A-Z]")
    weight: float = column(ge=0, le=30)
    pieces: int = column(gt=0)
    depot: str = column(isin=("north", "south"), nullable=True)
    size: pl.Enum = column(dtype_kwargs={"categories": ["small", "large"]})
    note: str | None = column(nullable=True)

    @rule
    @classmethod
    def light(cls) -> pl.Expr:
        """Many pieces are light."""
        return pl.col("weight") < 10 * pl.col("pieces")

    class Config:
        unique = ["code", "depot"]


def with_fields(**fields: Any) -> type[Contract]:
    """The contract with other fields: (type, field)."""
    return type(
        "Parcel",
        (Parcel,),
        {"__annotations__": {name: kind for name, (kind, _) in fields.items()}}
        | {n: made for n, (_, made) in fields.items()},
    )


def configured(**options: Any) -> type[Contract]:
    class Other(Parcel):
        class Config:
            unique = options.get("unique", ["code", "depot"])
            metadata = {"first_stays": options.get("first_stays", False)}

    return Other


class Heavier(Parcel):
    @rule
    @classmethod
    def light(cls) -> pl.Expr:
        """Many pieces are rather light."""
        return pl.col("weight") < 20 * pl.col("pieces")


class Stricter(Parcel):
    @rule
    @classmethod
    def whole(cls) -> pl.Expr:
        """Weights are whole."""
        return pl.col("weight") % 1 == 0


class Without(Contract):
    weight: float = column(ge=0, le=30)


def changes(old: type[Contract], new: type[Contract]) -> list[tuple[str, str | None, str]]:
    before, after = (json.loads(sorted_json(describe(contract))) for contract in (old, new))
    return [(change.effect, change.column, change.what) for change in compare_contracts(before, after)]


WIDER = [
    (with_fields(weight=(float, column(ge=0, le=40))), "weight", "at most 40, was at most 30"),
    (with_fields(weight=(float, column(ge=0))), "weight", "without limit, was at most 30"),
    (with_fields(pieces=(int, column(ge=0))), "pieces", "at least 0, was more than 0"),
    (with_fields(pieces=(int, column(gt=0, nullable=True))), "pieces", "may be null"),
    (with_fields(depot=(str, column(nullable=True))), "depot", "may be anything, not only what was listed"),
    (
        with_fields(depot=(str, column(isin=("north", "south", "west"), nullable=True))),
        "depot",
        "new allowed value: west",
    ),
    (
        with_fields(size=(pl.Enum, column(dtype_kwargs={"categories": ["small", "large", "huge"]}))),
        "size",
        "new category: huge",
    ),
    (with_fields(extra=(str | None, column(nullable=True))), "extra", "new and optional, String"),
    (
        with_fields(code=(str, column(str_length={"max_value": 9}, str_matches="^[A-Z]"))),
        "code",
        "length at most 9, was at most 8",
    ),
    (with_fields(code=(str, column(str_length={"max_value": 8}))), "code", "no check str_matches(^[A-Z]) any more"),
    (configured(unique=["code", "depot", "size"]), None, "the key is code, depot, size, was code, depot"),
    (configured(first_stays=True), None, "of a repeated key the first row stays"),
]


@pytest.mark.parametrize(("wider", "where", "what"), WIDER)
def test_what_accepts_more_widens_and_its_reverse_narrows(wider: type[Contract], where: str | None, what: str) -> None:
    assert changes(Parcel, wider) == [("widens", where, what)]
    assert [(effect, column) for effect, column, _ in changes(wider, Parcel)] == [("narrows", where)]


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (Heavier, ("unclear", None, "check light, was light")),
        (Stricter, ("narrows", None, "new check whole")),
        (with_fields(extra=(str, column())), ("narrows", "extra", "new and required, String: a delivery must bring it")),
        (with_fields(weight=(pl.Float32, column(ge=0, le=30))), ("narrows", "weight", "is Float32, was Float64")),
        (with_fields(pieces=(float, column(gt=0))), ("narrows", "pieces", "is Float64, was Int64")),
        (with_fields(depot=(str, column(isin=("north", "east"), nullable=True))),
         ("narrows", "depot", "no allowed value any more: south; new allowed value: east")),
        (with_fields(weight=(float, column(in_range={"min_value": 0, "max_value": 30, "include_max": False}))),
         ("narrows", "weight", "less than 30, was at most 30")),
        (with_fields(note=(str | None, column(nullable=True, known="outcome"))),
         ("neutral", "note", "is known with the outcome, not at prediction")),
        (configured(unique=["code", "size"]), ("unclear", None, "the key is code, size, was code, depot")),
    ],
)  # fmt: skip
def test_what_a_change_does_is_told(new: type[Contract], expected: tuple[str, str | None, str]) -> None:
    assert changes(Parcel, new) == [expected]


def test_the_same_demands_said_otherwise_are_no_change() -> None:
    ranged = with_fields(weight=(float, column(in_range={"min_value": 0, "max_value": 30})))
    assert changes(Parcel, ranged) == []
    assert ranged.version() != Parcel.version()


def test_a_column_that_goes_narrows() -> None:
    assert {column for effect, column, _ in changes(Parcel, Without) if effect == "narrows"} == {
        "code", "pieces", "depot", "size", "note"
    }  # fmt: skip


def test_a_described_contract_keeps_its_version_through_json() -> None:
    assert version_of(json.loads(sorted_json(describe(Parcel)))) == Parcel.version()

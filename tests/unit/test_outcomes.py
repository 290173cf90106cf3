"""Outcomes are of one type in training and in monitoring; a check is compiled over the columns that it reads."""

from typing import Annotated

import polars as pl
import pytest

from schemas.contract import Contract, column
from schemas.usecase import Input, Target, UseCase
from tasks.contracts import compiler
from tasks.features.engineering import design, newest_labels, with_labels


class Row(Contract):
    id: int = column(ge=0)
    x: float = column()
    price: Annotated[pl.Decimal, 10, 2] = column(known="outcome", nullable=True)
    grade: int = column(known="outcome", nullable=True)

    class Config:
        unique = ["id"]


TARGETS = {
    "binary": (Target(kind="binary", name="good", value=pl.col("grade") > 1, classes=("no", "yes")), pl.Boolean()),
    "multiclass": (
        Target(kind="multiclass", name="grade", value=pl.col("grade").cast(pl.String), classes=("3", "1", "2")),
        pl.Enum(["3", "1", "2"]),
    ),
    "regression": (Target(kind="regression", name="price", value=pl.col("price")), pl.Float64()),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_outcomes_have_one_type_wherever_they_are_read(kind: str) -> None:
    target, dtype = TARGETS[kind]
    case = UseCase(
        name="rows",
        question="?",
        inputs=(Input(name="rows", contract=Row),),
        rows="rows",
        target=target,
        features={"x": pl.col("x").cast(pl.Float32)},
    )
    rows = pl.DataFrame({"id": [1, 2, 3], "x": [1.0, 2.0, 3.0], "price": ["1.5", "2", None], "grade": [1, 3, None]})
    rows = rows.cast(Row.dtypes())
    known = with_labels(case, design(case, rows.lazy(), {}), rows.lazy()).collect()
    assert known.schema["_target"] == newest_labels(case, rows).schema["_target"] == dtype
    assert newest_labels(case, rows)["_target"].null_count() == known["_target"].null_count() == 1


def test_a_check_is_judged_by_the_columns_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []
    plain = pl.LazyFrame

    def counted(*args: object, schema: dict[str, pl.DataType], **kwargs: object) -> pl.LazyFrame:
        widths.append(len(schema))
        return plain(*args, schema=schema, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(compiler.pl, "LazyFrame", counted)
    assert len(compiler.compile_contract(Row).rules) > 3
    assert set(widths) == {1}

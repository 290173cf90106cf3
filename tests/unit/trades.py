"""A small input for tests of audit and publishing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from schemas.contract import Contract, column, rule
from schemas.usecase import Input
from tasks.parsing.parse import Parsed
from tasks.parsing.type_conversion import ROW, UNTYPED, UNTYPED_DTYPE


class Trade(Contract):
    """A small contract with everything an audit does."""

    id: int = column(ge=0)
    day: str = column()
    price: float = column(nullable=True, ge=0)
    side: str = column(isin=("buy", "sell"))

    @rule
    @classmethod
    def sold_at_a_price(cls) -> pl.Expr:
        """Nothing is sold for nothing."""
        return (pl.col("side") != "sell") | (pl.col("price") > 0)

    class Config:
        unique = ["id", "day"]


SPEC = Input(name="trades", contract=Trade, partition=pl.col("day"), max_rejected_share=0.5)
TYPES = Trade.dtypes()


def trades(*rows: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=TYPES, orient="row")


def parsed(
    folder: Path, frame: pl.DataFrame, part_rows: int = 2, untyped: dict[int, list[dict[str, Any]]] | None = None
) -> Parsed:
    """A frame as the parsing child would leave it."""
    told = [(untyped or {}).get(row, []) for row in range(1, frame.height + 1)]
    full = frame.with_row_index(ROW, 1).cast({ROW: pl.UInt64}).with_columns(pl.Series(UNTYPED, told, dtype=UNTYPED_DTYPE))
    folder.mkdir(exist_ok=True)
    parts = []
    for at, piece in enumerate(full.select(*frame.columns, ROW, UNTYPED).iter_slices(part_rows)):
        parts.append(folder / f"{at}.parquet")
        piece.write_parquet(parts[-1])
    return Parsed(tuple(parts), frame.height, tuple(frame.columns), "5" * 64)


GOOD = [(n, day, 1.5, "buy") for day in ("mon", "tue") for n in range(3)]

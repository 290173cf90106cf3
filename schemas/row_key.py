"""The key of rows that have none of their own: what a row says, and its place among the rows that say the same.

penstock_row           SHA-256, in hexadecimal, of the typed values of the columns known at the prediction
penstock_occurrence    number of that value in its delivery, in file order, from 1

Both are computed at ingest and stored with the accepted rows; the contract that people write does not list them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from schemas.errors import UsageError

if TYPE_CHECKING:
    import pandera.polars as pa

    from schemas.contract import Contract

ROW_VALUE, ROW_OCCURRENCE = "penstock_row", "penstock_occurrence"
ROW_COLUMNS = (ROW_VALUE, ROW_OCCURRENCE)


def is_keyed_by_row(contract: type[Contract]) -> bool:
    """Whether the contract's key is the row itself."""
    return contract.key() == ROW_COLUMNS


def value_columns(contract: type[Contract]) -> tuple[str, ...]:
    """The columns that a row's value is made of: those known at the prediction, but for the key's own."""
    return tuple(name for name in contract.known("at_prediction") if name not in ROW_COLUMNS)


def keyed_by_row(contract: type[Contract]) -> type[Contract]:
    """The contract of published rows: the columns of a contract and the two of the row's key.

    Where a column is private, so is the key's hash: whoever guesses the row could tell it by that.

    Args:
        contract: The contract of a delivery, which names no key.

    Returns:
        A contract of its own; the given one stays as it is.

    Raises:
        UsageError: The contract has a key, or one of the two columns.
    """
    from schemas.contract import column  # brings Pandera, which a use case's mere declaration can do without

    if is_keyed_by_row(contract):
        return contract
    name = contract.__name__
    if key := contract.key():
        raise UsageError(f'contract {name} has the key {", ".join(key)}: leave out key="row", or Config.unique')
    if taken := [each for each in ROW_COLUMNS if each in contract.dtypes()]:
        raise UsageError(f'contract {name} has a column {taken[0]!r}, which key="row" makes itself: rename or drop it')
    private = bool(contract.private() & set(value_columns(contract)))
    fields: dict[str, Any] = {
        "__annotations__": {ROW_VALUE: pl.String, ROW_OCCURRENCE: pl.UInt32},
        "__module__": contract.__module__,
        "__doc__": contract.__doc__,
        ROW_VALUE: column(private=private),
        ROW_OCCURRENCE: column(ge=1),
        "Config": type("Config", (), {"unique": list(ROW_COLUMNS)}),
    }
    keyed: type[Contract] = type(name, (contract,), fields)
    return keyed


def delivered(contract: type[Contract]) -> type[Contract]:
    """The contract of what a source brings: without the two columns of the row's key, where it has them."""
    if not is_keyed_by_row(contract):
        return contract
    keyed = contract.to_schema()
    columns = {name: spec for name, spec in keyed.columns.items() if name not in ROW_COLUMNS}
    schema = type(keyed)(columns, checks=keyed.checks, strict=keyed.strict is True, name=contract.__name__)

    class Delivered(contract):  # type: ignore[valid-type,misc]
        """Made of another contract."""

        @classmethod
        def to_schema(cls) -> pa.DataFrameSchema:
            return schema

    Delivered.__name__ = contract.__name__
    return Delivered

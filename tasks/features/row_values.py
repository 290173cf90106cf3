"""What a row says, as a hash that follows from its typed values alone: the key of rows that have none of their own.

Each value is written with its column's name, in the order of the names, so that the order of columns does not count. A null
is not written at all (empty text is), so that a column which came later changes no row that lacks it. Numbers of equal value
are written alike, whatever their type: a float without a fraction as an integer, every other one as the 64-bit float nearest
to the shortest decimal that stands for it, in 32 bits where these hold it. So a file gives the same hash as CSV and as
Parquet, and the text of no library's numbers enters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import polars as pl

from schemas.row_key import ROW_OCCURRENCE, ROW_VALUE, value_columns
from schemas.usecase import Input

MICROSECONDS = {"ms": 1000, "us": 1}
WHOLE = 2.0**63


def row_value(dtypes: Mapping[str, pl.DataType]) -> pl.Expr:
    """SHA-256 of each row's values, in hexadecimal.

    Args:
        dtypes: The columns that count, with their types.

    Returns:
        An expression of String, never null.
    """
    written = pl.concat_str([_written(name, dtypes[name]) for name in sorted(dtypes)] or [pl.lit("")])
    return written.cast(pl.Binary).map_batches(_sha256, return_dtype=pl.String, is_elementwise=True)


def with_row_key(spec: Input, rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows with the two columns of their key, where the input is keyed by the row and they lack them.

    Args:
        spec: The input.
        rows: Rows of one delivery, in file order.

    Returns:
        The same rows, in the same order.
    """
    schema = rows.collect_schema() if spec.by_row else {}
    if not spec.by_row or ROW_VALUE in schema:
        return rows
    return rows.with_columns(row_value_of(spec, schema)).with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over(ROW_VALUE).alias(ROW_OCCURRENCE)
    )


def row_value_of(spec: Input, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """`penstock_row` for rows of an input that have the columns of a schema.

    Args:
        spec: The input, keyed by the row.
        schema: Types of the columns that the rows have.

    Returns:
        An expression of String.
    """
    return row_value({name: schema[name] for name in value_columns(spec.contract) if name in schema}).alias(ROW_VALUE)


def _written(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column's value with the column's name, both told from what follows; nothing for a null."""
    column = pl.col(name)
    start = pl.lit(f"{len(name.encode())}:{name}=")
    return pl.when(column.is_not_null()).then(pl.concat_str(start, _text(column, dtype))).otherwise(pl.lit(""))


def _text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_integer():
        return pl.concat_str(pl.lit("n"), column.cast(pl.String), pl.lit(";"))
    if dtype.is_float():
        return _float(column.cast(pl.Float64))
    if dtype == pl.Boolean:
        return pl.when(column).then(pl.lit("true;")).otherwise(pl.lit("false;"))
    if dtype.is_temporal():
        return _moment(column, dtype)
    if isinstance(dtype, pl.Decimal):
        digits = column.cast(pl.String)
        short = pl.when(digits.str.contains(".", literal=True)).then(digits.str.strip_chars_end("0")).otherwise(digits)
        return pl.concat_str(pl.lit("d"), short.str.strip_chars_end("."), pl.lit(";"))
    return _quoted(_as_text(column, dtype))


def _float(value: pl.Expr) -> pl.Expr:
    whole = value.is_finite() & (value == value.floor()) & (value.abs() < WHOLE)
    integer = pl.concat_str(
        pl.lit("n"), pl.when(whole).then(value).cast(pl.Int64, strict=False).cast(pl.String), pl.lit(";")
    )
    short = value.cast(pl.Float32)
    in_32_bits = short.cast(pl.Float64) == value
    nearest = pl.when(in_32_bits & value.is_finite()).then(short.cast(pl.String).cast(pl.Float64)).otherwise(value)
    bits = pl.concat_str(pl.lit("f"), nearest.map_batches(_bits, return_dtype=pl.UInt64, is_elementwise=True), pl.lit(";"))
    return pl.when(whole).then(integer).otherwise(bits)


def _moment(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Days, or microseconds and what nanoseconds are over; a zone's name does not count, whether there is one does."""
    number, kind = column.to_physical().cast(pl.Int64), "day"
    if dtype == pl.Time:
        return pl.concat_str(pl.lit("time"), number.cast(pl.String), pl.lit(";"))
    if isinstance(dtype, (pl.Datetime, pl.Duration)):
        kind = "for" if isinstance(dtype, pl.Duration) else "at" if dtype.time_zone else "local"
        if dtype.time_unit == "ns":
            rest = number % 1000
            over = pl.when(rest != 0).then(pl.concat_str(pl.lit("."), rest.cast(pl.String))).otherwise(pl.lit(""))
            return pl.concat_str(pl.lit(kind), (number // 1000).cast(pl.String), over, pl.lit(";"))
        number = number * MICROSECONDS[dtype.time_unit]
    return pl.concat_str(pl.lit(kind), number.cast(pl.String), pl.lit(";"))


def _as_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Binary:
        return column.bin.encode("hex")
    if dtype.is_nested():
        return pl.struct(column.alias("v")).struct.json_encode()
    return column.cast(pl.String)


def _quoted(text: pl.Expr) -> pl.Expr:
    """Text after its length, so that no text can pass for two."""
    return pl.concat_str(pl.lit("t"), text.str.len_bytes().cast(pl.String), pl.lit(":"), text)


def _bits(values: pl.Series) -> pl.Series:
    return pl.Series(values.fill_null(0.0).to_numpy().view(np.uint64))


def _sha256(written: pl.Series) -> pl.Series:
    digest = hashlib.sha256
    return pl.Series([digest(text).hexdigest() for text in written], dtype=pl.String)

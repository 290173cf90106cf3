"""Values to the contract's types, exactly or not at all.

A value is taken where the contract's type holds it without loss. Otherwise the typed value is null and the original text is
kept, so that the audit can reject the row and say why.

from text       integers are written in digits; a number that overflows a float is not taken; dates and times are ISO 8601,
                with an offset or Z where the contract's type has a zone and without where it has none
between types   integers of any width, integers, decimals and floats, times of another unit or zone, dates and the midnights
                of times without a zone, strings and categories; anything else is another schema, not another value
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

ROW = "_row"
UNTYPED = "_untyped"
UNTYPED_DTYPE = pl.List(pl.Struct({"column": pl.String, "text": pl.String}))

FIRST_DAY, LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31 in days since 1970: what every calendar here can say
NANOSECOND_DAYS = 106_751  # from 1970 either way: what 64 bits hold in nanoseconds, 1677-09-22 to 2262-04-11
NANOSECOND_YEARS = (1678, 2261)
UNITS = {"ms": 10**3, "us": 10**6, "ns": 10**9}
DAY = 86_400

_CLOCK = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_ZONE = r"(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)"
_DATE = r"\d{4}-\d{2}-\d{2}"
_DIGITS = {"ms": 3, "us": 6, "ns": 9}


@dataclass(frozen=True)
class Conversion:
    """How one column becomes the contract's: `value` is null and `text` is not where the value cannot be typed."""

    value: pl.Expr
    text: pl.Expr


def conversion(name: str, source: pl.DataType, target: pl.DataType) -> Conversion | None:
    """The conversion of column `name` from one type to another, or None where there is none without loss.

    Args:
        name: Name of the column.
        source: The type that it has.
        target: The type that the contract wants.

    Returns:
        The conversion, or None.
    """
    column = pl.col(name)
    if source == target and not isinstance(target, (pl.Date, pl.Datetime)):
        return Conversion(column, pl.lit(None, dtype=pl.String))
    if source == pl.Null:
        return Conversion(column.cast(target), pl.lit(None, dtype=pl.String))
    value = _between(column, source, target)
    if value is None:
        return None
    original = as_text(column, source)
    return Conversion(value, pl.when(value.is_null() & column.is_not_null()).then(original))


def from_text(name: str, target: pl.DataType) -> Conversion | None:
    """The conversion of a column of text, or None where the type has no text form.

    Args:
        name: Name of the column.
        target: The type that the contract wants.

    Returns:
        The conversion, or None.
    """
    column = pl.col(name)
    if target == pl.String:
        return Conversion(column, pl.lit(None, dtype=pl.String))
    value = text_value(column, target)
    if value is None:
        return None
    # A quoted nothing is an empty string; in any other type it is nothing.
    return Conversion(value, pl.when(value.is_null() & (column != "")).then(column))


def typed(frame: pl.DataFrame, conversions: Mapping[str, Conversion]) -> pl.DataFrame:
    """The frame with each column converted, `_row` kept, and `_untyped`: column and text of what could not be typed.

    Args:
        frame: Rows as they were read, with `_row`.
        conversions: How each column becomes its type.

    Returns:
        The typed rows.
    """
    texts = {name: each.text for name, each in conversions.items()}
    done = frame.select(
        *(each.value.alias(name) for name, each in conversions.items()),
        pl.col(ROW),
        *(text.alias(f"_text_{name}") for name, text in texts.items()),
    )
    failed = [name for name in texts if done[f"_text_{name}"].null_count() < done.height]
    values = done.select(*conversions, ROW)
    if not failed:
        return values.with_columns(pl.lit([], dtype=UNTYPED_DTYPE).alias(UNTYPED))
    return values.join(_untyped(done, failed), on=ROW, how="left", maintain_order="left").with_columns(
        pl.col(UNTYPED).fill_null([])
    )


def _untyped(done: pl.DataFrame, failed: list[str]) -> pl.DataFrame:
    each = [
        done.filter(pl.col(f"_text_{name}").is_not_null()).select(
            ROW, pl.struct(pl.lit(name).alias("column"), pl.col(f"_text_{name}").alias("text")).alias(UNTYPED)
        )
        for name in failed
    ]
    return pl.concat(each).group_by(ROW, maintain_order=True).agg(UNTYPED)


def as_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Any value as text that a person can read; dates beyond the calendar as their number.

    Args:
        column: The column.
        dtype: Its type.

    Returns:
        An expression of String.
    """
    if isinstance(dtype, (pl.List, pl.Array, pl.Struct)):
        return pl.struct(column.alias("v")).struct.json_encode().str.slice(5).str.head(-1)
    if dtype == pl.Binary:
        return column.bin.encode("hex")
    if isinstance(dtype, (pl.Date, pl.Datetime)):
        inside = in_calendar(column, dtype)
        return (
            pl.when(inside)
            .then(pl.when(inside).then(column).cast(pl.String))
            .otherwise(column.to_physical().cast(pl.String))
        )
    if isinstance(dtype, (pl.Duration, pl.Object)):
        return column.to_physical().cast(pl.String)
    return column.cast(pl.String)


def in_calendar(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Whether a date or time lies in the years 1 to 9999; beyond, polars panics where it formats or shifts them."""
    number = column.to_physical()
    if not isinstance(dtype, pl.Datetime):
        return number.is_between(FIRST_DAY, LAST_DAY)
    second = UNITS[dtype.time_unit]
    if dtype.time_unit == "ns":
        return pl.lit(True)
    return number.is_between(FIRST_DAY * DAY * second, (LAST_DAY + 1) * DAY * second - 1)


def _fits_unit(column: pl.Expr, source: pl.DataType, unit: str) -> pl.Expr:
    """Whether a date or time lies in the calendar, and where another unit can say it."""
    inside = in_calendar(column, source)
    if unit != "ns" or (isinstance(source, pl.Datetime) and source.time_unit == "ns"):
        return inside
    most = NANOSECOND_DAYS * (DAY * UNITS[source.time_unit] if isinstance(source, pl.Datetime) else 1)
    return inside & column.to_physical().is_between(-most, most)


def text_value(column: pl.Expr, target: pl.DataType) -> pl.Expr | None:
    """The value that a text says in the plain way, null where it says none.

    Args:
        column: Text.
        target: The type that the contract wants.

    Returns:
        An expression of that type, or None where text cannot say it.
    """
    if target.is_integer() or isinstance(target, (pl.Enum, pl.Categorical)):
        return column.cast(target, strict=False)
    if target.is_float():
        return _float(column, target)
    if isinstance(target, pl.Decimal):
        written = column.str.contains(rf"^[+-]?\d+(\.\d{{0,{target.scale}}})?$")
        return pl.when(written).then(column.cast(target, strict=False))
    if target == pl.Boolean:
        return column.replace_strict(
            {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False},
            default=None,
            return_dtype=pl.Boolean,
        )
    return _moment(column, target)


def _float(column: pl.Expr, target: pl.DataType) -> pl.Expr:
    """NaN and infinity stay what they are, for the contract to refuse; a number too large for the type is not taken."""
    value = column.cast(target, strict=False)
    overflow = value.is_infinite() & ~column.str.contains(r"(?i)^[+-]?inf(inity)?$")
    return pl.when(~overflow).then(value)


def _moment(column: pl.Expr, target: pl.DataType) -> pl.Expr | None:
    if isinstance(target, pl.Datetime):
        zone, directive = (_ZONE, "%+") if target.time_zone else ("", "%Y-%m-%dT%H:%M:%S%.f")
        form = rf"^{_DATE}[T ]{_CLOCK}(\.\d{{1,{_DIGITS[target.time_unit]}}})?{zone}$"
        is_iso = column.str.contains(form)
        if target.time_unit == "ns":  # beyond, its number would be that of another year
            first, last = map(str, NANOSECOND_YEARS)
            is_iso &= column.str.slice(0, 4).is_between(pl.lit(first), pl.lit(last))
        iso = pl.when(is_iso).then(column.str.replace(" ", "T", literal=True))
        value = iso.str.to_datetime(directive, time_unit=target.time_unit, strict=False)
        if target.time_zone:
            value = value.dt.convert_time_zone(target.time_zone)
        return pl.when(~column.str.starts_with("0000")).then(value)
    if target == pl.Date:
        written = column.str.contains(rf"^{_DATE}$") & ~column.str.starts_with("0000")
        return pl.when(written).then(column.str.to_date("%Y-%m-%d", strict=False))
    if target == pl.Time:
        return pl.when(column.str.contains(rf"^{_CLOCK}(\.\d{{1,9}})?$")).then(
            column.str.to_time("%H:%M:%S%.f", strict=False)
        )
    return None


def _between(column: pl.Expr, source: pl.DataType, target: pl.DataType) -> pl.Expr | None:
    if source.is_integer() and target.is_integer():
        return column.cast(target, strict=False)
    if source == pl.Float32 and target == pl.Float64:
        return column.cast(target)
    if (source.is_integer() and target.is_float()) or (source.is_float() and target.is_integer()):
        return _exact(column, source, target)
    if isinstance(source, pl.Decimal) and target.is_float():
        return column.cast(pl.String).cast(target)  # the nearest float, as its text has
    if isinstance(source, pl.Decimal) or (source.is_integer() and isinstance(target, pl.Decimal)):
        return _exact(column, source, target) if target.is_integer() or isinstance(target, pl.Decimal) else None
    if _is_text(source) and _is_text(target):
        return column.cast(pl.String).cast(target, strict=False)
    if isinstance(source, pl.Datetime) and isinstance(target, pl.Datetime):
        return _shifted(column, source, target)
    if isinstance(source, pl.Datetime) and source.time_zone is None and target == pl.Date:
        inside = pl.when(in_calendar(column, source)).then(column)
        return pl.when(inside.dt.time() == pl.time(0, 0)).then(inside.dt.date())
    if source == pl.Date and isinstance(target, pl.Datetime) and target.time_zone is None:
        return pl.when(_fits_unit(column, source, target.time_unit)).then(column).cast(target)
    if source == pl.Date and target == pl.Date:
        return pl.when(in_calendar(column, source)).then(column)
    return None


def _is_text(dtype: pl.DataType) -> bool:
    return isinstance(dtype, (pl.String, pl.Enum, pl.Categorical))


def _exact(column: pl.Expr, source: pl.DataType, target: pl.DataType) -> pl.Expr:
    """The converted value where converting it back gives the same one."""
    value = column.cast(target, strict=False)
    return pl.when(value.cast(source, strict=False) == column).then(value)


def _shifted(column: pl.Expr, source: pl.Datetime, target: pl.Datetime) -> pl.Expr | None:
    """The same instant in another unit or zone; a time without a zone and one with are not comparable."""
    if (source.time_zone is None) != (target.time_zone is None):
        return None
    inside = pl.when(_fits_unit(column, source, target.time_unit)).then(column)
    value = inside.dt.cast_time_unit(target.time_unit)
    kept = value.dt.cast_time_unit(source.time_unit) == inside
    if target.time_zone:
        value = value.dt.convert_time_zone(target.time_zone)
    return pl.when(kept).then(value)

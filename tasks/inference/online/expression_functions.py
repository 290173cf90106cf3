"""The functions of the vocabulary: conditions, nulls, times, and whatever maps one value to one value.

Functions of one column that are not written out here (regular expressions, upper case, sines, ...) are evaluated by
polars itself on the one value and remembered, so that they cannot differ from it.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from tasks.inference.online.expression_operators import (
    DAY,
    Declined,
    Evaluate,
    Node,
    NotInVocabulary,
    Row,
    as_expression,
    comparison,
    filled,
    is_int,
    lifted,
    logic,
    physical,
    ranged,
    restored,
)

REMEMBERED = 4096
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
HOUR, MINUTE, SECOND = 3_600_000_000, 60_000_000, 1_000_000

# Elementwise in polars, so that one value alone gives what it gives in a column.
_ELEMENTWISE = {
    "StringExpr": {
        "Contains", "EndsWith", "StartsWith", "Uppercase", "Lowercase", "LenChars", "LenBytes", "Slice", "Head", "Tail",
        "StripChars", "StripCharsStart", "StripCharsEnd", "StripPrefix", "StripSuffix", "Replace", "CountMatches",
    },
    "TemporalExpr": {"ToString", "Truncate", "Quarter", "Week", "IsoYear", "IsLeapYear", "MonthStart", "MonthEnd"},
    "Trigonometry": {"Sin", "Cos", "Tan", "ArcSin", "ArcCos", "ArcTan", "Radians", "Degrees"},
    "Pow": {"Sqrt", "Cbrt"},
    "Log": {""}, "Log1p": {""}, "Exp": {""}, "Round": {""}, "Floor": {""}, "Ceil": {""}, "Clip": {""},
}  # fmt: skip

_SIGNS: dict[str, Callable[[Any], Any]] = {"Abs": abs, "Negate": operator.neg}


def function(content: Any, inputs: list[Node], dtype: pl.DataType) -> Evaluate:
    """A function of a serialized tree over its compiled inputs. Raises NotInVocabulary."""
    group, name, option = _named(content["function"])
    if group == "Boolean":
        return _boolean(name, option, inputs, content["input"])
    if group in ("FillNull", "Coalesce"):
        return reduce(filled, [node.evaluate for node in inputs])
    if group in _SIGNS and dtype in (pl.Int64, pl.Float64):
        return ranged(lifted(_SIGNS[group], inputs[0].evaluate), dtype)
    if group == "TemporalExpr" and (temporal := _temporal(name, option, inputs)):
        return temporal
    if name in _ELEMENTWISE.get(group, ()):
        return remembered(content, inputs, dtype)
    raise NotInVocabulary(f"function {group} {name}".strip())


def _named(kind: Any) -> tuple[str, str, Any]:
    """Group, name within the group and options: "FillNull"; {"Boolean": "Not"}; {"Boolean": {"IsIn": {...}}}."""
    if isinstance(kind, str):
        return kind, "", None
    [(group, inner)] = kind.items()
    if isinstance(inner, str):
        return group, inner, None
    if group in ("Boolean", "StringExpr", "TemporalExpr", "Trigonometry", "Pow"):
        [(name, option)] = inner.items()
        return group, name, option
    return group, "", inner


# Conditions


def _boolean(name: str, option: Any, inputs: list[Node], trees: list[Any]) -> Evaluate:
    first = inputs[0] if inputs else None
    if name == "IsIn":
        return _is_in(inputs, option)
    if name == "IsBetween":
        return _is_between(inputs, option["closed"])
    if first is None or (len(inputs) > 1 and name not in ("AllHorizontal", "AnyHorizontal")):
        raise NotInVocabulary(f"condition {name}")
    if name == "IsNull":
        return lambda row: first.evaluate(row) is None
    if name == "IsNotNull":
        return lambda row: first.evaluate(row) is not None
    if name in ("AllHorizontal", "AnyHorizontal", "Not") and any(node.dtype != pl.Boolean for node in inputs):
        raise NotInVocabulary(f"{name} of {first.dtype}")
    if name == "Not":
        return lifted(lambda value: not value, first.evaluate)
    if name in ("AllHorizontal", "AnyHorizontal"):
        return reduce(lambda a, b: logic(a, b, absorbing=name == "AnyHorizontal"), [n.evaluate for n in inputs])
    return lifted(_of_number(name, first.dtype), first.evaluate)


def _of_number(name: str, dtype: pl.DataType) -> Callable[[Any], bool]:
    known: dict[str, Callable[[Any], bool]] = {
        "IsNan": math.isnan,
        "IsNotNan": lambda value: not math.isnan(value),
        "IsFinite": math.isfinite,
        "IsInfinite": math.isinf,
    }
    if name not in known or not (is_int(dtype) or dtype in (pl.Float32, pl.Float64)):
        raise NotInVocabulary(f"condition {name} of {dtype}")
    return known[name]


def _is_in(inputs: list[Node], option: Any) -> Evaluate:
    node, among = inputs
    inner = among.dtype.inner if isinstance(among.dtype, pl.List) else None
    alike = inner is not None and ((is_int(node.dtype) and is_int(inner)) or node.dtype == inner)  # type: ignore[arg-type]
    values = among.evaluate(()) if alike and node.dtype in _MEMBERS else None
    if values is None or None in values or option != {"nulls_equal": False}:
        raise NotInVocabulary(f"is_in of {node.dtype} and {among.dtype}")
    return lifted(frozenset(values).__contains__, node.evaluate)


_MEMBERS = (pl.String, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt32, pl.Date)


def _is_between(inputs: list[Node], closed: str) -> Evaluate:
    value, low, high = inputs
    above = comparison("GtEq" if closed in ("Both", "Left") else "Gt", value, low)
    below = comparison("LtEq" if closed in ("Both", "Right") else "Lt", value, high)
    return logic(above, below, absorbing=False)


# Dates and times


def _temporal(name: str, option: Any, inputs: list[Node]) -> Evaluate | None:
    if name == "DatetimeFunction":
        return _moment(inputs, option)
    if name == "Duration":
        return _duration(inputs, option)
    node = inputs[0]
    if not isinstance(node.dtype, (pl.Datetime, pl.Date)) or getattr(node.dtype, "time_unit", "us") != "us":
        raise NotInVocabulary(f"{name} of {node.dtype}")
    if name == "ConvertTimeZone":
        return node.evaluate
    part = _PARTS.get(name)
    if part is None:
        return None
    zone = getattr(node.dtype, "time_zone", None)
    scale = DAY if isinstance(node.dtype, pl.Date) else 1
    local = _local(zone)
    return lifted(lambda value: part(local(value * scale)), node.evaluate)


def _local(zone: str | None) -> Callable[[int], int]:
    """Microseconds of the wall clock in a zone. Moments that Python's calendar cannot hold are left to polars."""
    if zone in (None, "UTC"):
        return _in_calendar
    place = ZoneInfo(zone)

    def local(moment: int) -> int:
        _in_calendar(moment)
        offset = (EPOCH + timedelta(microseconds=moment)).astimezone(place).utcoffset()
        return moment + offset // timedelta(microseconds=1) if offset else moment

    return local


_EARLIEST = -62_000_000_000_000_000  # a few years inside of years 1 to 9999
_LATEST = 253_000_000_000_000_000


def _in_calendar(moment: int) -> int:
    if _EARLIEST < moment < _LATEST:
        return moment
    raise Declined


def days(moment: int) -> int:
    """Days since 1970 of microseconds since 1970."""
    return moment // DAY


def _day(moment: int) -> date:
    return date.fromordinal(moment // DAY + EPOCH_ORDINAL)


_PARTS: dict[str, Callable[[int], int]] = {
    "Date": days,
    "Hour": lambda moment: moment // HOUR % 24,
    "Minute": lambda moment: moment // MINUTE % 60,
    "Second": lambda moment: moment // SECOND % 60,
    "WeekDay": lambda moment: (moment // DAY + 3) % 7 + 1,
    "Day": lambda moment: _day(moment).day,
    "Month": lambda moment: _day(moment).month,
    "Year": lambda moment: _day(moment).year,
    "OrdinalDay": lambda moment: _day(moment).timetuple().tm_yday,
}


def _moment(inputs: list[Node], option: Any) -> Evaluate:
    """A naive datetime of year, month, day, hour, minute, second, microsecond; impossible ones are left to polars."""
    numbers = inputs[:7]
    if option != {"time_unit": "Microseconds", "time_zone": None} or not all(is_int(node.dtype) for node in numbers):
        raise NotInVocabulary(f"a datetime {option}")
    parts = [node.evaluate for node in numbers]

    def evaluate(row: Row) -> Any:
        values = [part(row) for part in parts]
        if None in values:
            return None
        year, month, day, hour, minute, second, micro = values
        if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60 and 0 <= micro < SECOND):
            raise Declined
        try:
            ordinal = date(year, month, day).toordinal()
        except (ValueError, OverflowError):
            raise Declined from None
        return (ordinal - EPOCH_ORDINAL) * DAY + hour * HOUR + minute * MINUTE + second * SECOND + micro

    return evaluate


def _duration(inputs: list[Node], option: Any) -> Evaluate:
    """Weeks, days, hours, minutes, seconds, milliseconds, microseconds, nanoseconds added up."""
    scales = (7 * DAY, DAY, HOUR, MINUTE, SECOND, 1000, 1, 0)
    if option != "Microseconds" or not all(is_int(node.dtype) for node in inputs):
        raise NotInVocabulary(f"a duration {option}")
    parts = [node.evaluate for node in inputs]

    def evaluate(row: Row) -> Any:
        values = [part(row) for part in parts]
        if None in values:
            return None
        if values[7]:
            raise Declined
        return sum(value * scale for value, scale in zip(values, scales, strict=True))

    return ranged(evaluate, pl.Int64())


# One value through polars, remembered


def remembered(content: Any, inputs: list[Node], dtype: pl.DataType) -> Evaluate:
    """An elementwise function of one column. Raises NotInVocabulary where it takes several."""
    moving = [at for at, tree in enumerate(content["input"]) if '"Column"' in json.dumps(tree)]
    if len(moving) != 1:
        raise NotInVocabulary("a function of several columns")
    node = inputs[moving[0]]
    trees = [{"Column": "it"} if at == moving[0] else tree for at, tree in enumerate(content["input"])]
    expression = as_expression({"Function": {**content, "input": trees}})
    if physical(pl.Series([None], dtype=dtype)) != [None]:
        raise NotInVocabulary(f"values of {dtype}")
    memory: dict[Any, Any] = {}

    def evaluate(row: Row) -> Any:
        value = node.evaluate(row)
        key = (value, math.copysign(1, value)) if isinstance(value, float) else value
        if key not in memory:
            if len(memory) >= REMEMBERED:
                memory.clear()
            memory[key] = _through_polars(value, node.dtype, expression)
        return memory[key]

    return evaluate


def _through_polars(value: Any, dtype: pl.DataType, expression: pl.Expr) -> Any:
    if value != value:
        raise Declined
    try:
        return physical(pl.DataFrame([restored("it", [value], dtype)]).select(expression).to_series())[0]
    except pl.exceptions.PolarsError:
        raise Declined from None

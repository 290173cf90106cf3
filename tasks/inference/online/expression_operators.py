"""What the compiled evaluator is made of: values, the two ways to say no, and the operators.

Values are physical: int, float, str, bool, None; a date is its days since 1970, a datetime or duration its microseconds
(for a zoned datetime: since 1970 in UTC, whatever the zone), an Enum its text, a Float32 the Python float of equal value.
"""

from __future__ import annotations

import ctypes
import io
import json
import math
import operator
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import polars as pl

Row = Sequence[Any]
Evaluate = Callable[[Row], Any]

INTEGERS: dict[type[pl.DataType] | pl.DataType, tuple[int, int]] = {
    pl.Int8: (-(1 << 7), (1 << 7) - 1),
    pl.Int16: (-(1 << 15), (1 << 15) - 1),
    pl.Int32: (-(1 << 31), (1 << 31) - 1),
    pl.Int64: (-(1 << 63), (1 << 63) - 1),
    pl.UInt32: (0, (1 << 32) - 1),
}
EXACT = 1 << 53  # every integer up to this size is a float64
DAY = 86_400_000_000  # microseconds
DURATION = pl.Duration("us")


class NotInVocabulary(Exception):
    """An expression has a part that only polars evaluates. The frame path takes all rows."""


class Declined(Exception):
    """The compiled evaluator leaves this one row to polars: a value where both might differ."""


@dataclass(frozen=True)
class Node:
    """A compiled expression: its data type as polars knows it, and its value for a row."""

    dtype: pl.DataType
    evaluate: Evaluate


def is_int(dtype: pl.DataType) -> bool:
    """Whether it is one of the integer types of the vocabulary."""
    return dtype.base_type() in INTEGERS


def as_float32(value: float) -> float:
    """The nearest Float32, ties to even, as a Python float.

    Args:
        value: Any float.

    Returns:
        A float that Float32 holds exactly.
    """
    return ctypes.c_float(value).value


def ranged(evaluate: Evaluate, dtype: pl.DataType) -> Evaluate:
    """Integer results that do not fit their type wrap around in polars: they are left to it."""
    if dtype == pl.Float64:
        return evaluate
    low, high = INTEGERS[dtype.base_type()] if is_int(dtype) else INTEGERS[pl.Int64]

    def checked(row: Row) -> Any:
        value = evaluate(row)
        if value is None or low <= value <= high:
            return value
        raise Declined

    return checked


class Constant:
    """The evaluation of a literal; others that meet it need not ask it for each row."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, row: Row) -> Any:
        """The literal's value."""
        return self.value


def lifted(function: Callable[[Any], Any], inner: Evaluate) -> Evaluate:
    """A function of one value, null for null."""

    def evaluate(row: Row) -> Any:
        value = inner(row)
        return None if value is None else function(value)

    if isinstance(inner, Constant):
        with suppress(Declined):
            return Constant(evaluate(()))
    return evaluate


def lifted2(function: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    """A function of two values, null where either is null. Both are always evaluated, as in polars."""

    def evaluate(row: Row) -> Any:
        a, b = left(row), right(row)
        return None if a is None or b is None else function(a, b)

    if not isinstance(right, Constant) or right.value is None:
        return evaluate
    constant = right.value

    def with_constant(row: Row) -> Any:
        a = left(row)
        return None if a is None else function(a, constant)

    return with_constant


def filled(first: Evaluate, second: Evaluate) -> Evaluate:
    """The second value where the first is null. Both are always evaluated, as in polars."""

    def evaluate(row: Row) -> Any:
        a, b = first(row), second(row)
        return b if a is None else a

    if not isinstance(second, Constant):
        return evaluate
    constant = second.value

    def with_constant(row: Row) -> Any:
        a = first(row)
        return constant if a is None else a

    return with_constant


def bits(value: Any) -> Any:
    """The value so that equal means equal in every bit; all NaN are one."""
    if isinstance(value, float):
        return struct.pack("<d", math.nan if value != value else value)
    return value


def storage(dtype: pl.DataType) -> pl.DataType:
    """The type whose values are the physical ones of another."""
    if isinstance(dtype, (pl.Enum, pl.Categorical)):
        return pl.String()
    if dtype.is_temporal():
        return pl.Int32() if dtype == pl.Date else pl.Int64()
    return dtype


def restored(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """The series of some physical values: the inverse of `physical`."""
    return pl.Series(name, values, dtype=storage(dtype)).cast(dtype)


def as_expression(tree: Any) -> pl.Expr:
    """The polars expression of a serialized tree."""
    return pl.Expr.deserialize(io.BytesIO(json.dumps(tree).encode()), format="json")


def physical(series: pl.Series) -> list[Any]:
    """Values of a series as the compiled evaluator holds them. Raises NotInVocabulary for other types."""
    dtype = series.dtype
    if isinstance(dtype, pl.Enum):
        return series.cast(pl.String).to_list()
    if dtype.is_temporal():
        if dtype == pl.Date or getattr(dtype, "time_unit", None) == "us":
            return series.to_physical().to_list()
        raise NotInVocabulary(f"values of {dtype}")
    if isinstance(dtype, pl.List):
        return [None if each is None else physical(each) for each in series]
    if is_int(dtype) or dtype in (pl.String, pl.Boolean, pl.Float32, pl.Float64, pl.Null):
        return series.to_list()
    raise NotInVocabulary(f"values of {dtype}")


# Arithmetic

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {"Plus": operator.add, "Minus": operator.sub, "Multiply": operator.mul}
_DIVISIONS: dict[str, Callable[[int, int], int]] = {"FloorDivide": operator.floordiv, "Modulus": operator.mod}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Lt": operator.lt,
    "LtEq": operator.le,
    "Gt": operator.gt,
    "GtEq": operator.ge,
}


def binary(op: str, left: Node, right: Node, dtype: pl.DataType) -> Evaluate:
    """A binary operator whose result polars types as `dtype`. Raises NotInVocabulary."""
    if op in _COMPARISONS:
        return comparison(op, left, right)
    if op in ("And", "Or") and left.dtype == right.dtype == pl.Boolean:
        return logic(left.evaluate, right.evaluate, absorbing=op == "Or")
    if op == "TrueDivide" and dtype == pl.Float64:
        return lifted2(_divide, _float64(left), _float64(right))
    if op in _DIVISIONS and is_int(dtype) and is_int(left.dtype) and is_int(right.dtype):
        return ranged(lifted2(_whole(_DIVISIONS[op]), left.evaluate, right.evaluate), dtype)
    if op in _ARITHMETIC:
        return arithmetic(op, left, right, dtype)
    raise NotInVocabulary(f"operator {op} of {left.dtype} and {right.dtype}")


def arithmetic(op: str, left: Node, right: Node, dtype: pl.DataType) -> Evaluate:
    """Sum, difference or product. Raises NotInVocabulary for other types than integers, Float64, times and durations."""
    function = _ARITHMETIC[op]
    if dtype == pl.Float64:
        return lifted2(function, _float64(left), _float64(right))
    if is_int(dtype) and is_int(left.dtype) and is_int(right.dtype):
        return ranged(lifted2(function, left.evaluate, right.evaluate), dtype)
    if op != "Multiply" and _is_time(left.dtype) and _is_time(right.dtype):
        return ranged(lifted2(function, left.evaluate, right.evaluate), dtype)
    raise NotInVocabulary(f"{op} of {left.dtype} and {right.dtype}")


def _is_time(dtype: pl.DataType) -> bool:
    return dtype == DURATION or (isinstance(dtype, pl.Datetime) and dtype.time_unit == "us")


def _float64(node: Node) -> Evaluate:
    if node.dtype == pl.Float64:
        return node.evaluate
    if is_int(node.dtype):
        return lifted(float, node.evaluate)
    raise NotInVocabulary(f"Float64 arithmetic of {node.dtype}")


def _divide(a: float, b: float) -> float:
    if b == 0:
        raise Declined
    return a / b


def _whole(function: Callable[[int, int], int]) -> Callable[[int, int], int | None]:
    """Integers divided by zero give null."""
    return lambda a, b: function(a, b) if b else None


# Comparisons and logic

_COMPARABLE = (pl.String, pl.Boolean, pl.Date)


def comparison(op: str, left: Node, right: Node) -> Evaluate:
    """A comparison. Raises NotInVocabulary unless both sides are numbers, or of one type that orders alike in Python."""
    function = _COMPARISONS[op]
    if is_int(left.dtype) and is_int(right.dtype):
        return lifted2(function, left.evaluate, right.evaluate)
    if pl.Float64 in (left.dtype, right.dtype):
        return lifted2(_of_floats(function), _exact(left), _exact(right))
    if left.dtype == right.dtype and (left.dtype in _COMPARABLE or _is_time(left.dtype)):
        return lifted2(function, left.evaluate, right.evaluate)
    raise NotInVocabulary(f"{op} of {left.dtype} and {right.dtype}")


def _of_floats(function: Callable[[Any, Any], bool]) -> Callable[[float, float], bool]:
    def compare(a: float, b: float) -> bool:
        if a != a or b != b:  # polars orders NaN, Python does not
            raise Declined
        return function(a, b)

    return compare


def _exact(node: Node) -> Evaluate:
    """The number as a float, which polars compares; an integer that no float64 equals is left to it."""
    if node.dtype == pl.Float64:
        return node.evaluate
    if not is_int(node.dtype):
        raise NotInVocabulary(f"comparison of {node.dtype} with Float64")

    def convert(value: int) -> float:
        if -EXACT <= value <= EXACT:
            return float(value)
        raise Declined

    return lifted(convert, node.evaluate)


def logic(left: Evaluate, right: Evaluate, *, absorbing: bool) -> Evaluate:
    """Three-valued `and` (absorbing=False) or `or` (absorbing=True)."""

    def evaluate(row: Row) -> Any:
        a, b = left(row), right(row)
        if a is absorbing or b is absorbing:
            return absorbing
        return None if a is None or b is None else not absorbing

    return evaluate

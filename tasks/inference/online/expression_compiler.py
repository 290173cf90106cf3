"""Compiles polars expressions to functions of one row, for a vocabulary of elementwise parts.

A tree is read from polars' own serialization, and the type of each part is asked of polars' planner, so that nothing is
inferred twice. A part that is not known raises NotInVocabulary: the frame path through polars takes its place. Values
on which Python and polars might differ (an integer that overflows, NaN in a comparison, an impossible date) raise
Declined for that row alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from tasks.inference.online import expression_functions
from tasks.inference.online.expression_operators import (
    INTEGERS,
    Constant,
    Declined,
    Evaluate,
    Node,
    NotInVocabulary,
    Row,
    as_expression,
    as_float32,
    binary,
    is_int,
    lifted,
    physical,
    ranged,
)

__all__ = ["Declined", "Expressions", "Node", "NotInVocabulary", "Row"]


class Expressions:
    """Compiles expressions over rows of one schema; a row is a sequence of physical values in the schema's order."""

    def __init__(self, schema: Mapping[str, pl.DataType]) -> None:
        self._frame = pl.LazyFrame(schema=dict(schema))
        self._position = {name: at for at, name in enumerate(schema)}
        self._dtypes = self._frame.collect_schema()

    def compile(self, expression: pl.Expr) -> Node:
        """The expression as a function of a row. Raises NotInVocabulary."""
        try:
            return self._node(json.loads(expression.meta.serialize(format="json")))
        except (pl.exceptions.PolarsError, KeyError, TypeError, ValueError) as error:
            raise NotInVocabulary(f"{type(error).__name__}: {error}") from error

    def _node(self, tree: Any) -> Node:
        if not isinstance(tree, dict) or len(tree) != 1:
            raise NotInVocabulary(str(tree)[:80])
        [(kind, content)] = tree.items()
        if kind == "Column":
            return self._column(content)
        if kind == "Alias":
            return self._node(content[0])
        handler = {
            "Literal": self._literal,
            "BinaryExpr": self._binary,
            "Cast": self._cast,
            "Ternary": self._ternary,
            "Function": self._function,
        }.get(kind)
        if handler is None:
            raise NotInVocabulary(f"a part of kind {kind}")
        return handler(content, tree)

    def _column(self, name: str) -> Node:
        if name not in self._position:
            raise NotInVocabulary(f"a column {name} that the rows lack")
        at = self._position[name]
        return Node(self._dtypes[name], lambda row: row[at])

    def _literal(self, content: Any, tree: Any) -> Node:
        literal = pl.select(as_expression(tree)).to_series()
        if len(literal) != 1:
            raise NotInVocabulary("a literal that is a series")
        value = physical(literal)[0]
        return Node(literal.dtype, Constant(value))

    def _binary(self, content: Any, tree: Any) -> Node:
        dtype = self._dtype(tree)
        left, right = (self._node(content[side]) for side in ("left", "right"))
        return Node(dtype, binary(content["op"], left, right, dtype))

    def _ternary(self, content: Any, tree: Any) -> Node:
        dtype = self._dtype(tree)
        predicate = self._node(content["predicate"])
        truthy, falsy = (self._as(dtype, content[branch]) for branch in ("truthy", "falsy"))

        def evaluate(row: Row) -> Any:
            yes, no = truthy(row), falsy(row)
            return yes if predicate.evaluate(row) else no

        return Node(dtype, evaluate)

    def _as(self, dtype: pl.DataType, tree: Any) -> Evaluate:
        """A branch in the common type of all branches."""
        node = self._node(tree)
        if node.dtype in (dtype, pl.Null):
            return node.evaluate
        return cast(node, dtype, strict=True)

    def _cast(self, content: Any, tree: Any) -> Node:
        if content["options"] not in ("Strict", "NonStrict"):
            raise NotInVocabulary(f"cast {content['options']}")
        dtype = self._dtype(tree)
        return Node(dtype, cast(self._node(content["expr"]), dtype, strict=content["options"] == "Strict"))

    def _function(self, content: Any, tree: Any) -> Node:
        dtype = self._dtype(tree)
        branches = content["function"] in ("FillNull", "Coalesce")
        inputs = [Node(dtype, self._as(dtype, each)) if branches else self._node(each) for each in content["input"]]
        return Node(dtype, expression_functions.function(content, inputs, dtype))

    def _dtype(self, tree: Any) -> pl.DataType:
        schema = self._frame.select(as_expression(tree).alias("it")).collect_schema()
        return schema["it"]


def cast(node: Node, dtype: pl.DataType, *, strict: bool) -> Evaluate:
    """A cast. Raises NotInVocabulary."""
    if node.dtype == dtype:
        return node.evaluate
    if isinstance(dtype, pl.Enum) and node.dtype == pl.String:
        return _to_enum(node.evaluate, frozenset(dtype.categories), strict=strict)
    if node.dtype == pl.Boolean or is_int(node.dtype) or node.dtype in (pl.Float32, pl.Float64):
        return _to_number(node, dtype)
    if dtype == pl.Date and node.dtype == pl.Datetime("us"):
        return lifted(expression_functions.days, node.evaluate)
    raise NotInVocabulary(f"cast of {node.dtype} to {dtype}")


def _to_number(node: Node, dtype: pl.DataType) -> Evaluate:
    if dtype == pl.Float64:
        return lifted(float, node.evaluate)
    if dtype == pl.Float32:
        return lifted(_float32 if is_int(node.dtype) else as_float32, node.evaluate)
    if is_int(dtype):
        return ranged(lifted(_truncated, node.evaluate), dtype)
    raise NotInVocabulary(f"cast of {node.dtype} to {dtype}")


def _float32(value: int) -> float:
    """Through float64, which holds the integer exactly: rounded once."""
    if -(1 << 53) <= value <= 1 << 53:
        return as_float32(value)
    raise Declined


def _truncated(value: float) -> int:
    low, high = INTEGERS[pl.Int64]
    if low <= value < high:  # False for NaN as well
        return int(value)
    raise Declined


def _to_enum(inner: Evaluate, categories: frozenset[str], *, strict: bool) -> Evaluate:
    def evaluate(row: Row) -> Any:
        value = inner(row)
        if value is None or value in categories:
            return value
        if strict:
            raise Declined
        return None

    return evaluate

"""Polars expressions as plain data: our own tree, which a model's version keeps, whatever polars serializes tomorrow.

    {"column": "distance"}
    {"literal": 15}    {"literal": "2013-01-01", "dtype": "Date"}
    {"call": "dt.hour", "of": [tree, ...], "with": {"option": value}}
    {"cast": "Float32", "strict": true, "of": [tree]}

A call is named as the method of `pl.Expr` that makes it, an operator by its sign. `to_tree` reads polars' serialization of
an expression; `from_tree` builds the expression again through polars' public methods. What `to_tree` returns was built again
and found equal: a vocabulary with a hole can refuse an expression and never change it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl

from schemas.data_types import describe_dtype
from schemas.expression_builder import NotInTree, from_tree
from schemas.expression_vocabulary import AGGREGATES, BINARY, FUNCTIONS, WITH_OPTIONS, deserialized, dtype_of

Tree = dict[str, Any]


def to_tree(expression: pl.Expr) -> Tree:
    """An expression as plain data.

    Args:
        expression: A polars expression.

    Returns:
        A mapping that JSON can hold; `from_tree` gives an equal expression.

    Raises:
        NotInTree: The expression has a part outside of the vocabulary, for example Python code.
    """
    text = _serialized(expression)
    try:
        tree = _read(json.loads(text))
        same = json.loads(_serialized(from_tree(tree))) == json.loads(text)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, pl.exceptions.PolarsError) as error:
        raise NotInTree(f"{type(error).__name__}: {str(error)[:120]}") from None
    if not same:
        raise NotInTree(f"{str(expression)[:120]} is not built again as it was")
    return tree


def _serialized(expression: pl.Expr) -> str:
    return str(expression.meta.serialize(format="json"))


def _read(part: Any) -> Tree:
    if part == "Len":
        return {"call": "len"}
    [(kind, content)] = part.items()
    if kind == "Column":
        return {"column": content}
    if kind == "Literal":
        return _literal(content)
    if kind == "Alias":
        return _call("alias", [content[0]], {"name": content[1]})
    if kind == "BinaryExpr":
        return _call(BINARY[content["op"]], [content["left"], content["right"]])
    if kind == "Cast":
        strict = {"Strict": True, "NonStrict": False}[content["options"]]
        return {"cast": describe_dtype(dtype_of(content["dtype"])), "strict": strict, "of": [_read(content["expr"])]}
    if kind == "Ternary":
        return _call("when", [content["predicate"], content["truthy"], content["falsy"]])
    if kind == "Agg":
        return _aggregate(content)
    if kind == "Over":
        return _window(content)
    if kind == "Function":
        return _function(content)
    raise NotInTree(f"a part of kind {kind}")


def _call(name: str, inputs: Sequence[Any], options: Mapping[str, Any] | None = None) -> Tree:
    tree: Tree = {"call": name, "of": [_read(each) for each in inputs]}
    return tree | ({"with": dict(options)} if options else {})


def _literal(content: Any) -> Tree:
    [(kind, value)] = content.items()
    if kind == "Dyn":
        [number] = value.values()
        return {"literal": number}
    held = pl.select(deserialized({"Literal": content})).to_series()
    if kind != "Scalar" or len(held) != 1:
        raise NotInTree("a literal that is a column of values")
    return {"literal": _plain(held[0]), "dtype": describe_dtype(held.dtype)}


def _plain(value: Any) -> Any:
    if isinstance(value, pl.Series):
        return [_plain(each) for each in value]
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise NotInTree(f"a literal {type(value).__name__}")


def _aggregate(content: Any) -> Tree:
    [(name, inner)] = content.items()
    if name in ("Std", "Var"):
        return _call(name.lower(), [inner[0]], {"ddof": inner[1]})
    if name in ("Min", "Max"):
        return _call(name.lower(), [inner.get("input", inner)])
    return _call(AGGREGATES[name], [inner.get("input", inner)])


def _window(content: Any) -> Tree:
    if content["order_by"] is not None or content["mapping"] != "GroupsToRows":
        raise NotInTree("a window with an order")
    return _call("over", [content["function"], *content["partition_by"]])


def _function(content: Any) -> Tree:
    inputs, function = content["input"], content["function"]
    if isinstance(function, str):
        return _call(FUNCTIONS[function], inputs)
    [(group, inner)] = function.items()
    if isinstance(inner, str):
        return _call(FUNCTIONS[f"{group}.{inner}"], inputs)
    if group in WITH_OPTIONS:
        return _call(*_with_options(group, inner, inputs))
    [(name, option)] = inner.items()
    return _call(*_with_options(f"{group}.{name}", option, inputs))


def _with_options(name: str, option: Any, inputs: Sequence[Any]) -> tuple[str, Sequence[Any], Mapping[str, Any]]:
    word, read = WITH_OPTIONS[name]
    return word, inputs, read(option)

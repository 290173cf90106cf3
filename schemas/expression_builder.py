"""Expressions built from trees, through polars' public methods alone."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl

from schemas.data_types import restore_dtype
from schemas.errors import PenstockError
from schemas.expression_vocabulary import METHODS


class NotInTree(PenstockError):
    """An expression has a part that the tree has no word for."""


def from_tree(tree: Mapping[str, Any], casts: Mapping[str, pl.DataType] | None = None) -> pl.Expr:
    """The expression of a tree.

    Args:
        tree: What `to_tree` gave.
        casts: Columns that are of another type by now, and the type to read them as.

    Returns:
        The expression.

    Raises:
        NotInTree: The tree holds a word that this release does not know.
    """
    if "column" in tree:
        column = pl.col(tree["column"])
        return column.cast(casts[tree["column"]]) if casts and tree["column"] in casts else column
    if "literal" in tree:
        return _literal_of(tree)
    arguments = [from_tree(each, casts) for each in tree.get("of", ())]
    if "cast" in tree:
        return arguments[0].cast(restore_dtype(tree["cast"]), strict=tree["strict"])
    name, options = tree.get("call"), tree.get("with", {})
    if name in OPERATORS:
        return OPERATORS[name](*arguments)
    if name in BUILDERS:
        return BUILDERS[name](arguments, options)
    if name in METHODS:
        return _method(name)(arguments, options)
    raise NotInTree(f"this release knows no expression named {name!r}")


def _literal_of(tree: Mapping[str, Any]) -> pl.Expr:
    value = tree["literal"]
    if "dtype" not in tree:
        return pl.lit(value)
    dtype = restore_dtype(tree["dtype"])
    if dtype == pl.Null:
        return pl.lit(None)
    return pl.lit(_python(value, dtype), dtype=None if dtype in (pl.String, pl.Boolean) else dtype)


def _python(value: Any, dtype: pl.DataType) -> Any:
    if value is None:
        return None
    if isinstance(dtype, pl.List):
        return [_python(each, dtype.inner) for each in value]  # type: ignore[arg-type]
    if isinstance(dtype, pl.Datetime):
        return datetime.fromisoformat(value)
    if isinstance(dtype, pl.Duration):
        return timedelta(microseconds=value)
    if dtype == pl.Date:
        return date.fromisoformat(value)
    return time.fromisoformat(value) if dtype == pl.Time else value


def _method(name: str) -> Callable[[list[pl.Expr], Mapping[str, Any]], pl.Expr]:
    *namespace, method = name.split(".")

    def build(arguments: list[pl.Expr], options: Mapping[str, Any]) -> pl.Expr:
        target: Any = arguments[0]
        for part in namespace:
            target = getattr(target, part)
        built: pl.Expr = getattr(target, method)(*arguments[1:], **options)
        return built

    return build


OPERATORS: dict[str, Callable[..., pl.Expr]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge, "&": operator.and_, "|": operator.or_, "^": operator.xor,
}  # fmt: skip


def _to_integer(arguments: list[pl.Expr], options: Mapping[str, Any]) -> pl.Expr:
    dtype: Any = restore_dtype(options["dtype"])
    return arguments[0].str.to_integer(base=arguments[1], dtype=dtype, strict=options["strict"])


def _clip(arguments: list[pl.Expr], options: Mapping[str, Any]) -> pl.Expr:
    bounds = dict(zip(options["has"], arguments[1:], strict=True))
    return arguments[0].clip(bounds.get("min"), bounds.get("max"))


def _datetime(arguments: list[pl.Expr], options: Mapping[str, Any]) -> pl.Expr:
    *parts, ambiguous = arguments
    return pl.datetime(*parts, **options, ambiguous=ambiguous)


def _duration(arguments: list[pl.Expr], options: Mapping[str, Any]) -> pl.Expr:
    names = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds")
    parts: dict[str, Any] = dict(zip(names, arguments, strict=True))
    return pl.duration(**parts, **options)


def _replace(arguments: list[pl.Expr], options: Mapping[str, Any]) -> pl.Expr:
    text, pattern, value = arguments
    if options["n"] == -1:
        return text.str.replace_all(pattern, value, literal=options["literal"])
    return text.str.replace(pattern, value, literal=options["literal"], n=options["n"])


def _strptime(arguments: list[pl.Expr], options: Mapping[str, Any]) -> pl.Expr:
    dtype: Any = restore_dtype(options["dtype"])
    how = {name: value for name, value in options.items() if name != "dtype"}
    return arguments[0].str.strptime(dtype, how.pop("format"), **how, ambiguous=arguments[1])


def _replace_strict(arguments: list[pl.Expr], options: Mapping[str, Any]) -> pl.Expr:
    column, old, new, *default = arguments
    dtype = options["return_dtype"]
    return column.replace_strict(
        old, new, **({"default": default[0]} if default else {}), return_dtype=restore_dtype(dtype) if dtype else None
    )


BUILDERS: dict[str, Callable[[list[pl.Expr], Mapping[str, Any]], pl.Expr]] = {
    "len": lambda _, __: pl.len(),
    "alias": lambda arguments, options: arguments[0].alias(options["name"]),
    "when": lambda arguments, _: pl.when(arguments[0]).then(arguments[1]).otherwise(arguments[2]),
    "over": lambda arguments, _: arguments[0].over(arguments[1:]),
    "clip": _clip,
    "datetime": _datetime,
    "duration": _duration,
    "str.replace": _replace,
    "str.strptime": _strptime,
    "str.to_integer": _to_integer,
    "dt.replace_time_zone": lambda arguments, options: arguments[0].dt.replace_time_zone(
        options["time_zone"], ambiguous=arguments[1], non_existent=options["non_existent"]
    ),
    "replace_strict": _replace_strict,
    "concat_list": lambda arguments, _: pl.concat_list(arguments),
    "concat_str": lambda arguments, options: pl.concat_str(
        arguments, separator=options["delimiter"], ignore_nulls=options["ignore_nulls"]
    ),
    "coalesce": lambda arguments, _: pl.coalesce(arguments),
    "struct": lambda arguments, _: pl.struct(arguments),
    "arctan2": lambda arguments, _: pl.arctan2(*arguments),
    "all_horizontal": lambda arguments, _: pl.all_horizontal(arguments),
    "any_horizontal": lambda arguments, _: pl.any_horizontal(arguments),
    "max_horizontal": lambda arguments, _: pl.max_horizontal(arguments),
    "min_horizontal": lambda arguments, _: pl.min_horizontal(arguments),
    "sum_horizontal": lambda arguments, options: pl.sum_horizontal(arguments, **options),
    "mean_horizontal": lambda arguments, options: pl.mean_horizontal(arguments, **options),
}

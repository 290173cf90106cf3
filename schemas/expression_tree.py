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

import io
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl

from schemas.data_types import describe_dtype, restore_dtype
from schemas.errors import PenstockError

Tree = dict[str, Any]


class NotInTree(PenstockError):
    """An expression has a part that the tree has no word for."""


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


def _serialized(expression: pl.Expr) -> str:
    return str(expression.meta.serialize(format="json"))


def _deserialized(tree: Any) -> pl.Expr:
    return pl.Expr.deserialize(io.BytesIO(json.dumps(tree).encode()), format="json")


# From polars' serialization to the tree


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
        return {"cast": describe_dtype(_dtype(content["dtype"])), "strict": strict, "of": [_read(content["expr"])]}
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
    held = pl.select(_deserialized({"Literal": content})).to_series()
    if kind != "Scalar" or len(held) != 1:
        raise NotInTree("a literal that is a column of values")
    return {"literal": _plain(held[0]), "dtype": describe_dtype(held.dtype)}


def _dtype(described: Any) -> pl.DataType:
    null = {"Literal": {"Scalar": {"Null": "Null"}}}
    cast = _deserialized({"Cast": {"expr": null, "dtype": described, "options": "Strict"}})
    return pl.select(cast.alias("it")).schema["it"]


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


# From the tree to polars' public methods


def _literal_of(tree: Mapping[str, Any]) -> pl.Expr:
    value = tree["literal"]
    if "dtype" not in tree:
        return pl.lit(value)
    dtype = restore_dtype(tree["dtype"])
    if dtype == pl.Null:
        return pl.lit(None)
    if isinstance(dtype, pl.List):
        return pl.lit(pl.Series([_python(value, dtype)], dtype=dtype)).first() if value is None else _list(value, dtype)
    return pl.lit(_python(value, dtype), dtype=None if dtype in (pl.String, pl.Boolean) else dtype)


def _list(values: Any, dtype: pl.List) -> pl.Expr:
    inner = restore_dtype(describe_dtype(dtype.inner))  # type: ignore[arg-type]
    return pl.lit([_python(each, inner) for each in values], dtype=dtype)


def _python(value: Any, dtype: pl.DataType) -> Any:
    if value is None:
        return None
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
BINARY = {
    "Plus": "+", "Minus": "-", "Multiply": "*", "TrueDivide": "/", "FloorDivide": "//", "Modulus": "%", "Eq": "==",
    "NotEq": "!=", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">=", "And": "&", "Or": "|", "Xor": "^",
    "EqValidity": "eq_missing", "NotEqValidity": "ne_missing",
}  # fmt: skip
AGGREGATES = {
    "Mean": "mean", "Sum": "sum", "Median": "median", "First": "first", "Last": "last", "NUnique": "n_unique",
    "Count": "count",
}  # fmt: skip

# polars' functions without options -> the method that makes them
FUNCTIONS = {
    "Boolean.Not": "not_", "Boolean.IsNull": "is_null", "Boolean.IsNotNull": "is_not_null", "Boolean.IsNan": "is_nan",
    "Boolean.IsNotNan": "is_not_nan", "Boolean.IsFinite": "is_finite", "Boolean.IsInfinite": "is_infinite",
    "Boolean.AllHorizontal": "all_horizontal", "Boolean.AnyHorizontal": "any_horizontal",
    "Boolean.IsDuplicated": "is_duplicated", "Boolean.IsUnique": "is_unique",
    "Negate": "neg", "Abs": "abs", "Sign": "sign", "Floor": "floor", "Ceil": "ceil", "Exp": "exp", "Log": "log",
    "Log1p": "log1p", "FillNull": "fill_null", "Coalesce": "coalesce", "ToPhysical": "to_physical", "Atan2": "arctan2",
    "MaxHorizontal": "max_horizontal", "MinHorizontal": "min_horizontal", "AsStruct": "struct", "Shift": "shift",
    "Pow.Generic": "pow", "Pow.Sqrt": "sqrt", "Pow.Cbrt": "cbrt",
    "Trigonometry.Sin": "sin", "Trigonometry.Cos": "cos", "Trigonometry.Tan": "tan", "Trigonometry.ArcSin": "arcsin",
    "Trigonometry.ArcCos": "arccos", "Trigonometry.ArcTan": "arctan", "Trigonometry.Sinh": "sinh",
    "Trigonometry.Cosh": "cosh", "Trigonometry.Tanh": "tanh", "Trigonometry.Radians": "radians",
    "Trigonometry.Degrees": "degrees",
    "StringExpr.Uppercase": "str.to_uppercase", "StringExpr.Lowercase": "str.to_lowercase",
    "StringExpr.Titlecase": "str.to_titlecase", "StringExpr.LenChars": "str.len_chars",
    "StringExpr.LenBytes": "str.len_bytes", "StringExpr.StartsWith": "str.starts_with",
    "StringExpr.EndsWith": "str.ends_with", "StringExpr.Slice": "str.slice", "StringExpr.Head": "str.head",
    "StringExpr.Tail": "str.tail", "StringExpr.ZFill": "str.zfill", "StringExpr.StripChars": "str.strip_chars",
    "StringExpr.StripCharsStart": "str.strip_chars_start", "StringExpr.StripCharsEnd": "str.strip_chars_end",
    "StringExpr.StripPrefix": "str.strip_prefix", "StringExpr.StripSuffix": "str.strip_suffix",
    "StringExpr.Reverse": "str.reverse",
    "TemporalExpr.Year": "dt.year", "TemporalExpr.IsoYear": "dt.iso_year", "TemporalExpr.Quarter": "dt.quarter",
    "TemporalExpr.Month": "dt.month", "TemporalExpr.Week": "dt.week", "TemporalExpr.WeekDay": "dt.weekday",
    "TemporalExpr.Day": "dt.day", "TemporalExpr.OrdinalDay": "dt.ordinal_day", "TemporalExpr.Hour": "dt.hour",
    "TemporalExpr.Minute": "dt.minute", "TemporalExpr.Second": "dt.second", "TemporalExpr.Date": "dt.date",
    "TemporalExpr.Time": "dt.time", "TemporalExpr.IsLeapYear": "dt.is_leap_year",
    "TemporalExpr.MonthStart": "dt.month_start", "TemporalExpr.MonthEnd": "dt.month_end",
    "TemporalExpr.Truncate": "dt.truncate", "TemporalExpr.DaysInMonth": "dt.days_in_month",
    "Replace": "replace", "ListExpr.Concat": "concat_list", "ListExpr.Length": "list.len",
    "ListExpr.Sum": "list.sum", "ListExpr.Mean": "list.mean",
    "ListExpr.Min": "list.min", "ListExpr.Max": "list.max",
}  # fmt: skip


def _same(option: Any) -> Mapping[str, Any]:
    return dict(option)


def _one(name: str) -> Callable[[Any], Mapping[str, Any]]:
    return lambda option: {name: option}


def _fractional(option: Any) -> Mapping[str, Any]:
    return {"fractional": option["fractional"]}


def _to_integer(arguments: list[pl.Expr], options: Mapping[str, Any]) -> pl.Expr:
    dtype: Any = restore_dtype(options["dtype"])
    return arguments[0].str.to_integer(base=arguments[1], dtype=dtype, strict=options["strict"])


def _return_dtype(option: Any) -> Mapping[str, Any]:
    wanted = option["return_dtype"]
    return {"return_dtype": describe_dtype(_dtype(wanted)) if wanted is not None else None}


UNITS = {"Milliseconds": "ms", "Microseconds": "us", "Nanoseconds": "ns"}
MODES = {"HalfToEven": "half_to_even", "HalfAwayFromZero": "half_away_from_zero", "ToZero": "truncate"}

# polars' functions with options -> the method, and its options as keyword arguments
WITH_OPTIONS: dict[str, tuple[str, Callable[[Any], Mapping[str, Any]]]] = {
    "Boolean.IsIn": ("is_in", _same),
    "Boolean.IsBetween": ("is_between", lambda option: {"closed": option["closed"].lower()}),
    "Clip": ("clip", lambda option: {"has": [name for name in ("min", "max") if option[f"has_{name}"]]}),
    "Round": ("round", lambda option: {"decimals": option["decimals"], "mode": MODES[option["mode"]]}),
    "SumHorizontal": ("sum_horizontal", _same),
    "MeanHorizontal": ("mean_horizontal", _same),
    "StringExpr.Contains": ("str.contains", _same),
    "StringExpr.CountMatches": ("str.count_matches", _one("literal")),
    "StringExpr.Extract": ("str.extract", _one("group_index")),
    "StringExpr.Replace": ("str.replace", _same),
    "StringExpr.Split": ("str.split", _one("inclusive")),
    "StringExpr.ConcatHorizontal": ("concat_str", _same),
    "StringExpr.ToInteger": ("str.to_integer", lambda option: {"strict": option["strict"], "dtype": option["dtype"]}),
    "StringExpr.PadStart": ("str.pad_start", _same),
    "StringExpr.PadEnd": ("str.pad_end", _same),
    "StringExpr.Strptime": (
        "str.strptime",
        lambda option: {"dtype": describe_dtype(_dtype(option[0])), **option[1]},
    ),
    "StringExpr.ContainsAny": ("str.contains_any", _same),
    "ReplaceStrict": ("replace_strict", _return_dtype),
    "StructExpr.FieldByName": ("struct.field", _one("name")),
    "ListExpr.Get": ("list.get", _one("null_on_oob")),
    "ListExpr.Contains": ("list.contains", _same),
    "TemporalExpr.ToString": ("dt.strftime", _one("format")),
    "TemporalExpr.ConvertTimeZone": ("dt.convert_time_zone", lambda option: {"time_zone": option["inner"]}),
    "TemporalExpr.ReplaceTimeZone": (
        "dt.replace_time_zone",
        lambda option: {
            "time_zone": option[0]["inner"] if isinstance(option[0], dict) else option[0],
            "non_existent": option[1].lower(),
        },
    ),
    "TemporalExpr.TimeStamp": ("dt.timestamp", lambda unit: {"time_unit": UNITS[unit]}),
    "TemporalExpr.TotalDays": ("dt.total_days", _fractional),
    "TemporalExpr.TotalHours": ("dt.total_hours", _fractional),
    "TemporalExpr.TotalMinutes": ("dt.total_minutes", _fractional),
    "TemporalExpr.TotalSeconds": ("dt.total_seconds", _fractional),
    "TemporalExpr.TotalMilliseconds": ("dt.total_milliseconds", _fractional),
    "TemporalExpr.Duration": ("duration", lambda unit: {"time_unit": UNITS[unit]}),
    "TemporalExpr.DatetimeFunction": (
        "datetime",
        lambda option: {
            "time_unit": UNITS[option["time_unit"]],
            "time_zone": option["time_zone"]["inner"] if option["time_zone"] else None,
        },
    ),
}


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
METHODS = frozenset(
    (
        *(*FUNCTIONS.values(), *AGGREGATES.values(), *(word for word, _ in WITH_OPTIONS.values())),
        *("min", "max", "std", "var", "eq_missing", "ne_missing"),
    )
)

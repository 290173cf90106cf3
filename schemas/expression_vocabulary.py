"""The words of the expression tree: which part of polars' serialization is which method of `pl.Expr`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from schemas.data_types import describe_dtype

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


def deserialized(part: Any) -> pl.Expr:
    """The expression of a part of polars' serialization."""
    return pl.Expr.deserialize(io.BytesIO(json.dumps(part).encode()), format="json")


def dtype_of(described: Any) -> pl.DataType:
    """The data type of a part of polars' serialization that names one."""
    null = {"Literal": {"Scalar": {"Null": "Null"}}}
    cast = deserialized({"Cast": {"expr": null, "dtype": described, "options": "Strict"}})
    return pl.select(cast.alias("it")).schema["it"]


def _same(option: Any) -> Mapping[str, Any]:
    return dict(option)


def _one(name: str) -> Callable[[Any], Mapping[str, Any]]:
    return lambda option: {name: option}


def _fractional(option: Any) -> Mapping[str, Any]:
    return {"fractional": option["fractional"]}


def _return_dtype(option: Any) -> Mapping[str, Any]:
    wanted = option["return_dtype"]
    return {"return_dtype": describe_dtype(dtype_of(wanted)) if wanted is not None else None}


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
        lambda option: {"dtype": describe_dtype(dtype_of(option[0])), **option[1]},
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


METHODS = frozenset(
    (
        *(*FUNCTIONS.values(), *AGGREGATES.values(), *(word for word, _ in WITH_OPTIONS.values())),
        *("min", "max", "std", "var", "eq_missing", "ne_missing"),
    )
)

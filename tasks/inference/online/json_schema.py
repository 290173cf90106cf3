"""A contract's columns in JSON Schema: what the API documents, and the allowed values that a refusal names."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import polars as pl

from schemas.contract import Contract, polars_dtype
from tasks.inference.online.expression_operators import INTEGERS, is_int
from tasks.inference.online.request_decoding import predictable

Schema = dict[str, Any]


# JSON Schema bounds numbers only; these names for the bounds of dates and times are Ajv's, and others leave them alone.
OF_TEXT = {
    "minimum": "formatMinimum",
    "maximum": "formatMaximum",
    "exclusiveMinimum": "formatExclusiveMinimum",
    "exclusiveMaximum": "formatExclusiveMaximum",
}


def json_properties(contract: type[Contract]) -> dict[str, Schema]:
    """A schema for each column that a caller may send.

    Args:
        contract: The contract.

    Returns:
        JSON Schemas, by column.
    """
    specs = contract.to_schema().columns
    return {name: column_schema(specs[name]) for name in predictable(contract)}


def required_fields(contract: type[Contract], wanted: Collection[str] = ()) -> list[str]:
    """Columns that a caller has to send: those that may not be null, and wanted ones.

    Args:
        contract: The contract.
        wanted: Columns that may be null and not left out.

    Returns:
        Names of the columns.
    """
    specs = contract.to_schema().columns
    return [name for name in predictable(contract) if name in wanted or not specs[name].nullable]


def column_schema(spec: Any) -> Schema:
    """Type, range, pattern and categories of one column."""
    dtype = polars_dtype(spec)
    schema = _typed(dtype)
    for check in spec.checks:
        if describe := _CHECKS.get(check.name):
            schema |= describe({key: value for key, value in (check.statistics or {}).items() if value is not None})
    if schema["type"] == "string":
        schema = {OF_TEXT.get(key, key): value for key, value in schema.items()}
    if isinstance(dtype, pl.Enum):
        schema["enum"] = dtype.categories.to_list()
    if spec.description:
        schema["description"] = spec.description
    if spec.nullable:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def _typed(dtype: pl.DataType) -> Schema:
    if is_int(dtype):
        low, high = INTEGERS[dtype.base_type()]
        return {"type": "integer", "minimum": low, "maximum": high}
    if dtype.is_numeric():
        return {"type": "integer" if dtype.is_integer() else "number"}
    if dtype == pl.Boolean:
        return {"type": "boolean"}
    if isinstance(dtype, pl.Datetime):
        zone = " with Z or an offset" if dtype.time_zone else " without a zone"
        form = {"format": "date-time"} if dtype.time_zone else {}
        return {"type": "string", "description": f"ISO 8601 date and time{zone}", **form}
    return {"type": "string", **({"format": "date"} if dtype == pl.Date else {})}


def _isin(statistics: Mapping[str, Any]) -> Schema:
    return {"enum": list(statistics["allowed_values"])}


def _in_range(statistics: Mapping[str, Any]) -> Schema:
    low = "minimum" if statistics.get("include_min", True) else "exclusiveMinimum"
    high = "maximum" if statistics.get("include_max", True) else "exclusiveMaximum"
    return {low: plain(statistics["min_value"]), high: plain(statistics["max_value"])}


def _length(statistics: Mapping[str, Any]) -> Schema:
    if "exact_value" in statistics:
        return {"minLength": statistics["exact_value"], "maxLength": statistics["exact_value"]}
    return {
        name: statistics[key] for name, key in (("minLength", "min_value"), ("maxLength", "max_value")) if key in statistics
    }


_CHECKS: dict[str, Callable[[Mapping[str, Any]], Schema]] = {
    "greater_than_or_equal_to": lambda told: {"minimum": plain(told["min_value"])},
    "greater_than": lambda told: {"exclusiveMinimum": plain(told["min_value"])},
    "less_than_or_equal_to": lambda told: {"maximum": plain(told["max_value"])},
    "less_than": lambda told: {"exclusiveMaximum": plain(told["max_value"])},
    "in_range": _in_range,
    "isin": _isin,
    "equal_to": lambda told: {"enum": [plain(told["value"])]},
    "str_matches": lambda told: {"pattern": told["pattern"] if told["pattern"].startswith("^") else f"^{told['pattern']}"},
    "str_contains": lambda told: {"pattern": told["pattern"]},
    "str_length": _length,
}


def plain(value: Any) -> Any:
    """A bound as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def in_words(schema: Schema) -> str:
    """What a column allows, in a few words: 'integer from 1 to 12', 'one of EWR, JFK, LGA'."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if "enum" in schema:
        return "one of " + ", ".join("null" if value is None else str(value) for value in schema["enum"])
    words = " or ".join(kinds)
    low, high = (schema.get(name, schema.get(OF_TEXT[name])) for name in ("minimum", "maximum"))
    if low is not None and high is not None:
        words += f" from {low} to {high}"
    elif low is not None:
        words += f" of at least {low}"
    elif high is not None:
        words += f" of at most {high}"
    for key, text in (("exclusiveMinimum", "above"), ("exclusiveMaximum", "below"), ("pattern", "matching")):
        for name in {key, OF_TEXT.get(key, key)} & schema.keys():
            words += f" {text} {schema[name]}"
    if "minLength" in schema or "maxLength" in schema:
        words += f" of {schema.get('minLength', 0)} to {schema.get('maxLength', 'any number of')} characters"
    return words + (f" ({schema['description']})" if schema.get("format") == "date-time" else "")

"""What a JSON text holds: numbers stay the digits that were written, and an object that names a key twice is none."""

from __future__ import annotations

import json
from typing import Any

MOST_NESTED = 100  # arrays and objects inside each other; deeper ones would exhaust the stack


class Number(str):
    """The digits of a JSON number, as they were written."""

    __slots__ = ()


class Repeated(ValueError):
    """An object names a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise Repeated
    return record


DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=Number, object_pairs_hook=_object)


def is_shallow(value: Any, text: str) -> bool:
    """Whether a value's arrays and objects lie no deeper than can be handled; its text tells at once for most."""
    if text.count("[") + text.count("{") <= MOST_NESTED:
        return True
    level = [value]
    for _ in range(MOST_NESTED + 1):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return True
    return False


def _inner(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, (dict, list))]


def as_json(value: object) -> str:
    """The value as JSON again, numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {as_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_json, value)) + "]"
    return json.dumps(value)


def is_text(value: object) -> bool:
    """Whether it holds no half of a surrogate pair, which JSON may escape and no text has."""
    return not isinstance(value, str) or not any("\ud800" <= c <= "\udfff" for c in value)

"""Checks in words: what a row had to be, for a person who reads why it was rejected."""

from __future__ import annotations

import re

PLAIN = {
    "not_nullable": "must not be missing",
    "finite": "must be finite",
    "no_nan": "must not be NaN",
    "field_uniqueness": "must be unique",
    "multiple_fields_uniqueness": "the key must be unique",
    "redelivered": "the key was published before",
    "record": "must have the header's fields",
    "partition": "must name a partition",
}
WITH_VALUE = {
    "greater_than_or_equal_to": "at least {}",
    "greater_than": "more than {}",
    "less_than_or_equal_to": "at most {}",
    "less_than": "less than {}",
    "equal_to": "equal to {}",
    "not_equal_to": "other than {}",
    "isin": "one of {}",
    "notin": "none of {}",
    "str_matches": "must match {}",
    "str_length": "length {}",
    "dtype": "must be {}",
}
CALLED = re.compile(r"(?P<name>\w+)\((?P<value>.*)\)", re.DOTALL)
TYPES = {"String": "text", "Boolean": "true or false", "Date": "a date", "Int": "a whole number", "Float": "a number"}
MOST = 60  # characters of a value


def describe_check(check: str) -> str:
    """What a check demands. One that no phrase is known for is told by its name.

    Args:
        check: The check's name, as a verdict has it.

    Returns:
        A phrase in plain words, or the name where none is known.
    """
    if check in PLAIN:
        return PLAIN[check]
    match = CALLED.fullmatch(check)
    if not match or match["name"] not in WITH_VALUE:
        return check
    value = match["value"]
    if match["name"] == "dtype":
        return WITH_VALUE["dtype"].format(_type(value.strip("'\"")))
    if match["name"] in ("isin", "notin"):
        value = value.strip("()[]{}").rstrip(",")
    return WITH_VALUE[match["name"]].format(value if len(value) <= MOST else f"{value[:MOST]}...")


def _type(name: str) -> str:
    if name.startswith("Datetime"):
        return "a date and time" + (" with its zone" if "time_zone='" in name else "")
    if name.startswith("Enum"):
        return "one of the contract's categories"
    plain = next((words for start, words in TYPES.items() if name.removeprefix("U").startswith(start)), None)
    return f"{plain} ({name})" if plain and name not in ("String", "Boolean", "Date") else plain or name

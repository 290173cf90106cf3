"""`--read fact=value`: facts of a reader as a person types them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from schemas.errors import UsageError
from schemas.reader import ColumnFormat, Reader

WORDS = {"tab": "\t", "space": " ", "comma": ",", "semicolon": ";", "bar": "|", "point": ".", "none": None}
READER = {each.name: str(each.type) for each in fields(Reader) if each.name != "columns"}
COLUMN = {each.name: str(each.type) for each in fields(ColumnFormat)}


def reader_facts(options: Iterable[str]) -> dict[str, Any]:
    """Arguments of Reader from texts such as `separator=;`, `missing=NA`, `seen.times=%d/%m/%Y`; several add up.

    Raises UsageError, one line, for a fact that no reader has and a value that it cannot take.
    """
    facts: dict[str, Any] = {}
    columns: dict[str, dict[str, Any]] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"--read {option}: write fact=value, such as separator=; or COLUMN.times=%d/%m/%Y")
        column, _, fact = name.rpartition(".")
        if column:
            _add(columns.setdefault(column, {}), fact, value, COLUMN, option)
        else:
            _add(facts, name, value, READER, option)
    if columns:
        facts["columns"] = {name: ColumnFormat(**each) for name, each in columns.items()}
    Reader(**facts)  # refuses what cannot be, before a file is read
    return facts


def _add(facts: dict[str, Any], name: str, value: str, known: Mapping[str, str], option: str) -> None:
    kind = known.get(name)
    if kind is None:
        near = get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
        raise UsageError(f"--read {option}: no such fact; {meant}")
    if kind.startswith("tuple"):
        facts[name] = (*facts.get(name, ()), value)
    elif kind.startswith("Mapping"):
        own, arrow, clean = value.partition("->")
        if not arrow:
            raise UsageError(f"--read {option}: write {name}=OLD->NEW")
        facts[name] = {**facts.get(name, {}), own.strip(): clean.strip()}
    elif kind == "int":
        facts[name] = _number(value, option)
    elif kind == "bool":
        facts[name] = _flag(value, option)
    else:
        facts[name] = WORDS.get(value, value.encode().decode("unicode_escape") if value.startswith("\\") else value)


def _number(value: str, option: str) -> int:
    if not value.isdigit():
        raise UsageError(f"--read {option}: {value!r} is no count of lines")
    return int(value)


def _flag(value: str, option: str) -> bool:
    if value.lower() not in ("true", "false", "yes", "no", "1", "0"):
        raise UsageError(f"--read {option}: write true or false")
    return value.lower() in ("true", "yes", "1")

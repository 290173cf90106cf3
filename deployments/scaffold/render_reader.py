"""The reader of a drafted use case as code: what is not the plain way, each column's format with what was seen of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from deployments.scaffold import source_code
from deployments.scaffold.column_profile import Profile
from schemas.reader import ColumnFormat, Reader, describe_reader

INDENT = "    "


def drafted_reader(reader: Reader, profiles: Sequence[Profile], stated: frozenset[str] = frozenset()) -> Reader:
    """The reader of a sample with the formats of its columns: marks and words that all share are said once."""
    nothing = sorted({word for profile in profiles for word in profile.typed.nothing})
    forms = {profile.name: profile.typed.form for profile in profiles}
    if "missing" not in stated:
        reader = replace(reader, missing=tuple(dict.fromkeys((*reader.missing, *nothing))))
    commas = [name for name, form in forms.items() if form.decimal == ","]
    fractions = [p.name for p in profiles if p.type == "number" and p.typed.form.decimal is None and not p.typed.form.times]
    if commas and not fractions and "decimal" not in stated and reader.thousands != ",":
        reader = replace(reader, decimal=",")
        forms |= {name: replace(forms[name], decimal=None) for name in commas}
    return replace(reader, columns={name: form for name, form in forms.items() if form != ColumnFormat()})


def reader_lines(reader: Reader, profiles: Sequence[Profile], seen: Sequence[str], indent: str) -> list[str]:
    """`reader=Reader(...),` with comments, or nothing for the plain one."""
    described = describe_reader(reader)
    if not described:
        return []
    comments = source_code.comment(f"seen: {'; '.join(seen)}", indent) if seen else []
    columns = described.pop("columns", {})
    items = [f"{name}={_code(value)}" for name, value in described.items()]
    if not columns:
        return [*comments, *source_code.call_lines(f"{indent}reader=Reader", "(", items, ")", end=",")]
    notes = {profile.name: profile.typed for profile in profiles}
    inner = [f"{indent}{INDENT}{item}," for item in items]
    body = []
    for name, facts in columns.items():
        typed = notes.get(name)
        if typed and (text := "; ".join(filter(None, (typed.seen, typed.confirm and f"confirm: {typed.confirm}")))):
            body += source_code.comment(text, indent + INDENT * 2)
        values = [f"{fact}={_code(value)}" for fact, value in facts.items()]
        head = f"{indent}{INDENT * 2}{source_code.quote(name)}: ColumnFormat"
        body += source_code.call_lines(head, "(", values, ")", end=",")
    return [
        *comments,
        f"{indent}reader=Reader(",
        *inner,
        f"{indent}{INDENT}columns={{",
        *body,
        f"{indent}{INDENT}}},",
        f"{indent}),",
    ]


def _code(value: Any) -> str:
    if isinstance(value, str):
        return source_code.quote(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{source_code.quote(k)}: {source_code.quote(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return source_code.strings(value)
    return repr(value)

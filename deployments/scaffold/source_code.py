"""Python source as the formatter would write it: literals, and calls that stay on one line or take one line an argument."""

from __future__ import annotations

import keyword
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from schemas.contract import Contract

WIDTH = 88
_width: ContextVar[int] = ContextVar("width", default=WIDTH)
LITERAL = r"""r?(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
LATER_CALL = rf"""(?:\.\w+)+\((?:{LITERAL}|[^()"']|\([^()"']*\))*\)"""
FIRST_CALL = rf"(?P<function>[\w.]+)\((?P<argument>{LITERAL})\)(?P<calls>(?:{LATER_CALL})*)(?P<compared> == .+)?"
TAKEN = {*dir(Contract), "int", "float", "str", "bool", "column", "rule", "pl", "Annotated", "Contract", "Utc", "Moment"}


@contextmanager
def line_length(columns: int) -> Iterator[None]:
    """Within the block, lines are this long at most, as far as they can be broken."""
    token = _width.set(columns)
    try:
        yield
    finally:
        _width.reset(token)


def quote(text: str) -> str:
    """A string literal: double quotes unless that costs more escapes; raw where there are backslashes and it can be."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    raw = "\\" in text and not text.endswith("\\") and '"' not in text and "'" not in text
    if raw and text.isprintable():
        return f'r"{text}"'
    return mark + "".join(_escaped(c, mark) for c in text) + mark


def _escaped(character: str, mark: str) -> str:
    if character in ("\\", mark):
        return "\\" + character
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def strings(values: Iterable[str]) -> str:
    """A tuple of strings on one line."""
    items = [quote(v) for v in values]
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def assign(name: str, opening: str, items: Sequence[str], closing: str) -> list[str]:
    """`name = opening items closing` on one line where it fits, else one item a line."""
    one = f"{name} = {opening}{', '.join(items)}{',' if len(items) == 1 and opening == '(' else ''}{closing}"
    return [one] if width(one) <= _width.get() else [f"{name} = {opening}", *(f"    {item}," for item in items), closing]


def call_lines(head: str, opening: str, items: Sequence[str], closing: str, end: str = "") -> list[str]:
    """A call, list or tuple on one line where it fits, else one item a line with a comma after the last."""
    one = f"{head}{opening}{', '.join(items)}{closing}{end}"
    if width(one) <= _width.get():
        return [one]
    indent = head[: len(head) - len(head.lstrip())]
    return [f"{head}{opening}", *(f"{indent}    {item}," for item in items), f"{indent}{closing}{end}"]


def import_lines(module: str, names: Sequence[str]) -> list[str]:
    """`from module import names`."""
    one = f"from {module} import {', '.join(names)}"
    return [one] if width(one) <= _width.get() else call_lines(f"from {module} import ", "(", names, ")")


def expression(head: str, text: str) -> list[str]:
    """`head text,` on one line where it fits, else broken after the first call as the formatter breaks it."""
    one = f"{head}{text},"
    match = re.fullmatch(FIRST_CALL, text)
    if width(one) <= _width.get() or not match:
        return [one]
    indent = head[: len(head) - len(head.lstrip())]
    calls = re.findall(LATER_CALL, match["calls"])
    attached = calls.pop() if len(calls) == 1 else ""
    below = [*calls, *([match["compared"].strip()] if match["compared"] else [])]
    lines = [f"{head}{match['function']}(", f"{indent}    {match['argument']},", f"{indent}){attached}"]
    lines += [f"{indent}{line}" for line in below]
    return [*lines[:-1], f"{lines[-1]},"]


def paragraph(text: str) -> list[str]:
    """Prose for a docstring, wrapped."""
    return textwrap.wrap(text.replace("\\", "/").replace('"', "'"), _width.get(), break_long_words=False)


def packed(name: str, items: Sequence[str]) -> list[str]:
    """A tuple with a name, on one line where it fits, else packed into lines that the formatter leaves alone."""
    lines = assign(name, "(", items, ")")
    if len(lines) <= 12:
        return lines
    body = [""]
    for item in items:
        if body[-1] and width(body[-1]) + width(item) + 2 > _width.get() - 4:
            body.append("")
        body[-1] += f"{' ' if body[-1] else ''}{item},"
    return ["# fmt: off", lines[0], *(f"    {line}" for line in body), ")", "# fmt: on"]


def width(text: str) -> int:
    """Columns that a text takes in a terminal: wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def comment(text: str, indent: str = "") -> list[str]:
    """A comment, wrapped."""
    return textwrap.wrap(
        text, _width.get(), initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_long_words=False
    )


def slug(text: str) -> str:
    """Text as a Python name in lower case: letters, digits and underscores; 'column' where nothing is left."""
    plain = unicodedata.normalize("NFKC", text).replace("%", " percent ").lower()
    name = re.sub(r"\W+", "_", plain).strip("_")
    name = f"n{name}" if name[:1].isdigit() else name
    return name if name.isidentifier() else "column"


def is_own(column: str) -> bool:
    """Whether a column's name can be the attribute's."""
    plain = column.isidentifier() and unicodedata.normalize("NFKC", column) == column and not column.startswith("_")
    return plain and column not in TAKEN and not keyword.iskeyword(column)


def attribute(column: str, used: set[str]) -> str:
    """The name of a contract's attribute for a column: the column's own where it can be, else one like it."""
    name = column if is_own(column) else slug(column)
    while name in used or name in TAKEN or keyword.iskeyword(name):
        name += "_"
    used.add(name)
    return name


def class_name(name: str) -> str:
    """churn-risk -> ChurnRisk, never what `constant` gives."""
    camel = "".join(part.capitalize() for part in name.split("-"))
    return f"{camel}Row" if camel == constant(name) else camel


def constant(name: str) -> str:
    """churn-risk -> CHURN_RISK."""
    return name.replace("-", "_").upper()

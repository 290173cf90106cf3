"""How results show themselves at a prompt and in a notebook: one line, and a small table of what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from typing import Any

from schemas.refs import ModelRef, Value

STYLE = "border-collapse:collapse;margin:.3em 0"
NUMBERS = ("rows", "accepted", "rejected", "files")
PARTS = ("ingested", "scored", "monitored", "trained", "deliveries", "partitions", "branches")
MOST = 20  # of one kind that a table shows


class Shown(Value):
    """A result with a short `repr`, and as HTML in a notebook. Its fields are all there as before."""

    def __repr__(self) -> str:
        about = " ".join(str(each) for each in (getattr(self, "use_case", ""), getattr(self, "status", "")) if each)
        return f"<{type(self).__name__}{f' {about}' if about else ''}: {_why(self)}>"

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in facts(self)
        )
        title = " ".join(str(each) for each in (type(self).__name__, getattr(self, "use_case", "")) if each)
        return f"<div><b>{escape(title)}</b>: {escape(_why(self))}<table style='{STYLE}'>{rows}</table></div>"


def facts(result: Value) -> Iterator[tuple[str, str]]:
    """What a result says beside its one sentence, as names and texts.

    Args:
        result: Any result.

    Yields:
        A name and a text, not escaped.
    """
    if status := getattr(result, "status", ""):
        yield "status", str(status)
    if isinstance(model := getattr(result, "model", None), ModelRef):
        yield "model", f"{model.name} v{model.version}"
    for name in NUMBERS:
        if isinstance(value := getattr(result, name, None), int):
            yield name, f"{value:,}"
    for name in ("categories", "metrics"):
        if values := getattr(result, name, None):
            yield name, _pairs(values)
    if window := getattr(result, "window", None):
        yield "window", " to ".join(moment.isoformat(" ", "minutes") for moment in window if isinstance(moment, datetime))
    for name in PARTS:
        yield from _parts(name, getattr(result, name, ()))


def _parts(name: str, parts: Any) -> Iterator[tuple[str, str]]:
    each = [parts] if isinstance(parts, Value) else list(parts)
    for part in each[:MOST]:
        yield name, part if isinstance(part, str) else " ".join(text for text in (_named(part), _why(part)) if text)
    if len(each) > MOST:
        yield name, f"and {len(each) - MOST:,} more"


def _named(part: Value) -> str:
    named = (getattr(part, name, "") for name in ("source", "name", "branch", "status"))
    return " ".join(str(each) for each in named if each)


def _why(result: Value) -> str:
    return str(getattr(result, "why", ""))


def _pairs(values: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:.4g}" for name, value in values.items()
    )

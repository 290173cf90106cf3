"""The public names and their signatures as text. `python -m tests.architecture.penstock_api` writes them anew."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from prefect import Flow, Task
from pydantic import BaseModel

import penstock

FILE = Path(__file__).with_suffix(".txt")
HEAD = """# What users write against: a line that changes or goes breaks a use case, a script or a flow of theirs.
# To write it anew: python -m tests.architecture.penstock_api
"""


def text() -> str:
    """Every name that `penstock` offers, with its signature."""
    return HEAD + "\n".join(line for name in penstock.__all__ for line in described(name, getattr(penstock, name))) + "\n"


def described(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, (Flow, Task)):
        yield f"{'flow' if isinstance(value, Flow) else 'task'} {name}{_signature(value.fn)}"
    elif not isinstance(value, type):
        yield f"{name}{_signature(value)}"
    elif issubclass(value, Exception):
        yield f"{name}({value.__base__.__name__}), exit code {value.exit_code}{', transient' * value.transient}"
    else:
        yield f"{name}{_signature(value) if is_dataclass(value) else ''}"
        yield from _fields(value)
        yield from (f"    .{line}" for line in _members(value))


def _fields(value: type) -> Iterator[str]:
    if issubclass(value, BaseModel):
        own = {name: kind for name, kind in value.__annotations__.items() if name in value.model_fields}
        yield from (f"    .{name}: {kind}" for name, kind in own.items())


def _members(value: type) -> Iterator[str]:
    """Public methods and properties of the class's own."""
    for name, member in vars(value).items():
        function = member.fget if isinstance(member, property) else getattr(value, name)
        ours = inspect.isroutine(function) and function.__module__ == value.__module__  # pydantic adds some of its own
        if ours and not name.startswith("_"):
            told = _signature(function)
            yield name + (told.removeprefix("(self)") if isinstance(member, property) else told)


def _signature(function: Callable[..., Any]) -> str:
    """The signature as it is written, so that no other version of Python or a library spells it differently."""
    signature = inspect.signature(inspect.unwrap(function))
    parts = [_parameter(parameter) for parameter in signature.parameters.values()]
    named = next((i for i, p in enumerate(signature.parameters.values()) if p.kind is p.KEYWORD_ONLY), None)
    if named is not None and not any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        parts.insert(named, "*")
    returned = signature.return_annotation
    return f"({', '.join(parts)})" + ("" if returned in (signature.empty, None, "None") else f" -> {_written(returned)}")


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    kind = "" if parameter.annotation is parameter.empty else f": {_written(parameter.annotation)}"
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{stars}{parameter.name}{kind}{default}"


def _written(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")

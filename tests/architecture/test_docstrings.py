"""Whoever sees only the docstring can call it: every function that a wing hands out, every task and every flow says how."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^(Args|Returns|Yields|Raises|References?|Attributes|Example):$", re.MULTILINE)


def handed_out() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions in the faces of the wings, and the flows."""
    for stub in sorted((ROOT / "tasks").rglob("__init__.pyi")):
        package = ".".join(stub.parent.relative_to(ROOT).parts)
        for statement in ast.parse(stub.read_text()).body:
            if isinstance(statement, ast.ImportFrom):
                module = importlib.import_module(f"{package}.{statement.module}")
                for name in statement.names:
                    each = getattr(module, name.name)
                    function = getattr(each, "fn", each)  # a task's own function
                    if inspect.isfunction(function):
                        yield f"{package}.{name.name}", function
    for path in sorted((ROOT / "flows").glob("[a-z]*.py")):
        yield f"flows.{path.stem}", inspect.unwrap(getattr(importlib.import_module(f"flows.{path.stem}"), path.stem).fn)


def sections(function: Callable[..., Any]) -> dict[str, str]:
    """The sections of a docstring in Google style, by name."""
    parts = SECTION.split(inspect.getdoc(function) or "")
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def unsaid(function: Callable[..., Any]) -> list[str]:
    """What the docstring does not say: arguments without a line of their own, what comes back."""
    told = sections(function)
    arguments = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    missing = [
        name for name in arguments if not re.search(rf"^\s+\*{{0,2}}{name}( \(.*\))?: ", told.get("Args", ""), re.MULTILINE)
    ]
    returned = inspect.signature(function).return_annotation
    if returned not in (None, "None", inspect.Signature.empty) and not {"Returns", "Yields"} & told.keys():
        missing.append("what it returns")
    return missing


@pytest.mark.parametrize(("name", "function"), [pytest.param(*each, id=each[0]) for each in handed_out()])
def test_the_docstring_says_how_to_call_it(name: str, function: Callable[..., Any]) -> None:
    assert unsaid(function) == [], f"{name}: {inspect.getsourcefile(function)}"


def test_a_docstring_that_leaves_something_out_is_found() -> None:
    def half(rows: int, columns: int) -> int:
        """Count.

        Args:
            rows: How many.
        """
        return rows * columns

    assert unsaid(half) == ["columns", "what it returns"]
    assert unsaid(test_a_docstring_that_leaves_something_out_is_found) == []

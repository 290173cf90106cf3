"""What docs, docstrings and comments name is there: a module that moves takes along every mention of it."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("tasks", "flows", "schemas", "deployments")
SOURCES = (*PACKAGES, "penstock", "tests")
DOTTED = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.(?!md\b)[A-Za-z_]\w*)+")
FILE = re.compile(rf"(?<![\w./-])(?:{'|'.join((*SOURCES, 'docs'))})/[\w./-]*\.(?:pyi?|md)\b")
FOLDER = re.compile(r"(?<![\w./-])(?:tasks|flows|schemas)/\w+(?:/\w+)*(?![\w./-]*\.)")

EXAMPLES = {"tasks/versions/gitlab"}  # docs/architecture.md: how a store would be added


def prose() -> Iterator[tuple[str, str]]:
    """Path and text of every page of docs, and of the docstrings and comments of every module."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        yield str(page.relative_to(ROOT)), page.read_text()
    for package in SOURCES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), comments(path.read_text())


def comments(source: str) -> str:
    """The comments and docstrings of a module."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = [token.string for token in tokens if token.type == tokenize.COMMENT]
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return "\n".join(
        [*lines, *(ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, owners))]
    )


def unresolved(text: str) -> list[str]:
    """What a text names that is not there."""
    wrong = [name for name in DOTTED.findall(text) if not resolves(name)]
    wrong += [path for path in FILE.findall(text) if not (ROOT / path).exists()]
    return wrong + [path for path in FOLDER.findall(text) if path not in EXAMPLES and not resolves(path.replace("/", "."))]


@cache
def resolves(name: str) -> bool:
    """Whether a dotted name is a package, a module, or a name in one; read from the sources, since imports are slow."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        if path.is_dir():
            files = [each for each in (path / "__init__.pyi", path / "__init__.py") if each.exists()]
        elif path.with_suffix(".py").exists():
            files = [path.with_suffix(".py")]
        else:
            continue
        return not parts[length:] or any(_holds(ast.parse(file.read_text()).body, parts[length:]) for file in files)
    return False


def _holds(body: list[ast.stmt], names: list[str]) -> bool:
    """Whether statements define the first name, and, where it is a class, that class the next; bases are not followed."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name == names[0]:
                return True
            case ast.ClassDef(name=name) if name == names[0]:
                return len(names) == 1 or _holds(statement.body, names[1:])
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                if names[0] in {alias.asname or alias.name for alias in aliases}:
                    return True
            case ast.Assign() | ast.AnnAssign():
                stored = (
                    node for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
                )
                if names[0] in {node.id for node in stored}:
                    return True
            case _:
                if _holds([node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt)], names):
                    return True
    return False


def test_what_the_prose_names_is_there() -> None:
    wrong = [f"{path}: {name}" for path, text in prose() for name in unresolved(text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "name",
    [
        "tasks.models.predict",
        "tasks/estimates.py",
        "tasks.alarm",
        "schemas.verdicts.Estimate.worth",
        "tasks/catalogue",
        "docs/a.md",
    ],
)
def test_what_is_gone_is_noticed(name: str) -> None:
    assert unresolved(f"See {name} for more.") == [name]


@pytest.mark.parametrize(
    "name",
    [
        "tasks.models.predict_scores",
        "tasks/models/booster.py",
        "schemas.verdicts.Estimate.raw",
        "tasks/models",
        "flows.train",
    ],
)
def test_what_is_there_resolves(name: str) -> None:
    assert unresolved(f"See {name} for more.") == []

"""One module reads what is published off main's log; nobody else but the writers spells the kinds of its commits."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READER = "tasks/datasets/published.py"
WRITERS = {"tasks/publishing/publish.py": {"INGEST"}, "tasks/publishing/retract.py": {"RETRACT"}}
CONSTANTS, KINDS = {"INGEST", "RETRACT"}, {"ingest", "retract"}


def spelled(source: str) -> Iterator[str]:
    """The kinds that a module names: by constant, or as a text that it compares a kind with or writes as one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            yield from {name} & CONSTANTS
        elif isinstance(node, ast.ImportFrom):
            yield from {alias.name for alias in node.names} & CONSTANTS
        elif isinstance(node, ast.Compare) and "kind" in ast.unparse(node):
            yield from _texts(node)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                yield from _texts(value) if isinstance(key, ast.Constant) and key.value == "kind" else ()


def _texts(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)} & KINDS


def test_only_the_reader_and_the_writers_spell_the_kinds() -> None:
    paths = [path for package in ("schemas", "tasks", "flows", "deployments") for path in (ROOT / package).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): set(spelled(path.read_text(encoding="utf-8"))) for path in paths}
    assert found.pop(READER) >= CONSTANTS
    assert {path: names for path, names in found.items() if names} == WRITERS


@pytest.mark.parametrize(
    "planted",
    [
        "from tasks.datasets import INGEST",
        "if entry.metadata.get('kind') == datasets.RETRACT: pass",
        "if entry.metadata.get('kind') == 'ingest': pass",
        "if told['kind'] in ('ingest', 'retract'): pass",
        "metadata = {'kind': 'ingest'}",
        "mine = kind != 'retract'",
    ],
)
def test_a_planted_reader_is_found(planted: str) -> None:
    assert set(spelled(planted))


def test_other_uses_of_the_words_are_no_readers() -> None:
    assert not set(spelled("step = 'ingest' if what == 'ingest' else {'flow': 'retract', 'kind': 'score'}"))

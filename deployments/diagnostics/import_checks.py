"""Which use cases import from the packages behind `penstock`. That goes on working; only `penstock` keeps its names."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator

from deployments.diagnostics.finding import Finding
from schemas.usecase import registered
from tasks.orchestration import PACKAGES

BEHIND = set(PACKAGES) - {"penstock"}


def import_findings() -> list[Finding]:
    """A note for each registered module that imports from elsewhere what `penstock` offers, with the line to write."""
    modules = sorted({target.partition(":")[0] for target in registered().values()})
    theirs = [module for module in modules if module.partition(".")[0] not in BEHIND]
    return [finding for module in theirs if (finding := _finding(module))]


def _finding(module: str) -> Finding | None:
    try:
        offered = list(_offered(ast.parse(inspect.getsource(importlib.import_module(module)))))
    except (ImportError, OSError):  # the finding "use cases" tells of a module that does not load
        return None
    if not offered:
        return None
    places = ", ".join(sorted({place for place, _ in offered}))
    names = ", ".join(sorted({name for _, name in offered}, key=lambda name: (name[0].islower(), name)))
    detail = f"{module} imports from {places}, which may move"
    return Finding(name="imports", status="note", detail=detail, mend=f"write: from penstock import {names}")


def _offered(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Module and name of each import that could be one from `penstock`."""
    face = importlib.import_module("penstock")  # by name: it stands above this package, and is only read
    for line in ast.walk(tree):
        if isinstance(line, ast.ImportFrom) and not line.level and (line.module or "").partition(".")[0] in BEHIND:
            home = importlib.import_module(str(line.module))
            for alias in line.names:
                # One name may mean two things: schemas.results.Training is no policy.
                if alias.name in face.__all__ and getattr(face, alias.name) is getattr(home, alias.name, None):
                    yield home.__name__, f"{alias.name} as {alias.asname}" if alias.asname else alias.name

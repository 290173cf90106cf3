"""Which use cases the local system serves: those that were named, else those of the project at hand, else all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.scaffold.project import Project, find_project
from schemas.errors import UsageError
from schemas.usecase import registered

REGISTER = "pip install --no-deps --editable . (or uv sync)"


@dataclass(frozen=True)
class Served:
    """Short names of use cases, sorted, and what is to be said of those that are not among them."""

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def served_use_cases(named: Sequence[str], folder: Path) -> Served:
    """The use cases that `penstock up` serves from a folder.

    Raises UsageError for a name that is not registered: the system's processes know short names alone.
    """
    known, project = registered(), find_project(folder)
    if unknown := sorted(set(named) - set(known)):
        told = f"unknown use case {', '.join(unknown)}; registered: {', '.join(sorted(known)) or 'none'}"
        ours = project is not None and set(unknown) <= set(project.use_cases())
        raise UsageError(f"{told}; register the project's first: {REGISTER}" if ours else told)
    if named or project is None:
        return Served(tuple(sorted(set(named) or known)))
    return _of_project(project, known)


def _of_project(project: Project, known: dict[str, str]) -> Served:
    declared = project.use_cases()
    missing = sorted(set(declared) - set(known))
    notes = [f"not served: {', '.join(missing)}; register the project's use cases first: {REGISTER}"] if missing else []
    if not declared:
        notes = [f"{project.manifest} registers no use case yet: penstock new NAME --from FILE --target COLUMN writes one"]
    return Served(tuple(sorted(set(declared) - set(missing))), tuple(notes))

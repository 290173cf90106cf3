"""Where a new use case is written, and how one in the working directory is found by its short name."""

from __future__ import annotations

import keyword
import sys
from dataclasses import dataclass
from pathlib import Path

from deployments.scaffold.project import Project, check_importable, find_project
from schemas.errors import UsageError
from schemas.usecase import NAME, registered


@dataclass(frozen=True)
class Place:
    """Paths of a new use case's module and test; `package` is '' beside each other in a folder."""

    module: Path
    test: Path
    package: str
    project: Project | None

    @property
    def import_path(self) -> str:
        """The module's name as Python imports it."""
        return f"{self.package}.{self.module.stem}" if self.package else self.module.stem

    @property
    def root(self) -> Path:
        """The folder that Python imports it from."""
        return self.project.root if self.project else self.module.parent


def place_for(name: str, folder: Path) -> Place:
    """Where a use case of that name goes: into the project that the folder lies in, or into the folder itself.

    Raises UsageError for a name that no use case or module can have, or that is registered for another module.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"use case {name!r}: a name is 2 to 41 lower case letters, digits and dashes, a letter first")
    place = _place(name.replace("-", "_"), find_project(folder), folder)
    if keyword.iskeyword(place.module.stem):
        raise UsageError(f"use case {name!r}: {place.module.stem} is a word of Python's own; choose another name")
    if not place.project:
        check_importable(place.import_path, f"use case {name!r}", "NAME", place.module)
    target = f"{place.import_path}:{place.module.stem.upper()}"
    if registered().get(name, target) != target:
        raise UsageError(f"use case {name!r} is registered already, as {registered()[name]}; choose another name")
    return place


def nearby(name: str, folder: Path) -> str:
    """What `resolve` can load for a short name that is not registered: `module:NAME` of the project or folder at hand.

    Puts the place last on Python's path, so that it hides nothing. Names that are registered or not here come back as they
    are, for `resolve` to take or refuse.
    """
    if name in registered():
        return name
    project = find_project(folder)
    root = str(project.root if project else folder)
    if root not in sys.path:
        sys.path.append(root)
    if not NAME.fullmatch(name):
        return name
    module = name.replace("-", "_")
    declared = project.use_cases().get(name) if project else None
    module_here = f"{module}:{module.upper()}" if (folder / f"{module}.py").is_file() else None
    return declared or module_here or name


def _place(module: str, project: Project | None, folder: Path) -> Place:
    if project is None:
        return Place(folder / f"{module}.py", folder / f"test_{module}.py", "", None)
    home = project.root.joinpath(*project.package.split("."))
    return Place(home / f"{module}.py", project.root / "tests" / f"test_{module}.py", project.package, project)

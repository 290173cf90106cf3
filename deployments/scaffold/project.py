"""A team's own project: made from the templates, found again from a folder in it, and given new use cases."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Any

from deployments.scaffold.source_code import WIDTH, quote
from schemas.distribution import FORMER_NAME, NAME, direct_reference, plain_requirement
from schemas.errors import UsageError
from schemas.settings import Settings
from schemas.usecase import GROUP
from tasks.orchestration import PACKAGES

TEMPLATES = files("deployments") / "templates" / "project"
SUFFIX = ".tmpl"
TABLE = f'[project.entry-points."{GROUP}"]'
OURS = (NAME, FORMER_NAME)
EXTRAS = ("serve", "up")


@dataclass(frozen=True)
class Project:
    """A project with an entry-point group for use cases: its folder and the package that holds them."""

    root: Path
    package: str

    @property
    def manifest(self) -> Path:
        """The project's pyproject.toml."""
        return self.root / "pyproject.toml"

    @property
    def line_length(self) -> int:
        """How long its lines may be, by its formatter's settings."""
        width = _read(self.manifest).get("tool", {}).get("ruff", {}).get("line-length", WIDTH)
        return int(width)

    def use_cases(self) -> dict[str, str]:
        """Short names and where each lies, as the manifest says."""
        declared: dict[str, str] = _read(self.manifest)["project"]["entry-points"][GROUP]
        return declared

    def with_use_case(self, name: str, target: str) -> str:
        """The manifest's text with one use case more, or another target for one that is there."""
        wanted = {**self.use_cases(), name: target}
        with suppress(StopIteration, tomllib.TOMLDecodeError, KeyError):
            changed = _with_entry(self.manifest.read_text(encoding="utf-8"), name, target)
            if tomllib.loads(changed)["project"]["entry-points"][GROUP] == wanted:
                return changed
        raise UsageError(f"{self.manifest} is not written as {TABLE}: add {name} = {quote(target)} to that table by hand")


def _with_entry(text: str, name: str, target: str) -> str:
    """The text with the line in its table: in place of the one for that name, else after the table's last."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip() == TABLE) + 1
    last = next((i for i, line in enumerate(lines[first:], first) if line.lstrip().startswith("[")), len(lines))
    own = rf"\s*[\"']?{re.escape(name)}[\"']?\s*="
    at = next((i for i in range(first, last) if re.match(own, lines[i])), None)
    end = at if at is not None else max((i + 1 for i in range(first, last) if lines[i].strip()), default=first)
    lines[end : end + (at is not None)] = [f"{name} = {quote(target)}"]
    return "\n".join(lines) + "\n"


def find_project(folder: Path) -> Project | None:
    """The team project that a folder lies in: its nearest pyproject.toml has the entry-point group. None elsewhere.

    Raises UsageError where its package cannot be found.
    """
    manifest = next((p / "pyproject.toml" for p in (folder, *folder.parents) if (p / "pyproject.toml").is_file()), None)
    if manifest is None:
        return None
    document = _read(manifest)
    project = document.get("project", {})
    if GROUP not in project.get("entry-points", {}) or project.get("name") in OURS:
        return None
    return Project(manifest.parent, _package(manifest.parent, document))


def _package(root: Path, document: dict[str, Any]) -> str:
    wheel = document.get("tool", {}).get("hatch", {}).get("build", {}).get("targets", {}).get("wheel", {})
    named = [*wheel.get("packages", []), re.sub(r"\W", "_", document["project"].get("name", ""))]
    package = next((name for name in named if (root / name / "__init__.py").is_file()), None)
    if package is None:
        raise UsageError(f"{root / 'pyproject.toml'}: no package named {' or '.join(named)} beside it to put a use case in")
    return str(package).replace("/", ".")


def _read(manifest: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(manifest.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{manifest}: cannot be read ({error})") from None


def create(folder: Path, name: str | None = None) -> list[Path]:
    """Make a project in a folder that is not there yet, or is empty; returns the files, relative to it.

    Raises UsageError, with nothing written, for a folder in use and a name that a package cannot have.
    """
    root = folder.expanduser().resolve()
    project = (name or root.name).strip().lower().replace(" ", "-")
    package = _package_name(project)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{folder}: is in use; name a folder that is empty or not there yet")
    values = {"project": project, "package": package, "settings": settings_lines(), "requirement": requirement()}
    try:
        return _build(root, values)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror or error})") from None


def requirement() -> str:
    """How a project depends on Penstock: by where it was installed from, else by name."""
    return direct_reference(*EXTRAS) or plain_requirement(*EXTRAS)


def requirement_note() -> str | None:
    """What to say where it cannot be told where Penstock was installed from; None where it can."""
    if direct_reference():
        return None
    return (
        f"it cannot be told where {NAME} was installed from: pyproject.toml depends on it by name alone; where your package "
        f"index does not have it, write its place there ({NAME} @ file:///...)"
    )


def _build(root: Path, values: dict[str, str]) -> list[Path]:
    """Write beside the place, then move each entry into it."""
    nearest = next(p for p in (root, *root.parents) if p.exists())
    with tempfile.TemporaryDirectory(dir=nearest, prefix=f".{root.name}.") as scratch:
        built = Path(scratch) / "project"
        for template, relative in _templates(TEMPLATES, Path()):
            path = built / Template(relative).substitute(values)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(template.read_text(encoding="utf-8")).substitute(values), encoding="utf-8")
        written = sorted(path.relative_to(built) for path in built.rglob("*") if path.is_file())
        root.mkdir(parents=True, exist_ok=True)
        for entry in built.iterdir():
            shutil.move(entry, root / entry.name)
    return written


def _templates(folder: Traversable, at: Path) -> Iterator[tuple[Traversable, str]]:
    """Each template and the path it is written to, with $package in it."""
    for entry in folder.iterdir():
        name = "$package" if entry.name == "package" else re.sub("^dot-", ".", entry.name.removesuffix(SUFFIX))
        if entry.is_dir():
            yield from _templates(entry, at / name)
        elif entry.name.endswith(SUFFIX):
            yield entry, str(at / name)


def _package_name(project: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]*([._-][a-z0-9]+)*", project):
        raise UsageError(f"{project!r} is no name for a project: lower case letters, digits and dashes; say --name NAME")
    package = re.sub(r"[.-]", "_", project)
    check_importable(package, f"project {project!r}", "--name NAME")
    return package


def check_importable(module: str, what: str, mend: str, place: Path | None = None) -> None:
    """Raise UsageError where a module of that name would hide another, or cannot be imported at all."""
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module in PACKAGES:
        raise UsageError(f"{what}: {module} is a name of Python's or Penstock's own; choose another ({mend})")
    spec = importlib.util.find_spec(module)
    origin = spec.origin if spec else None  # a mere folder has none and hides nothing
    if place and (place.with_suffix("") / "__init__.py").exists():
        origin = str(place.with_suffix("") / "__init__.py")
    if origin and (place is None or Path(origin).resolve() != place.resolve()):
        raise UsageError(f"{what}: a module {module} is there already ({origin}); choose another name ({mend})")


def settings_lines() -> str:
    """Every setting as a commented line with its default and what it means."""
    lines = []
    for name, setting in Settings.model_fields.items():
        default = "" if setting.default is None else setting.default
        lines.append(f"# {setting.description}\n# PENSTOCK_{name.upper()}={default}")
    return "\n".join(lines)

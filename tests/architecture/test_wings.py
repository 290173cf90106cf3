"""Wings: each has a face of two files that agree with each other and with the wing's modules."""

from __future__ import annotations

import ast
import importlib
from collections import Counter
from pathlib import Path

import pytest

TASKS = Path(__file__).parents[2] / "tasks"
# Their factories alone import them (the contract "Only factories know adapters"), so they have no face.
ADAPTERS = {"registry/mlflow", "versions/lakefs", "versions/local"}
FACE = """
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
"""


def statements(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text(encoding="utf-8")).body


def modules(folder: Path) -> set[str]:
    """What can be imported from the folder: its modules and inner packages."""
    packages = {path.parent.name for path in folder.glob("*/*.py")}
    return packages | {path.stem for path in folder.glob("*.py")} - {"__init__"}


def wings(root: Path = TASKS) -> list[str]:
    """Every package below the root that has modules and is no adapter, as a path."""
    folders = {path.parent.relative_to(root).as_posix() for path in root.rglob("*.py")} - {"."} - ADAPTERS
    return sorted(name for name in folders if modules(root / name))


def exported(folder: Path) -> list[tuple[str, str]]:
    """Each name of the stub and the module that the stub takes it from."""
    lines = [line for line in statements(folder / "__init__.pyi") if isinstance(line, ast.ImportFrom)]
    return [(name.asname or name.name, line.module or "") for line in lines for name in line.names]


def is_export(line: ast.stmt) -> bool:
    """Whether a stub's line hands on names of one of the wing's own modules, each under its own name."""
    own = isinstance(line, ast.ImportFrom) and line.level == 1 and line.module is not None
    return own and isinstance(line, ast.ImportFrom) and all(name.asname == name.name for name in line.names)


def defined(module: Path) -> set[str]:
    """The names that a module defines, by `def`, `class` or assignment at its top level; no imported ones."""
    if not module.is_file():
        return set()
    names = set()
    for statement in statements(module):
        is_block = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for node in [statement] if is_block else ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return names


def disagreements(folder: Path) -> list[str]:
    """What is wrong with a wing's face, read without importing anything."""
    if missing := [name for name in ("__init__.py", "__init__.pyi") if not (folder / name).is_file()]:
        return [f"{folder.name} has no {name}" for name in missing]
    code = "\n".join(map(ast.unparse, statements(folder / "__init__.py")[1:]))
    wrong = [] if code == ast.unparse(ast.parse(FACE)) else ["__init__.py holds more than its docstring and its stub"]
    lines = statements(folder / "__init__.pyi")
    wrong += [f"not `from .module import name as name`: {ast.unparse(line)}" for line in lines if not is_export(line)]
    names = exported(folder)
    wrong += [f"{name} is there twice" for name, count in Counter(name for name, _ in names).items() if count > 1]
    # Once that module is imported, the wing's attribute of this name is the module, whatever the stub says.
    wrong += [f"{name} is also a module's name" for name, _ in names if name in modules(folder)]
    homes = ((name, module, folder / f"{module}.py") for name, module in names)
    return wrong + [f"{module} does not define {name}" for name, module, path in homes if name not in defined(path)]


def test_every_package_of_tasks_is_a_wing_or_an_adapter() -> None:
    assert {"features", "inference", "inference/online", "reporting/html", "flow_tasks"} <= set(wings())
    assert [name for name in ADAPTERS if not (TASKS / name / "__init__.py").is_file()] == []


@pytest.mark.parametrize("wing", wings())
def test_a_face_agrees_with_its_modules(wing: str) -> None:
    assert disagreements(TASKS / wing) == []


@pytest.mark.parametrize("wing", wings())
def test_an_imported_wing_has_the_names_of_its_stub_and_no_others(wing: str) -> None:
    package = importlib.import_module(f"tasks.{wing.replace('/', '.')}")
    names = exported(TASKS / wing)
    assert dir(package) == package.__all__ == sorted(name for name, _ in names)
    for name, module in names:
        assert getattr(package, name) is getattr(importlib.import_module(f"{package.__name__}.{module}"), name), name
    with pytest.raises(AttributeError, match="no_such_name"):
        package.no_such_name  # noqa: B018


@pytest.fixture
def weather(tmp_path: Path) -> Path:
    """A wing in order: two modules, and a face that hands on three of their names."""
    folder = tmp_path / "weather"
    folder.mkdir()
    (folder / "__init__.py").write_text(f'"""Weather."""\n{FACE}')
    (folder / "rain.py").write_text("import math\n\nLIMIT: float = math.pi\n\n\ndef fall() -> None:\n    depth = 1\n")
    (folder / "wind.py").write_text("class Wind: ...\n")
    lines = ("from .rain import LIMIT as LIMIT", "from .rain import fall as fall", "from .wind import Wind as Wind")
    (folder / "__init__.pyi").write_text("\n".join(lines) + "\n")
    return folder


def test_a_face_in_order_is_let_through(weather: Path) -> None:
    assert wings(weather.parent) == ["weather"]
    assert disagreements(weather) == []


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("__init__.pyi", "from .wind import gust as gust", "wind does not define gust"),
        ("__init__.pyi", "from .snow import Flake as Flake", "snow does not define Flake"),
        ("__init__.pyi", "from .rain import math as math", "rain does not define math"),
        ("__init__.pyi", "from .rain import depth as depth", "rain does not define depth"),
        ("__init__.pyi", "from .wind import Wind as Wind", "Wind is there twice"),
        ("__init__.pyi", "from .wind import Wind as Storm", "not `from .module import name as name`"),
        ("__init__.pyi", "from tasks.features import design as design", "not `from .module import name as name`"),
        ("__init__.pyi", "import polars", "not `from .module import name as name`"),
        ("__init__.py", "from .wind import Wind", "__init__.py holds more"),
        ("fall.py", "", "fall is also a module's name"),
        ("LIMIT/part.py", "", "LIMIT is also a module's name"),
    ],
)
def test_a_planted_disagreement_is_seen(weather: Path, file: str, line: str, complaint: str) -> None:
    path = weather / file
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as text:
        text.write(f"{line}\n")
    assert any(each.startswith(complaint) for each in disagreements(weather)), disagreements(weather)


@pytest.mark.parametrize("file", ["__init__.py", "__init__.pyi"])
def test_half_a_face_is_seen(weather: Path, file: str) -> None:
    (weather / file).unlink()
    assert wings(weather.parent) == ["weather"]
    assert disagreements(weather) == [f"weather has no {file}"]

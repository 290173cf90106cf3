"""The public face: light, complete, typed, and the only thing that texts written for users import."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
import warnings
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType

import pytest
from prefect.blocks.core import Block

import penstock
from schemas import errors, usecase
from tests.architecture import penstock_api

ROOT = Path(__file__).parents[2]
STUB = [
    line for line in ast.parse((ROOT / "penstock" / "__init__.pyi").read_text()).body if isinstance(line, ast.ImportFrom)
]
FLOWS = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
HOMES = [(str(line.module), alias.name) for line in STUB for alias in line.names]
BEHIND = re.compile(r"\b(?:from|import) (?:schemas|tasks|flows|deployments)(?:\.\w+)*\b(?= import|;|$)", re.MULTILINE)
OLD_IMPORTS = """
from schemas.contract import Contract, column, rule
from schemas.errors import PenstockError
from schemas.settings import read_settings
from schemas.usecase import GatePolicy, Input, Lookup, MonitorPolicy, Split, Target, Training, UseCase
"""


def python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def own(module: ModuleType, kind: type[Exception] | None = None) -> set[str]:
    """Classes that a module defines: its errors, or its dataclasses."""
    classes = {name: each for name, each in vars(module).items() if inspect.isclass(each)}
    return {
        name
        for name, each in classes.items()
        if each.__module__ == module.__name__ and (issubclass(each, kind) if kind else is_dataclass(each))
    }


def test_nothing_lives_there() -> None:
    files = {path.name for path in (ROOT / "penstock").iterdir() if path.is_file()}
    assert files == {"__init__.py", "__init__.pyi", "__main__.py", "py.typed"}


def test_importing_it_loads_the_standard_library_alone() -> None:
    program = (
        "import sys; before = set(sys.modules)\nimport penstock\ndir(penstock)\n"
        "known = {*sys.stdlib_module_names, 'penstock'}\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - known))"
    )
    assert python(program) == "[]\n"


def test_all_its_names_together_load_no_heavy_library() -> None:
    heavy = ("mlflow", "evidently", "xgboost", "lakefs", "sklearn", "dask")
    assert python(f"import sys\nfrom penstock import *\nprint([m for m in {heavy!r} if m in sys.modules])") == "[]\n"


def test_each_name_is_handed_out_once_and_from_a_face() -> None:
    names = [name for _, name in HOMES]
    assert sorted(names) == penstock.__all__ == sorted(set(names))
    for module, name in HOMES:
        first, *rest = module.split(".")
        assert first in ("schemas", "flows", "tasks"), module
        assert len(rest) == 1, f"{module} lies behind a face"
        assert getattr(penstock, name) is getattr(importlib.import_module(module), name)


def test_a_star_import_brings_these_names_and_no_other() -> None:
    names: dict[str, object] = {}
    exec("from penstock import *", names)
    assert set(names) - {"__builtins__"} == set(penstock.__all__)
    assert dir(penstock) == sorted([*penstock.__all__, "__version__"])


def test_it_offers_every_flow_every_error_and_all_that_a_use_case_is_made_of() -> None:
    wanted = FLOWS | own(errors, errors.PenstockError) | own(usecase) | {"Contract", "column", "rule", "read_settings"}
    assert wanted - set(penstock.__all__) == set()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(penstock, "nonsense")
    with pytest.raises(ImportError, match="nonsense"):
        exec("from penstock import nonsense")


def test_names_and_signatures_are_as_promised() -> None:
    promised, now = penstock_api.FILE.read_text().splitlines(), penstock_api.text().splitlines()
    differ = "\n".join(difflib.unified_diff(promised, now, "promised", "now", lineterm="", n=0))
    assert not differ, f"{differ}\n\nIf users can live with it: python -m tests.architecture.penstock_api"


def test_imports_from_schemas_go_on_working_without_a_warning() -> None:
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(OLD_IMPORTS, names)
    offered = {name: value for name, value in names.items() if name != "__builtins__"}
    assert {name for name, value in offered.items() if getattr(penstock, name) is value} == set(offered)


def test_texts_for_users_import_from_it_alone() -> None:
    scaffold = ROOT / "deployments" / "templates" / "project"
    inside = ROOT / "docs" / "architecture.md"  # for those who change Penstock itself
    pages = [
        ROOT / "README.md",
        *(page for page in ROOT.glob("docs/**/*.md") if page != inside),
        *scaffold.rglob("*.tmpl"),
        *ROOT.glob("examples/**/*.py"),
        *ROOT.glob("examples/**/*.md"),
    ]
    assert len(pages) > 15
    told = {str(path.relative_to(ROOT)): BEHIND.findall(path.read_text()) for path in pages}
    assert {page: lines for page, lines in told.items() if lines} == {}


def test_the_version_is_the_distributions() -> None:
    assert penstock.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    command = [sys.executable, "-m", "penstock", "--version"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == f"penstock {penstock.__version__}\n"


def test_prefect_finds_our_one_block_there() -> None:
    blocks = [each for _, each in inspect.getmembers(penstock) if Block.is_block_class(each)]
    assert blocks == [penstock.LakeFSCredentials]


USER = """
from penstock import Contract, Input, PenstockError, UsageError, __version__, column, ingest, read_settings, train


class Rows(Contract):
    amount: float = column(ge=0)


reveal_type(Input(name="rows", contract=Rows))
reveal_type(ingest("rows", "rows.csv"))
reveal_type(train("rows"))
reveal_type(read_settings())
reveal_type(__version__)
caught: type[PenstockError] = UsageError
train("rows", epochs=3)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_users_module_is_checked_strictly(tmp_path: Path) -> None:
    (tmp_path / "rows.py").write_text(USER)
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(tmp_path / "rows.py")]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    types = re.findall(r'Revealed type is "(.*)"', told)
    wanted = ["Input", "IngestResult", "TrainResult", "Settings", "str"]
    assert [each.rpartition(".")[2] for each in types] == wanted, told
    errors_found = re.findall(r"error: (.*)", told)
    assert errors_found == ['Unexpected keyword argument "epochs" for "__call__" of "PenstockFlow"  [call-arg]'], told

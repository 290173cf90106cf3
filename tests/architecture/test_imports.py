"""The import rules: enforced by import-linter, and seen to fail on a planted violation."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "tasks", "flows", "deployments")


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", "pyproject.toml"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(root)})


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_tree_keeps_its_contracts() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("schemas/refs.py", "import tasks"),
        ("tasks/features.py", "import flows"),
        ("flows/train.py", "import deployments"),
        ("flows/train.py", "import flows.score"),
        ("tasks/features.py", "import prefect"),
        ("tasks/features.py", "import mlflow"),
        ("tasks/features.py", "import evidently"),
        ("tasks/features.py", "import lakefs"),
        ("schemas/usecase.py", "import xgboost"),
    ],
)
def test_a_planted_violation_is_found(copy: Path, module: str, line: str) -> None:
    target = copy / module
    target.write_text(target.read_text() + f"\n{line}  # planted\n")
    result = lint(copy)
    assert result.returncode != 0, f"{line} in {module} went unnoticed\n{result.stdout}"


def test_importing_any_flow_loads_no_heavy_library() -> None:
    flows = [f"flows.{path.stem}" for path in sorted((ROOT / "flows").glob("*.py")) if path.stem != "__init__"]
    heavy = ("mlflow", "evidently", "xgboost", "lakefs", "sklearn", "dask", "pandera", "pandas")
    program = (
        f"import sys, importlib\nfor name in {flows!r}: importlib.import_module(name)\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_dependency_provides_one_of_our_package_names() -> None:
    from importlib.metadata import packages_distributions

    owners = {name: set(packages_distributions().get(name, ())) for name in PACKAGES}
    assert all(found <= {"penstock"} for found in owners.values()), owners

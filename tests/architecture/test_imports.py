"""The import rules: enforced by import-linter, and seen to fail on a planted violation."""

import importlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("penstock", "schemas", "tasks", "flows", "deployments")


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
    ("contract", "module", "line"),
    [
        ("penstock > deployments > flows > tasks > schemas", "deployments/cli.py", "import penstock"),
        ("penstock > deployments > flows > tasks > schemas", "schemas/refs.py", "import tasks"),
        ("penstock > deployments > flows > tasks > schemas", "tasks/features/keys.py", "import flows"),
        ("penstock > deployments > flows > tasks > schemas", "flows/train.py", "import deployments"),
        ("The wings stand on each other in one direction", "tasks/features/keys.py", "import tasks.training"),
        ("The wings stand on each other in one direction", "tasks/atomic_files.py", "import tasks.registry"),
        ("The wings stand on each other in one direction", "tasks/monitoring/drift.py", "import tasks.alerting"),
        ("Nothing imports in a circle", "tasks/features/keys.py", "import tasks.features.engineering"),
        ("Nothing imports in a circle", "deployments/local_stack/services.py", "import deployments.local_stack.plan"),
        ("A wing is imported through its face", "tasks/training/fit.py", "import tasks.features.keys"),
        ("A wing is imported through its face", "flows/train.py", "import tasks.training.fit"),
        ("A wing is imported through its face", "deployments/demo.py", "import tasks.flow_tasks.train"),
        ("The pure heart knows no store", "tasks/evaluation/gate.py", "import tasks.registry"),
        ("The pure heart knows no store", "tasks/features/keys.py", "import prefect"),
        ("Standalone tasks know no store", "tasks/standalone/__init__.py", "import tasks.versions"),
        ("Standalone tasks know no store", "tasks/standalone/__init__.py", "import schemas.settings"),
        ("Only factories know adapters", "tasks/datasets/loading.py", "import tasks.versions.local"),
        ("Only factories know adapters", "flows/train.py", "import tasks.registry.mlflow.registry"),
        ("Adapters do not know each other", "tasks/versions/local/store.py", "import tasks.versions.lakefs"),
        ("Prefect has three rooms in tasks", "tasks/training/fit.py", "import prefect"),
        ("Flows do not import each other", "flows/train.py", "import flows.score"),
        ("MLflow has one home", "tasks/training/fit.py", "import mlflow"),
        ("Evidently has one home", "tasks/features/keys.py", "import evidently"),
        ("apprise and Plotly have one home each", "deployments/demo.py", "import plotly"),
        ("lakeFS has one home", "tasks/features/keys.py", "import lakefs"),
        ("Databases have one home", "tasks/datasets/loading.py", "import sqlalchemy"),
        ("XGBoost has one home to load and one to fit", "schemas/usecase.py", "import xgboost"),
        ("Schemas do no I/O", "schemas/refs.py", "import httpx"),
        ("Pandera's engine has one home", "tasks/contracts/audit.py", "import pandera"),
    ],
)
def test_a_planted_violation_is_found(copy: Path, contract: str, module: str, line: str) -> None:
    target = copy / module
    target.write_text(target.read_text() + f"\n{line}  # planted\n")
    result = lint(copy)
    broken = [told for told in result.stdout.splitlines() if " BROKEN" in told]
    assert any(told.startswith(contract) for told in broken), f"{line} in {module} went unnoticed\n{result.stdout}"


def test_each_contract_has_a_planted_violation() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = [contract["name"] for contract in config["tool"]["importlinter"]["contracts"]]
    planted = {case[0] for case in test_a_planted_violation_is_found.pytestmark[0].args[1]}
    assert [name for name in names if not any(name.startswith(told) for told in planted)] == []


def test_the_root_of_tasks_holds_four_modules_at_most() -> None:
    assert len([path for path in (ROOT / "tasks").glob("*.py") if path.stem != "__init__"]) <= 4


def test_flows_has_one_module_a_flow_and_nothing_else() -> None:
    from prefect import Flow

    for path in sorted((ROOT / "flows").glob("*.py")):
        if path.stem != "__init__":
            module = importlib.import_module(f"flows.{path.stem}")
            own = [name for name, each in vars(module).items() if isinstance(each, Flow) and each.name == path.stem]
            assert own == [path.stem]


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
    assert all(found <= {"penstock-ml"} for found in owners.values()), owners

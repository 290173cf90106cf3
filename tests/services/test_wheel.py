"""The distribution: what sdist and wheel hold, and that an installed wheel works where there is no checkout.

Nothing is fetched: the wheel is built with hatchling and installed without dependencies over those of this environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from deployments.prefect_server.in_process import QUIET
from tests.unit import scaffold_domains as domains

ROOT = Path(__file__).parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = CONFIG["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
VERSION: str = CONFIG["project"]["version"]
# What lies beside the modules and is read at run time, by the ends of names: each kind has an example that must be there.
DATA = {
    ".pyi": "tasks/features/__init__.pyi",
    ".html": "tasks/reporting/html/page.html",
    ".tmpl": "deployments/templates/project/prefect.yaml.tmpl",
    ".json": "deployments/pools/docker.json",
    ".typed": "penstock/py.typed",
}

PLACES = "import json, sys; print(json.dumps([sys.path, *(__import__(name).__file__ for name in sys.argv[1:])]))"
FACES = """
import ast, importlib
from pathlib import Path
import penstock, tasks

root = Path(tasks.__file__).parent
for stub in sorted(root.rglob("__init__.pyi")):
    wing = importlib.import_module(".".join(["tasks", *stub.parent.relative_to(root).parts]))
    lines = [line for line in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(line, ast.ImportFrom)]
    for name in [name.name for line in lines for name in line.names]:
        getattr(wing, name)
    print(wing.__name__)
for name in dir(penstock):
    getattr(penstock, name)
print(*dir(penstock))
"""
RESOURCES = """
from pathlib import Path
from deployments.prefect_server.apply import definitions
from deployments.serving.routes import page
from tasks.training.manifest import code_digest

page()
print(definitions(Path.cwd()), code_digest(), sep="\\n")
"""
# Ten lines of somebody else's, with a contract, data and a flow of their own.
STRANGER = """
import pandera.polars as pa, polars as pl
from penstock import audit_frame_task, evaluate_scores_task, measure_drift_task
from prefect import flow
class Order(pa.DataFrameModel):
    price: float = pa.Field(ge=0)
@flow
def nightly():
    orders = pl.DataFrame({"price": [float(i % 90 - 1) for i in range(900)], "paid": [i % 3 == 0 for i in range(900)]})
    audit = audit_frame_task(orders, Order)
    drift = measure_drift_task.submit(audit.accepted[:445], audit.accepted[445:], columns=["price"])
    worth = evaluate_scores_task(audit.accepted.with_columns(p=pl.lit(0.3)), "paid", "p")
    return audit.verdict.why, drift.result().status, round(worth.metrics["brier"], 4)
print(nightly())
"""


def build(source: Path, folder: Path, *kinds: str) -> None:
    """Build the kinds (sdist, wheel) of the source, both where none is named; without hatchling the test is skipped."""
    if find_spec("hatchling") is None:
        pytest.skip("no wheel can be built: hatchling is not installed (pip install 'hatchling>=1.27')")
    targets = [argument for kind in kinds for argument in ("-t", kind)]
    command = [sys.executable, "-m", "hatchling", "build", *targets, "-d", str(folder)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist and the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return next(dist.glob("*.whl"))


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and a working directory that is nobody's."""

    root: Path

    @property
    def cwd(self) -> Path:
        return self.root / "elsewhere"

    @property
    def quiet(self) -> dict[str, str]:
        """Variables that keep Prefect quiet and Penstock's home within the environment."""
        return {"PENSTOCK_HOME": str(self.cwd / "home"), "PENSTOCK_SERVER": "ephemeral", **QUIET}

    def run(
        self, program: str, *arguments: str, folder: Path | None = None, variables: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.cwd), **(self.quiet if variables is None else variables)}
        command = [str(self.root / "bin" / program), *arguments]
        return subprocess.run(command, cwd=folder or self.cwd, env=environment, capture_output=True, text=True, check=False)

    def python(self, program: str, *arguments: str) -> list[str]:
        """The lines that a program prints."""
        result = self.run("python", "-c", program, *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment of its own, over this one's libraries but not its link to the checkout.

    A .pth file adds the libraries' folder; .pth files within that folder, an editable install's among them, are not read.
    """
    if find_spec("uv") is None:
        pytest.skip("the wheel cannot be installed: uv is not installed (pip install 'uv>=0.8')")
    environment = Installed(tmp_path_factory.mktemp("installed"))
    venv.create(environment.root, symlinks=True)
    environment.cwd.mkdir()
    target = str(environment.root / "bin" / "python")
    install = ["uv", "pip", "install", "--offline", "--no-cache", "--no-deps", "--python", target, str(wheel)]
    done = subprocess.run([sys.executable, "-m", *install], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    site = next(environment.root.glob("lib/python*/site-packages"))
    (site / "libraries.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return environment


def sources() -> set[str]:
    """Every module of the packages, and every file of the kinds that are read at run time."""
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.suffix in {".py", *DATA})
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_the_wheel_has_the_packages_that_import_linter_knows() -> None:
    assert set(CONFIG["tool"]["importlinter"]["root_packages"]) == set(PACKAGES)


def test_the_wheel_holds_all_of_the_packages_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert sorted({*DATA.values(), *(f"{package}/py.typed" for package in PACKAGES)} - sources()) == []
    assert sorted(sources() - names) == []
    assert {"deployments/prefect.yaml", "deployments/serving/page.html"} <= names
    assert {name.partition("/")[0] for name in names} - set(PACKAGES) == {f"penstock_ml-{VERSION}.dist-info"}
    assert [name for name in names if name.endswith((".pyc", ".env", ".db", ".log")) or "/." in name] == []


def test_the_sdist_makes_the_same_wheel(dist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    build(next((tmp_path / "source").iterdir()), tmp_path, "wheel")
    again = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    assert {info.filename: info.CRC for info in again.infolist()} == {
        info.filename: info.CRC for info in zipfile.ZipFile(wheel).infolist()
    }


def test_what_is_installed_is_imported_from_the_wheel(installed: Installed) -> None:
    path, *files = json.loads(installed.python(PLACES, *PACKAGES)[0])
    site = next(installed.root.glob("lib/python*/site-packages"))
    assert str(ROOT) not in path
    assert files == [str(site / package / "__init__.py") for package in PACKAGES]


@pytest.mark.slow
def test_every_name_of_every_wing_and_every_public_name_is_there(installed: Installed) -> None:
    import penstock

    stubs = {name for name in sources() if name.startswith("tasks/") and name.endswith("/__init__.pyi")}
    *wings, public = installed.python(FACES)
    assert set(wings) == {name.removesuffix("/__init__.pyi").replace("/", ".") for name in stubs}
    assert public.split() == dir(penstock)


def test_files_that_are_read_at_run_time_are_those_of_the_checkout(installed: Installed) -> None:
    from tasks.training.manifest import code_digest

    definitions, digest = installed.python(RESOURCES)
    assert Path(definitions).is_relative_to(installed.root)
    assert Path(definitions).read_bytes() == (ROOT / "prefect.yaml").read_bytes()
    assert digest == code_digest()


def test_the_command_answers(installed: Installed) -> None:
    result = installed.run("penstock", "--version")
    assert result.stdout == f"penstock {VERSION}\n", result.stderr


@pytest.mark.slow
def test_doctor_finds_the_installation_in_order(installed: Installed) -> None:
    result = installed.run("penstock", "doctor", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    status = {finding["name"]: (finding["status"], finding["detail"]) for finding in json.loads(result.stdout)}
    assert status["packages"][0] == "ok"
    assert status["use cases"] == ("ok", "flights")


@pytest.mark.slow
def test_a_project_and_a_use_case_are_made_from_the_templates(installed: Installed) -> None:
    """The file is parsed by a child process, which has to find the installed packages too."""
    made = installed.run("penstock", "init", "gym")
    assert made.returncode == 0, made.stderr
    gym = installed.cwd / "gym"
    members = domains.save(domains.members(), gym / "members.csv")
    drafted = installed.run("penstock", "new", "churn", "--from", members.name, "--target", "churned", folder=gym)
    assert drafted.returncode == 0, drafted.stderr
    assert (gym / ".env.example").is_file()
    assert (gym / "gym" / "churn.py").is_file()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_strangers_flow_uses_three_tasks(installed: Installed, tmp_path: Path) -> None:
    """Their Prefect starts a server of its own; no setting is ours, and nothing of ours is left with them."""
    project, home = tmp_path / "project", tmp_path / "home"
    home.mkdir()  # Prefect makes no parents
    project.mkdir()
    (project / "nightly.py").write_text(STRANGER)
    prefect = {"DO_NOT_TRACK": "true", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "400"}
    done = installed.run("python", "-P", "nightly.py", folder=project, variables={"HOME": str(home), **prefect})
    # Of the 890 accepted rows 290 are paid: (290 x .49 + 600 x .09) / 890 = .2203.
    assert done.stdout == "('890 of 900 rows accepted, 10 rejected', 'no drift', 0.2203)\n", done.stderr
    assert [path.name for path in project.iterdir()] == ["nightly.py"]
    assert [path.name for path in home.iterdir()] == [".prefect"]

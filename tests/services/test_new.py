"""`penstock init` and `penstock new` from outside: whole projects, each domain's file under its contract."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from deployments.scaffold.draft import NewUseCaseOptions
from deployments.scaffold.new_use_case import Drafted, new_use_case
from deployments.scaffold.project import GROUP, create
from tasks.parsing.parse import Limits
from tests.unit import scaffold_domains as domains

ROOT = Path(__file__).parents[2]
LIMITS = Limits(2048, 120)
RUFF = str(Path(sys.executable).with_name("ruff"))
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written")


@pytest.fixture(scope="module")
def written(folder: Path) -> dict[str, Drafted]:
    """Each domain's use case, written beside its file."""
    return {
        name: new_use_case(name, domains.save(frame(), folder / file), NewUseCaseOptions(target), folder, LIMITS)
        for name, (frame, file, target, _) in domains.DOMAINS.items()
    }


@pytest.mark.parametrize("name", domains.DOMAINS)
def test_its_own_file_passes_the_contract(written: dict[str, Drafted], name: str) -> None:
    frame, _, _, kind = domains.DOMAINS[name]
    audit = written[name].audit
    assert written[name].kind == kind
    assert audit.rows == frame().height
    assert (audit.accepted, audit.rejected) == (audit.rows, 0)


@pytest.mark.usefixtures("written")
def test_what_is_written_is_formatted_and_passes_its_tests(folder: Path) -> None:
    for width in ("88", "125"):
        formatted = run(folder, RUFF, "format", "--no-cache", "--check", "--diff", "--isolated", "--line-length", width, ".")
        assert formatted.returncode == 0, formatted.stdout
    linted = run(
        folder, RUFF, "check", "--no-cache", "--isolated", "--select", "E,F,W,UP,B,N,D100,D101", "--ignore", "E501", "."
    )
    assert linted.returncode == 0, linted.stdout
    tested = run(folder, *PYTEST, "-c", os.devnull, "--rootdir", ".", ".")
    assert tested.returncode == 0, tested.stdout


def test_use_cases_are_added_to_a_project_with_entry_point_and_test(tmp_path: Path) -> None:
    create(gym := tmp_path / "gym")
    source = domains.save(domains.members(), tmp_path / "members.csv")
    new_use_case("gym-churn", source, NewUseCaseOptions("churned"), gym, LIMITS)
    result = new_use_case("renewal", source, NewUseCaseOptions("renews"), gym / "tests", LIMITS)
    assert result.files == ("gym/renewal.py", "tests/test_renewal.py", "pyproject.toml")
    told = tomllib.loads((gym / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    assert told == {"gym-churn": "gym.gym_churn:GYM_CHURN", "renewal": "gym.renewal:RENEWAL"}
    new_use_case("renewal", source, NewUseCaseOptions("renews"), gym, LIMITS, force=True)
    assert (gym / "pyproject.toml").read_text().count("renewal") == 2
    for command in (PYTEST, (RUFF, "format", "--no-cache", "--check", "."), (RUFF, "check", "--no-cache", ".")):
        result_of = run(gym, *command)
        assert result_of.returncode == 0, result_of.stdout
    built = run(gym, sys.executable, "-m", "hatchling", "build", "-t", "wheel")
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(gym.glob("dist/*.whl"))) as wheel:
        entry_points = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert "renewal = gym.renewal:RENEWAL" in wheel.read(entry_points).decode()

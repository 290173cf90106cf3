"""Which use cases `penstock up` serves, and the script that makes a shell talk to the system and back again."""

import subprocess
from pathlib import Path

import pytest

from deployments.local_stack import served
from deployments.local_stack.plan import plan
from deployments.local_stack.services import Ports
from deployments.local_stack.stack import terminal_script
from schemas.errors import UsageError
from schemas.settings import Settings

MANIFEST = '[project]\nname = "gym"\n[project.entry-points."penstock.use_cases"]\n{lines}'
KNOWN = {"flights": "schemas.usecases.flights:FLIGHTS", "churn": "gym.churn:CHURN", "theirs": "else:WHERE"}


def project(folder: Path, *names: str) -> Path:
    (folder / "gym").mkdir()
    (folder / "gym" / "__init__.py").touch()
    lines = "\n".join(f'{name} = "gym.{name}:{name.upper()}"' for name in names)
    (folder / "pyproject.toml").write_text(MANIFEST.format(lines=lines))
    return folder


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "registered", lambda: KNOWN)


@pytest.mark.usefixtures("environment")
def test_a_projects_own_use_cases_are_served(tmp_path: Path) -> None:
    folder = project(tmp_path, "churn")
    found = served.served_use_cases([], folder / "gym")
    assert found == served.Served(("churn",))
    planned = plan(Settings(home=tmp_path / "home"), folder, "gym", Ports(usual=False), found.names)
    assert [part.name for part in planned.parts if part.name.startswith("api-")] == ["api-churn"]


@pytest.mark.usefixtures("environment")
def test_what_is_named_is_served_wherever_it_is_registered(tmp_path: Path) -> None:
    folder = project(tmp_path, "churn")
    assert served.served_use_cases(["theirs", "flights", "theirs"], folder).names == ("flights", "theirs")


@pytest.mark.usefixtures("environment")
def test_outside_a_project_all_are_served(tmp_path: Path) -> None:
    assert served.served_use_cases([], tmp_path) == served.Served(("churn", "flights", "theirs"))


@pytest.mark.usefixtures("environment")
def test_what_the_project_has_not_registered_yet_is_said(tmp_path: Path) -> None:
    folder = project(tmp_path, "churn", "visits")
    found = served.served_use_cases([], folder)
    assert found.names == ("churn",)
    assert found.notes == (f"not served: visits; register the project's use cases first: {served.REGISTER}",)
    with pytest.raises(UsageError, match=r"unknown use case visits; .*pip install --no-deps --editable \."):
        served.served_use_cases(["visits"], folder)
    with pytest.raises(UsageError, match=r"unknown use case other; registered: churn, flights, theirs$"):
        served.served_use_cases(["other"], folder)


@pytest.mark.usefixtures("environment")
def test_a_project_without_use_cases_is_told_so(tmp_path: Path) -> None:
    found = served.served_use_cases([], project(tmp_path))
    assert found.names == ()
    assert "registers no use case yet: penstock new" in found.notes[0]


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_the_shell_is_as_before_once_it_leaves_the_system(tmp_path: Path, shell: str) -> None:
    script = tmp_path / "environment.sh"
    script.write_text(terminal_script({"PENSTOCK_HOME": "/a 'b' $c", "PREFECT_API_URL": "http://127.0.0.1:1/api"}))
    shown = 'echo "${PENSTOCK_HOME-unset}|${PREFECT_API_URL-unset}"'
    steps = [shown, f". {script}", shown, f". {script}", "penstock_deactivate", shown, "set | grep ^_PENSTOCK || true"]
    program = "set -eu\nexport PENSTOCK_HOME='my own'\n" + "\n".join(steps)
    done = subprocess.run([shell, "-c", program], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["my own|unset", "/a 'b' $c|http://127.0.0.1:1/api", "my own|unset"]

"""A team's own project: what `init` writes, what `new` adds to it, how use cases are found, and the one in examples/."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from deployments.commands.init import command
from deployments.scaffold.draft import NewUseCaseOptions
from deployments.scaffold.location import nearby, place_for
from deployments.scaffold.new_use_case import new_use_case
from deployments.scaffold.project import PACKAGES, Project, create, find_project, requirement
from schemas.errors import UsageError
from schemas.settings import Settings
from schemas.usecase import resolve
from tasks.parsing.parse import Limits
from tests.unit import scaffold_domains as domains

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "workshop"
LIMITS = Limits(2048, 60)
# Where Penstock lies: a project that was made names the place itself, the example's place is relative.
BY_PLACE = "# Penstock is named by where it lies.\n[tool.hatch.metadata]\nallow-direct-references = true\n"
HERE = '# Penstock is the checkout that this example lies in.\n[tool.uv.sources]\npenstock-ml = { path = "../.." }\n'
SHOWN = {"README.md", "gym/__init__.py", "prefect.yaml", "pyproject.toml", "tests/test_use_cases.py"}
FILES = {*SHOWN, ".env.example", ".gitignore"}


@pytest.fixture
def gym(tmp_path: Path) -> Path:
    create(tmp_path / "gym")
    return tmp_path / "gym"


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_init_writes_a_project_without_our_names(gym: Path) -> None:
    assert tree(gym) == FILES
    assert not [name for name in PACKAGES if (gym / name).exists()]
    assert not [text for path in FILES if "$p" in (text := (gym / path).read_text())]
    assert [path.name for path in gym.parent.iterdir()] == ["gym"]


def test_the_deployments_are_flows_that_are_there(gym: Path) -> None:
    written = yaml.safe_load((gym / "prefect.yaml").read_text())
    entrypoints = [deployment["entrypoint"] for deployment in written["deployments"]]
    assert [e for e in entrypoints if not (ROOT / f"{e.split(':')[0].replace('.', '/')}.py").is_file()] == []
    assert "{{ $PENSTOCK_PROJECT }}" in (gym / "prefect.yaml").read_text()


def test_it_depends_on_what_made_it_and_on_no_cuda_library(gym: Path) -> None:
    manifest = tomllib.loads((gym / "pyproject.toml").read_text())
    assert manifest["project"]["dependencies"] == [f"penstock-ml[serve,up] @ {ROOT.as_uri()}"]
    assert manifest["tool"]["hatch"]["metadata"] == {"allow-direct-references": True}
    overrides = manifest["tool"]["uv"]["override-dependencies"]
    assert overrides == [f"nvidia-nccl-cu{major}; sys_platform == 'never'" for major in (12, 13)]


def test_init_says_where_it_cannot_tell_what_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.scaffold.project.direct_reference", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(command, ["gym"])
    assert [line for line in told.output.splitlines() if "it cannot be told where penstock-ml was installed from" in line]
    manifest = tomllib.loads((tmp_path / "gym" / "pyproject.toml").read_text())
    assert manifest["project"]["dependencies"] == ["penstock-ml[serve,up]"]


def test_every_setting_is_in_the_example_of_the_environment(gym: Path) -> None:
    text = (gym / ".env.example").read_text()
    assert [name for name in Settings.model_fields if f"# PENSTOCK_{name.upper()}=" not in text] == []


@pytest.mark.parametrize(
    ("folder", "name", "says"),
    [
        ("used", None, "is in use"),
        ("file", None, "is in use"),
        ("flows", None, "Penstock's own"),
        ("new", "json", "Python's or"),
        ("new", "polars", "is there already"),
        ("new", "Été", "no name for a project"),
        ("new", "1st", "no name for a project"),
    ],
)
def test_init_refuses_and_writes_nothing(tmp_path: Path, folder: str, name: str | None, says: str) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").touch()
    (tmp_path / "file").touch()
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=says):
        create(tmp_path / folder, name)
    assert tree(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_init_in_an_empty_folder_and_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gym").mkdir()
    monkeypatch.chdir(tmp_path / "gym")
    first, second = (CliRunner().invoke(command, ["."]) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 2)
    assert tree(tmp_path / "gym") == FILES
    assert second.stderr == "penstock: .: is in use; name a folder that is empty or not there yet\n"


MANIFEST = '[project]\nname = "team"\n{table}\n[tool.x]\ny = 1\n'


@pytest.mark.parametrize(
    ("table", "changed"),
    [
        ('[project.entry-points."penstock.use_cases"]', '"]\nnew-one = "team.new_one:NEW_ONE"\n[tool.x]'),
        (
            '[project.entry-points."penstock.use_cases"]\na = "b:C"  # mine\n',
            '# mine\nnew-one = "team.new_one:NEW_ONE"\n\n[tool.x]',
        ),
        (
            '[project.entry-points."penstock.use_cases"]\nnew-one = "old:ONE"\n',
            '"]\nnew-one = "team.new_one:NEW_ONE"\n\n[tool.x]',
        ),
        ('[project.entry-points]\n"penstock.use_cases" = {a = "b:C"}', None),
        ("[project.entry-points.'penstock.use_cases']\na = \"b:C\"", None),
    ],
)
def test_the_entry_point_is_one_line_more_or_asked_for(tmp_path: Path, table: str, changed: str | None) -> None:
    (tmp_path / "pyproject.toml").write_text(MANIFEST.format(table=table))
    project = Project(tmp_path, "team")
    if changed is None:
        with pytest.raises(UsageError, match="by hand"):
            project.with_use_case("new-one", "team.new_one:NEW_ONE")
    else:
        assert changed in project.with_use_case("new-one", "team.new_one:NEW_ONE")


@pytest.mark.parametrize(
    ("manifest", "package"),
    [
        (None, None),
        ('[project]\nname = "team"\n', None),
        ('[project]\nname = "penstock-ml"\n[project.entry-points."penstock.use_cases"]\n', None),
        ('[project]\nname = "my-team"\n[project.entry-points."penstock.use_cases"]\n', "my_team"),
    ],
)
def test_a_project_is_known_by_its_entry_point_group(tmp_path: Path, manifest: str | None, package: str | None) -> None:
    (tmp_path / "my_team").mkdir()
    (tmp_path / "my_team" / "__init__.py").touch()
    if manifest:
        (tmp_path / "pyproject.toml").write_text(manifest)
    found = find_project(tmp_path / "my_team")
    assert (found.package if found else None) == package


def test_a_broken_manifest_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(UsageError, match="cannot be read"):
        find_project(tmp_path)


def test_use_cases_at_hand_are_found_by_their_short_names(gym: Path) -> None:
    source = domains.save(domains.plain(), gym.parent / "plain.csv")
    new_use_case("in-project", source, NewUseCaseOptions("y"), gym, LIMITS)
    new_use_case("in-folder", source, NewUseCaseOptions("y"), gym.parent, LIMITS)
    with domains.importing():
        assert nearby("in-project", gym) == "gym.in_project:IN_PROJECT"
        assert nearby("in-folder", gym.parent) == "in_folder:IN_FOLDER"
        assert sys.path[-2:] == [str(gym), str(gym.parent)]  # last, so that they hide nothing
        assert [resolve(nearby(name, gym)).name for name in ("in-project", "flights")] == ["in-project", "flights"]
        assert resolve(nearby("in-folder", gym.parent)).name == "in-folder"
        assert [nearby(name, gym.parent) for name in ("nowhere", "a:B", "../x")] == ["nowhere", "a:B", "../x"]
    assert not {"gym", "gym.in_project", "in_folder"} & set(sys.modules)


def test_a_package_beside_the_new_module_would_hide_it(tmp_path: Path) -> None:
    (tmp_path / "thing").mkdir()
    assert place_for("thing", tmp_path).module == tmp_path / "thing.py"
    (tmp_path / "thing" / "__init__.py").touch()
    with pytest.raises(UsageError, match="is there already"):
        place_for("thing", tmp_path)


def test_the_example_is_what_the_commands_write(tmp_path: Path) -> None:
    create(tmp_path / "workshop")
    shutil.copy(EXAMPLE / "make_data.py", tmp_path / "workshop")
    assert run(tmp_path / "workshop", sys.executable, "make_data.py").returncode == 0
    source = tmp_path / "workshop" / "data" / "repairs.csv"
    result = new_use_case("late-repairs", source, NewUseCaseOptions("late"), tmp_path / "workshop", LIMITS)
    assert result.audit.rejected == 0
    tracked = run(EXAMPLE, "git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.split()
    assert set(tracked) == {name for name in tree(tmp_path / "workshop") if not name.startswith("data/")}
    own = {"README.md", "make_data.py", ".env.example"}  # the last follows the settings when the example is made again
    differ = [name for name in tracked if (EXAMPLE / name).read_text() != (tmp_path / "workshop" / name).read_text()]
    assert set(differ) - {"pyproject.toml"} <= own
    example, written = ((folder / "pyproject.toml").read_text() for folder in (EXAMPLE, tmp_path / "workshop"))
    assert example.replace('"penstock-ml[serve,up]"', f'"{requirement()}"').replace(HERE, BY_PLACE) == written

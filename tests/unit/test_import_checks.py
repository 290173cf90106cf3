"""Which use cases `doctor` tells to import from `penstock`, and whose package runs beside a folder of that name."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.diagnostics.import_checks import import_findings
from tests.unit import scaffold_domains as domains

ROOT = Path(__file__).parents[2]
OLD = """
import polars as pl
from typing import TYPE_CHECKING
from schemas.contract import Contract, column as col
from schemas.usecase import Split, UseCase
from schemas.results import Training
from schemas.usecases.flights import FLIGHTS, MONTH
if TYPE_CHECKING:
    from flows.train import TrainResult, train
OLD = FLIGHTS
"""
NEW = """
from penstock import Contract, UseCase, column
from schemas.usecases.flights import FLIGHTS
NEW = FLIGHTS
"""


@pytest.fixture
def registered(tmp_path: Path) -> Iterator[None]:
    """A distribution of somebody's that registers four use cases."""
    package, told = tmp_path / "somebody", tmp_path / "somebody-1.dist-info"
    for folder in (package, told):
        folder.mkdir()
    (package / "__init__.py").touch()
    (package / "old.py").write_text(OLD)
    (package / "new.py").write_text(NEW)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1\n")
    lines = ["old = somebody.old:OLD", "twice = somebody.old:FLIGHTS", "new = somebody.new:NEW", "gone = somebody.gone:GONE"]
    (told / "entry_points.txt").write_text("\n".join(["[penstock.use_cases]", *lines]))
    with domains.importing():
        sys.path.append(str(tmp_path))
        yield


@pytest.mark.usefixtures("registered")
def test_doctor_names_the_line_to_write_in_place_of_the_old_ones() -> None:
    [finding] = import_findings()
    assert (finding.name, finding.status) == ("imports", "note")
    places = "flows.train, schemas.contract, schemas.usecase"
    assert finding.detail == f"somebody.old imports from {places}, which may move"
    assert finding.mend == "write: from penstock import Contract, Split, UseCase, column as col, train"
    exec(finding.mend.removeprefix("write: "), {})


def test_our_own_use_case_lies_below_and_is_left_alone() -> None:
    assert import_findings() == []


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("penstock/data.csv", ""),
        (
            "penstock/__init__.py",
            "not Penstock's own package (penstock: {file}): run from another folder, or rename that one",
        ),
        ("penstock.py", "not Penstock's own package (penstock: {file}): run from another folder, or rename that one"),
        (".penstock/__init__.py", ""),
    ],
)
def test_what_hides_our_package_is_refused_and_a_mere_folder_hides_nothing(tmp_path: Path, file: str, says: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    program = (
        "from tasks.orchestration import refuse_shadows\ntry: refuse_shadows()\nexcept Exception as error: print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == says.format(file=tmp_path / file)

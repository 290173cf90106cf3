"""What must hold for every use case of this project."""

import tomllib
from pathlib import Path

import pytest
from penstock import resolve

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
USE_CASES = PROJECT["entry-points"]["penstock.use_cases"]


@pytest.mark.parametrize("name", USE_CASES)
def test_it_loads_under_its_name(name: str) -> None:
    assert resolve(USE_CASES[name]).name == name


@pytest.mark.parametrize("name", USE_CASES)
def test_no_feature_reads_an_outcome(name: str) -> None:
    case = resolve(USE_CASES[name])
    outcomes = set(case.label_input.contract.known("outcome"))
    for feature, expression in case.features.items():
        assert not outcomes & set(expression.meta.root_names()), feature


def test_no_folder_takes_the_name_of_a_package_of_penstock() -> None:
    ours = ("penstock", "schemas", "tasks", "flows", "deployments")
    assert not [name for name in ours if (ROOT / name).exists()]

"""Predictions as a file and as frames: what it holds, that it is whole or not there, and what is refused before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner

from deployments.commands.score import command
from flows.score import ScoreResult
from flows.train import TrainResult
from schemas.contract import Contract, column
from schemas.errors import UsageError
from schemas.results import RowsToScore
from schemas.settings import Settings
from schemas.usecase import Input
from tasks.datasets import published as datasets
from tasks.features.engineering import design
from tasks.inference import batch, export, prediction_store, reasons
from tasks.models.booster import load_booster
from tasks.models.explanations import shap_contributions
from tasks.parsing import parse
from tasks.registry.factory import open_registry
from tests import serving_cases
from tests.serving_kit import LIMITS, promote, publish, record

ROWS, PART = 300, 128
CASES = {"parcels": "tests.serving_cases:PARCELS", "delays": "tests.serving_cases:DELAYS"}
OURS = ["penstock_prediction_id", "penstock_model_version"]
REASONS = ["penstock_reason_1", "penstock_reason_2", "penstock_reason_3"]
PROBABILITIES = ["probability_arrived", "probability_late", "probability_lost"]
READ = {
    ".csv": lambda path: pl.read_csv(path, try_parse_dates=True),
    ".parquet": pl.read_parquet,
    ".jsonl": pl.read_ndjson,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Champions of both use cases, whose rows pass in pieces."""
    folder = tmp_path_factory.mktemp("out")
    settings = Settings(home=folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction_store, "ROWS", PART)
        for name in CASES.values():
            publish(settings, name, "parcels", serving_cases.rows(ROWS), folder / "sources")
            promote(settings, record(settings, name, 12))
        yield settings


def scored(settings: Settings, case: str, file: Path | None = None) -> ScoreResult:
    data, log = datasets.data_at(settings.store_url(case), None), settings.store_url(f"{case}-log")
    if file is None:
        made = batch.score_commit(CASES[case], data, RowsToScore(), settings.registry_url, log, "")
    else:
        made = batch.score_file(CASES[case], data, parse.fingerprint(file), settings.registry_url, log, "", LIMITS)
    result = ScoreResult(**dict(made))
    result._asked = CASES[case]
    return result


def fresh(folder: Path) -> Path:
    """A file of parcels whose outcome nobody knows; one of them breaks the contract."""
    rows = serving_cases.rows(ROWS, seed=5).with_columns(
        pl.when(pl.col("id") == 3).then(0).otherwise("pieces").alias("pieces")
    )
    rows.drop("fate", "minutes").write_csv(folder / "fresh.csv")
    return folder / "fresh.csv"


@pytest.mark.parametrize("suffix", READ)
def test_a_file_holds_key_category_and_probabilities_of_each_row(home: Settings, tmp_path: Path, suffix: str) -> None:
    result, path = scored(home, "parcels"), tmp_path / f"out{suffix}"
    assert result.write(path) == path
    found, stored = READ[suffix](path), result.frame()
    assert found.columns == ["id", "category", *PROBABILITIES, *OURS]
    assert found["id"].to_list() == list(range(1, ROWS + 1)) == stored["id"].to_list()
    assert found["category"].to_list() == stored["category"].to_list()
    for name in PROBABILITIES:
        assert found[name].to_list() == stored[name].to_list()  # to the bit
    assert found["penstock_prediction_id"].to_list() == stored["prediction_id"].to_list()


def test_a_regressions_file_holds_the_number(home: Settings, tmp_path: Path) -> None:
    result = scored(home, "delays")
    result.write(tmp_path / "out.CSV")
    found = pl.read_csv(tmp_path / "out.CSV")
    assert found.columns == ["id", "prediction", *OURS]
    assert found["prediction"].to_list() == result.frame()["prediction"].to_list()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("of_file", [False, True])
def test_reasons_are_the_features_of_the_largest_shap_values(
    home: Settings, tmp_path: Path, case: str, of_file: bool
) -> None:
    source = fresh(tmp_path) if of_file else None
    result = scored(home, case, source)
    result.write(tmp_path / "out.parquet", reasons=True)
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.columns[-3:] == REASONS
    assert found.height == ROWS - of_file
    assert found.null_count().select(REASONS).sum_horizontal().item() == 0
    use_case = serving_cases.PARCELS if case == "parcels" else serving_cases.DELAYS
    raw = serving_cases.rows(ROWS, seed=5 if of_file else 1).filter(pl.col("id").is_in(found["id"].implode()))
    designed = design(use_case, raw.lazy(), {}).collect()
    registry = open_registry(home.registry_url)
    booster = load_booster(registry.model_bytes(registry.champion(case)))  # type: ignore[arg-type]
    sizes = shap_contributions(booster, designed)
    for at in (0, 1, PART + 1, found.height - 1):
        row = found.row(at, named=True)
        of_row = sizes[at]
        if case == "parcels":
            of_row = of_row[use_case.target.classes.index(row["category"])]
        for place, feature in enumerate(np.argsort(-np.abs(of_row[:-1]), kind="stable")[:3]):
            name = booster.feature_names[feature]  # type: ignore[index]
            value = designed[name][at]
            told = row[f"penstock_reason_{place + 1}"]
            assert told.startswith(f"{name} = ")
            assert told.endswith(f"({of_row[feature]:+.2f})")
            assert ("= missing (" in told) == (value is None)


def test_reasons_come_back_for_rows_that_were_scored_before(home: Settings, tmp_path: Path) -> None:
    source = fresh(tmp_path)
    first, again = scored(home, "parcels", source), scored(home, "parcels", source)
    assert again.status == "already done"
    first.write(tmp_path / "first.csv", reasons=True)
    again.write(tmp_path / "again.csv", reasons=True)
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_fewer_features_than_reasons_leave_the_others_empty() -> None:
    made = reasons.strongest(np.array([[0.5, 1.0], [-0.25, 1.0]]), pl.DataFrame({"only": [None, 7]}))
    assert made["penstock_reason_1"].to_list() == ["only = missing (+0.50)", "only = 7 (-0.25)"]
    assert made["penstock_reason_2"].to_list() == made["penstock_reason_3"].to_list() == [None, None]


def test_a_file_that_cannot_be_finished_leaves_what_was_there(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, path = scored(home, "parcels"), tmp_path / "out.csv"
    path.write_text("mine")

    def full(rows: pl.LazyFrame, unfinished: Path) -> None:
        unfinished.write_text("half of a li")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(export.FORMATS, ".csv", full)
    with pytest.raises(UsageError, match=r"cannot write predictions to .*out.csv: No space left on device"):
        result.write(path)
    assert path.read_text() == "mine"
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]


KILLED = """
import os, signal, sys
from pathlib import Path
import polars as pl
from tasks.inference import export
rows = pl.LazyFrame({"id": range(1000), "category": ["a"] * 1000, "probability": [0.5] * 1000})
sink = export.FORMATS[".csv"]
def halfway(rows, path):
    sink(rows.head(500), path)
    os.kill(os.getpid(), signal.SIGKILL)
export.FORMATS[".csv"] = halfway
export.write_predictions(rows, Path(sys.argv[1]))
"""


def test_a_process_that_is_killed_leaves_no_half_file(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out.csv")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("out.xlsx", r"the name ends in none of .csv, .parquet, .jsonl"),
        ("out", "the name ends in none of"),
        ("nowhere/out.csv", "there is no folder"),
        ("folder.csv", "it is a folder"),
        ("rows.csv", "it is the file that is scored"),
    ],
)
def test_a_destination_is_refused_before_any_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deployments.commands.score.ready_to_run", lambda *_, **__: pytest.fail("a server was started"))
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "rows.csv").write_text("id\n1\n")
    done = CliRunner().invoke(command, ["flights", "--file", "rows.csv", "--out", path])
    assert done.exit_code == 2
    assert says.replace("\\", "") in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_takes_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write everywhere asks a system that says no."""
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        monkeypatch.setattr(os, "access", lambda path, mode: bool(Path(path).stat().st_mode & 0o200 or not mode & os.W_OK))
    with pytest.raises(UsageError, match="takes no file; mend its permissions"):
        export.check_destination(tmp_path / "out.csv")
    tmp_path.chmod(0o700)


def test_reasons_without_a_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.commands.score.ready_to_run", lambda *_, **__: pytest.fail("a server was started"))
    done = CliRunner().invoke(command, ["flights", "--reasons"])
    assert done.exit_code == 2
    assert "--out predictions.csv" in done.stderr


class Ours(Contract):
    """A column with a name of ours."""

    id: int = column()
    penstock_reason_1: str = column()

    class Config:
        unique = ["id"]


class Called(Contract):
    """A key that bears the name of what is predicted."""

    category: int = column()
    kind: str = column()

    class Config:
        unique = ["category"]


class Feature(Contract):
    """A column that is neither key nor time may be called so."""

    id: int = column()
    category: str = column()

    class Config:
        unique = ["id"]


@pytest.mark.parametrize(
    ("contract", "says"),
    [
        (Ours, "names that begin with penstock_ are Penstock's own; rename it"),
        (Called, "category is its key or event time and the name of a column of its predictions; rename it"),
        (Feature, None),
    ],
)
def test_a_clash_of_names_is_refused_when_the_use_case_is_built(contract: type[Contract], says: str | None) -> None:
    changed: dict[str, Any] = {"inputs": (Input(name="parcels", contract=contract),)}
    if says is None:
        assert replace(serving_cases.PARCELS, **changed).rows == "parcels"
        return
    with pytest.raises(UsageError, match=says) as refused:
        replace(serving_cases.PARCELS, **changed)
    assert "\n" not in str(refused.value)


def trained(home: Settings) -> TrainResult:
    model = open_registry(home.registry_url).champion("parcels")
    data = datasets.data_at(home.store_url("parcels"), None)
    return TrainResult(use_case=CASES["parcels"], status="promoted", why=".", model=model, data=data)


def test_predict_gives_back_the_kind_of_frame_that_it_was_given(home: Settings) -> None:
    rows = serving_cases.rows(40, seed=8).drop("fate", "minutes")
    wanted, same = trained(home).predict(rows), ["id", "category", *PROBABILITIES, "prediction_id"]
    lazy = trained(home).predict(rows.lazy())
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.select(same).collect().equals(wanted.select(same))
    # As pandas reads it from a file: text for dates, categories and numbers in types of its own, an index that is not 0, 1.
    frame = rows.to_pandas().astype({"shop": object, "pieces": "int64"}).assign(sent=rows["sent"].cast(pl.String).to_list())
    frame.index = pd.Index([f"row-{n}" for n in range(40)], name="which")
    made = trained(home).predict(frame)
    assert isinstance(made, pd.DataFrame)
    assert made.index.equals(frame.index)
    assert made["category"].tolist() == wanted["category"].to_list()
    assert np.array_equal(made[PROBABILITIES].to_numpy(), wanted.select(PROBABILITIES).to_numpy())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.assign(weight="heavy"), "weight is 'heavy' in row 1, which is no Float64; mend it"),
        (lambda f: f.assign(pieces=pd.Series([1, 1, 200] + [1] * (len(f) - 3))), "pieces is '200' in row 3"),
        (lambda f: f.assign(sent="03/04/2021"), "sent is '03/04/2021' in row 1"),
        (lambda f: f.assign(weight=[[1.0]] * len(f)), "column weight is List(Float64), and the contract wants Float64"),
        (lambda f: f.assign(weight=[1, "x"] * (len(f) // 2)), "the column 'weight' cannot be read"),
        (lambda f: f.drop(columns="weight"), "the frame lacks weight"),
        (lambda f: pd.concat([f, f[["weight"]]], axis=1), "weight is the name of several columns"),
        (lambda f: f.to_dict(), "a pandas or polars frame is wanted, not a dict"),
    ],
)
def test_a_frame_that_cannot_be_what_the_contract_says_is_one_line(home: Settings, change: Any, says: str) -> None:
    frame = serving_cases.rows(10, seed=8).drop("fate", "minutes").to_pandas()
    with pytest.raises(UsageError) as refused:
        trained(home).predict(change(frame))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_command_prints_where_it_wrote(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the flow returns, without its server: the command's own part."""
    result = scored(home, "parcels")
    monkeypatch.setattr("deployments.commands.score.ready_to_run", lambda *_, **__: home)
    monkeypatch.setattr("deployments.prefect_server.in_process.in_process", nullcontext)
    monkeypatch.setattr("flows.score.score", lambda *_, **__: result)
    out = tmp_path / "out.csv"
    done = CliRunner().invoke(command, ["tests.serving_cases:PARCELS", "--out", str(out)])
    assert (done.exit_code, f"written to {out}" in done.stdout) == (0, True), done.output
    told = json.loads(CliRunner().invoke(command, ["tests.serving_cases:PARCELS", "--out", str(out), "--json"]).stdout)
    assert told["out"] == str(out)
    assert told["rows"] == ROWS == pl.read_csv(out).height
    nothing = ScoreResult(use_case="parcels", status="skipped", why="nothing new")
    monkeypatch.setattr("flows.score.score", lambda *_, **__: nothing)
    done = CliRunner().invoke(command, ["tests.serving_cases:PARCELS", "--out", str(tmp_path / "none.csv")])
    assert "was not written: nothing was predicted" in done.stdout
    assert not (tmp_path / "none.csv").exists()

"""A home that was written before the modules moved: it verifies, its versions are made again to the byte, and it serves.

`old_home/make.py` tells how its archive was made. MLflow's database names artifacts by absolute paths; a home that is
restored elsewhere has a link at its old path (docs/backup.md), for which these tests put the new path in their place.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.errors import IntegrityError
from schemas.settings import Settings
from schemas.usecase import resolve
from tasks.inference import trace
from tasks.promotion import queries
from tasks.registry.factory import open_registry
from tasks.training import manifest
from tasks.versions.factory import open_store
from tests.services.processes import ROOT, environment
from tests.serving_kit import TOKEN, serving

pytestmark = pytest.mark.slow

ARCHIVE = Path(__file__).parent / "old_home" / "home.tar.xz"
NAME = "tests.contract.old_home.orders:ORDERS"
WRITTEN_AT = "/srv/penstock-home"
CODE = "3dc39e5211716dc9e6b587331cf37d46e7536fca6d77b4fa77c60867de2d5182"  # what every version says made it
STATES = {1: "refitted", 2: "champion", 3: "refused"}
NAMES_ARTIFACTS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def unpacked(folder: Path) -> Settings:
    """The home in a folder of the test's own."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    home = folder / "home"
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as database, database:
        for table, column in NAMES_ARTIFACTS:
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (WRITTEN_AT, str(home)))
    return Settings(home=home, api_token=TOKEN)


def penstock(settings: Settings, *arguments: str) -> tuple[int, Any]:
    """Exit code and result of a command."""
    command = [sys.executable, "-c", "from deployments.cli import main; main()", *arguments, "--json"]
    variables = environment(PENSTOCK_HOME=str(settings.root))
    run = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=280)
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The home, for those who only read it."""
    return unpacked(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def again(home: Settings) -> list[dict[str, Any]]:
    """Every version made again, the champion first."""
    code, told = penstock(home, "reproduce", NAME, "all")
    assert code == 0, told
    return told


def test_history_and_files_of_every_version_verify(home: Settings) -> None:
    code, told = penstock(home, "models", NAME, "--verify")
    assert (code, told["status"], told["entries"], told["problems"]) == (0, "verified", 1, [])
    registry = open_registry(home.registry_url)
    versions = registry.versions("orders")
    assert {ref.version: registry.tags(ref)["penstock.state"] for ref in versions} == STATES
    for ref in versions:  # each file is compared with its recorded hash
        assert registry.model_bytes(ref)
        assert registry.golden(ref)
        assert registry.document(ref, "manifest")["code_sha256"] == CODE
        for document in ("evaluation", "reference", "verdict"):
            assert registry.document(ref, document)


def test_every_version_is_made_again_to_the_byte(again: list[dict[str, Any]]) -> None:
    assert [(each["model"]["version"], each["identical"]) for each in again] == [(2, True), (1, True), (3, True)]
    assert all(each["why"].startswith("identical") for each in again)


def test_the_training_code_is_named_as_what_differs(again: list[dict[str, Any]]) -> None:
    told = f"training code was {CODE[:12]}..., is {manifest.code_digest()[:12]}..."
    for each in again:
        assert [line for line in each["differences"] if not line.startswith("library ")] == [told]
        assert told in each["why"]


def test_it_serves_the_bits_it_predicted_and_receipts_name_the_version(tmp_path: Path) -> None:
    settings = unpacked(tmp_path)
    champion = open_registry(settings.registry_url).champion("orders")
    log = open_store(settings.store_url("orders-log"))
    asked = json.loads((settings.root / "asked.json").read_text())
    scored = {row["number"]: row for row in written(log, "predictions/").iter_rows(named=True)}

    answers = []
    with serving(settings, NAME) as running:
        for each in asked.values():
            answer = running.predict(each["order"]).json()
            assert answer["probability"] == each["answer"]["probability"] == scored[each["order"]["number"]]["probability"]
            assert answer["category"] == each["answer"]["category"] == scored[each["order"]["number"]]["category"]
            answers += [each["answer"], answer]
        # Of the old answers, one has its receipt in the log, the other in the journal of a server that was killed.
        running.until(lambda: written(log, "receipts/").height >= len(answers))
    receipts = written(log, "receipts/")
    assert sorted(receipts["prediction_id"]) == sorted(answer["prediction_id"] for answer in answers)
    assert champion
    assert {answer["model_version"] for answer in answers} == {champion.version} == {2}
    assert set(receipts.select("model_version", "model_sha256").iter_rows()) == {(2, champion.sha256)}

    found = trace.trace_prediction(
        resolve(NAME),
        answers[-1]["prediction_id"],
        open_registry(settings.registry_url),
        open_store(settings.store_url("orders")),
        log,
        settings.root / "serving" / "orders" / "receipts",
    )
    assert found
    assert (found.model, found.manifest["code_sha256"]) == (champion, CODE)
    assert sorted(source.name for source in found.sources) == [
        f"{name}-early.parquet" for name in ("orders", "outcomes", "prices")
    ]


def written(log: Any, folder: str) -> pl.DataFrame:
    """Receipts below a folder of the log."""
    return log.scan("main", [stored.path for stored in log.objects("main", folder)]).collect()


def flipped(files: list[Path]) -> None:
    """Turn the last bit of files."""
    for file in files:
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert files


def test_a_bit_of_the_evidence_or_of_a_model_does_not_pass(tmp_path: Path) -> None:
    settings = unpacked(tmp_path)
    registry, log = open_registry(settings.registry_url), open_store(settings.store_url("orders-log"))
    assert queries.history_problems(registry, log, "orders") == []
    artifacts = settings.root / "mlflow" / "artifacts" / "orders" / "models"
    flipped(list(artifacts.glob("*/artifacts/verdicts/*.json")))
    assert ["the evidence of entry 1" in problem for problem in queries.history_problems(registry, log, "orders")] == [True]

    flipped(list(artifacts.glob("*/artifacts/model.ubj")))
    for ref in registry.versions("orders"):
        with pytest.raises(IntegrityError, match=rf"model\.ubj of orders {ref.version}"):
            registry.model_bytes(ref)

"""Every version is made again from its manifest, byte for byte, and what differs is named."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import NotFound, UsageError
from schemas.refs import DataRef, ModelRef
from schemas.settings import Settings
from tasks.registry.factory import open_registry
from tasks.registry.protocol import ModelRegistry
from tasks.training import engines
from tasks.training import manifest as manifest_module
from tasks.training.reproduction import named_versions, reproduce
from tests.training_kit import NAME, ORDERS, manifest, publish, train

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Lived:
    settings: Settings
    registry: ModelRegistry
    data: DataRef
    folder: Path

    def again(self, model: ModelRef, case=ORDERS, **more):
        with self.settings.active():
            return reproduce(case, self.registry, model, self.settings.store_url("orders"), **more)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("reproduction")
    with Settings(home=folder / "home").active() as settings:
        first = publish(settings, "early", folder / "sources")
        assert train(settings, first)[0].verdict.promoted
        second = publish(settings, "late", folder / "sources")
        train(settings, second)
        yield Lived(settings, open_registry(settings.registry_url), second, folder)


def test_gated_and_refitted_versions_are_identical_in_a_new_process_whatever_its_threads(lived):
    stages = {model.version: manifest(lived.settings, model)["split"] for model in lived.registry.versions("orders")}
    assert {bool(split) for split in stages.values()} == {True, False}
    environment = {"PENSTOCK_HOME": str(lived.settings.root), "PATH": "/usr/bin:/bin"}
    for threads, polars in ((1, 1), (4, 3)):
        told = ["reproduce", NAME, "all", "--json", "--threads", str(threads)]
        command = [sys.executable, "-c", "from deployments.cli import main; main()", *told]
        run = subprocess.run(
            command,
            cwd=ROOT,
            env={**environment, "POLARS_MAX_THREADS": str(polars)},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert run.returncode == 0, run.stderr
        told = json.loads(run.stdout)
        assert [each["why"] for each in told] == ["identical"] * len(stages)
        assert told[0]["model"]["version"] == lived.registry.champion("orders").version


def test_rows_delivered_in_another_order_make_the_same_bytes(lived, tmp_path):
    with Settings(home=tmp_path / "other").active() as settings:
        data = publish(settings, "early", tmp_path / "sources", order=5)
        challenged, shipped = train(settings, data)
        assert data.commit not in {manifest(lived.settings, m)["data_commit"] for m in lived.registry.versions("orders")}
    there = [lived.registry.version("orders", model.version) for model in (challenged.model, shipped)]
    assert [model.sha256 for model in (challenged.model, shipped)] == [model.sha256 for model in there]
    assert [manifest(settings, m)["row_digest"] for m in (challenged.model, shipped)] == [
        manifest(lived.settings, m)["row_digest"] for m in there
    ]


def test_a_manifest_tells_rows_bounds_and_libraries(lived):
    first, last = (manifest(lived.settings, lived.registry.versions("orders")[at]) for at in (0, 2))
    assert first["split"]["after"] is None
    assert last["split"]["after"] == manifest(lived.settings, lived.registry.version("orders", 2))["fitted_until"]
    assert last["split"]["holdout"][0] > last["split"]["after"]
    assert last["rows"] == last["split"]["train_rows"] + last["split"]["stopping_rows"]
    assert {"python", "polars", "numpy"} < set(last["libraries"])
    assert len(last["code_sha256"]) == 64


def test_what_differs_is_named(lived, monkeypatch):
    model = lived.registry.champion("orders")
    training = replace(ORDERS.training, params={**ORDERS.training.params, "max_depth": 4})
    moved = lived.again(model, replace(ORDERS, training=training))
    assert moved.identical  # the manifest's parameters count
    assert any(line.startswith("use-case version was") for line in moved.differences)

    bent = replace(ORDERS, features={**ORDERS.features, "size": pl.col("size").cast(pl.Float32) * 2})
    changed = lived.again(model, bent)
    assert changed.identical  # so does its own design
    assert any(line.startswith("use-case version was") for line in changed.differences)

    libraries = {**manifest(lived.settings, model)["libraries"], "polars": "9.9"}
    monkeypatch.setattr(manifest_module, "libraries", lambda: libraries)
    assert "library polars was" in lived.again(model).why


def recording(lived, **changed):
    """The registry, with some entries of every manifest changed."""

    def document(_, ref, name):
        kept = lived.registry.document(ref, name)
        return {**kept, **changed} if name == "manifest" else kept

    return type("Recording", (), {"document": document})()


def test_other_rows_are_named(lived):
    model = lived.registry.champion("orders")
    told = reproduce(ORDERS, recording(lived, row_digest="0" * 64, rows=3), model, lived.settings.store_url("orders"))
    assert told.differences[-2].startswith("number of rows was 3, is ")
    assert told.differences[-1].startswith("row digest was 000000000000..., is ")


def test_a_bit_of_the_fit_is_seen(lived, monkeypatch):
    fit = engines.refit_split

    def other(case, *rest):
        return fit(replace(case, training=replace(case.training, seed=1)), *rest)

    monkeypatch.setattr(engines, "refit_split", other)
    told = lived.again(lived.registry.champion("orders"))
    assert not told.identical
    assert told.why.startswith("different bytes from the same recorded inputs")


@pytest.mark.parametrize(
    ("version", "error", "said"),
    [("99", NotFound, "99"), ("newest", UsageError, "a number, champion"), ("challenger", NotFound, "has no challenger")],
)
def test_versions_that_are_not_there(lived, version, error, said):
    with pytest.raises(error, match=said):
        named_versions(lived.registry, "orders", version)


def test_none_of_no_versions_is_no_success(tmp_path):
    with pytest.raises(NotFound, match="no versions"):
        named_versions(open_registry(f"sqlite:///{tmp_path / 'mlflow.db'}"), "orders", "all")


def test_a_commit_that_is_in_no_store_is_said(lived, tmp_path):
    model = lived.registry.champion("orders")
    registry = recording(lived, data_store=(tmp_path / "gone").as_uri())
    with pytest.raises(NotFound, match="PENSTOCK_LAKE_URL"):
        reproduce(ORDERS, registry, model, (tmp_path / "none").as_uri())

"""Rows in memory, in files and on workers make models of one worth; in memory and in files the same bytes."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from schemas.errors import NotEnoughEvidence, ServiceUnavailable, UsageError
from schemas.settings import Settings
from tasks import fault_injection, flow_tasks
from tasks.datasets import loading, out_of_core
from tasks.features import row_files
from tasks.features.splitting import split_by_time
from tasks.models import booster
from tasks.registry.factory import open_registry
from tasks.training import dmatrix, engines, fit
from tasks.training.reproduction import reproduce
from tests import training_kit
from tests.modelling_kit import case, frame
from tests.training_kit import CALIBRATED, MULTICLASS, PLAIN, REGRESSION, Plan, manifest, publish, train

KIT = "tests.training_kit:"


@pytest.fixture
def small_parts(monkeypatch):
    """So small that a few thousand rows make many files and batches."""
    monkeypatch.setattr(out_of_core, "PART", 300)
    monkeypatch.setattr(dmatrix, "BATCH", 128)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    ("name", "made"),
    [("PLAIN", PLAIN), ("CALIBRATED", CALIBRATED), ("MULTICLASS", MULTICLASS), ("REGRESSION", REGRESSION)],
)
def test_memory_and_external_make_the_same_bytes(tmp_path, name, made):
    with Settings(home=tmp_path / "home").active() as settings:
        data = publish(settings, "early", tmp_path / "sources", KIT + name)
        with engines.split_rows(made, data, "memory") as held, engines.split_rows(made, data, "external") as spilled:
            assert isinstance(spilled.train, row_files.Spilled)
            assert len(spilled.train.files) > 3
            assert spilled.train.height == held.train.height
            for mine, theirs in ((held.stopping, spilled.stopping), (held.holdout, spilled.holdout)):
                assert mine.equals(theirs)
            assert engines.digest_rows(held.train, held.stopping) == engines.digest_rows(spilled.train, spilled.stopping)
            assert engines.digest_rows(held.known) == engines.digest_rows(spilled.known)
            one, two = (engines.fit_split(made, parts, "memory", "cpu") for parts in (held, spilled))
            assert one == two
            again = [
                engines.refit_split(made, parts, 7, one.calibration, "memory", "cpu").model for parts in (held, spilled)
            ]
            assert again[0] == again[1] != one.model
            folder = spilled.train.folder
        assert not folder.exists()


@pytest.mark.usefixtures("small_parts")
def test_a_training_on_files_is_recorded_gated_and_reproduced(tmp_path):
    with Settings(home=tmp_path / "home").active() as settings:
        data = publish(settings, "early", tmp_path / "sources", KIT + "PLAIN")
        challenged, shipped = train(settings, data, KIT + "PLAIN", engine="external")
        assert challenged.verdict.promoted
        registry = open_registry(settings.registry_url)
        for model in (challenged.model, shipped):
            assert manifest(settings, model)["engine"] == "external"
            assert reproduce(PLAIN, registry, model, data.store).why == "identical"
        held = loading.load_training_rows(PLAIN, data)
        told = manifest(settings, shipped)
        assert (told["rows"], told["row_digest"]) == (held.height, engines.digest_rows(held))
        assert set(registry.document(shipped, "importances")) >= {"gain", "shap"}


def test_a_sample_of_files_is_even_and_ends_with_the_newest_row(tmp_path):
    rows = pl.DataFrame({"n": range(1000), "_target": [True] * 1000})
    files = []
    for at, part in enumerate(rows.iter_slices(170)):
        files.append(tmp_path / f"{at}.parquet")
        part.write_parquet(files[-1])
    spilled = row_files.Spilled("all", tuple(files), pl.lit(True), 1000, 1, rows.schema)
    assert spilled.sample(100)["n"].to_list() == list(range(9, 1000, 10))
    assert spilled.sample(30)["n"].to_list() == [*range(33, 1000, 34), 999]


@pytest.mark.usefixtures("small_parts")
def test_workers_make_a_model_of_the_same_worth(tmp_path):
    pytest.importorskip("distributed")
    import dask

    few = dask.config.set({"distributed.admin.large-graph-warning-threshold": "8kB"})  # rows go to workers by themselves
    with Settings(home=tmp_path / "home", dask_workers=2).active() as settings, few:
        data = publish(settings, "early", tmp_path / "sources", KIT + "CALIBRATED")
        with engines.split_rows(CALIBRATED, data, "dask") as parts:
            fitted = [engines.fit_split(CALIBRATED, parts, engine, "cpu") for engine in ("dask", "external")]
            scores = [booster.predict_scores(CALIBRATED, booster.load_booster(each.model), parts.holdout) for each in fitted]
            again = engines.refit_split(CALIBRATED, parts, 5, (1.1, 0.1), "dask", "cpu")
        assert np.corrcoef(*scores)[0, 1] > 0.95
        assert (again.best_rounds, again.calibration) == (5, (1.1, 0.1))


@pytest.mark.usefixtures("small_parts")
def test_a_worker_that_dies_ends_the_fit_with_one_line(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setenv(fault_injection.VARIABLE, "distributed.joined_1")
    with Settings(home=tmp_path / "home", dask_workers=2).active() as settings:
        data = publish(settings, "early", tmp_path / "sources", KIT + "PLAIN")
        died = pytest.raises(ServiceUnavailable, match="a Dask worker died while it trained")
        with engines.split_rows(PLAIN, data, "dask") as parts, died as refusal:
            engines.fit_split(PLAIN, parts, "dask", "cpu")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("broken", "error", "said"),
    [
        ("absent", UsageError, r"pip install .*prefect-dask"),
        ("address", ServiceUnavailable, "no Dask scheduler answers at tcp://127.0.0.1:9"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(tmp_path, monkeypatch, broken, error, said):
    if broken == "absent":
        monkeypatch.setitem(sys.modules, "distributed", None)
    told = {"dask_address": "tcp://127.0.0.1:9"} if broken == "address" else {}
    with Settings(home=tmp_path / "home", **told).active() as settings:
        data = publish(settings, "early", tmp_path / "sources", KIT + "PLAIN")
        with engines.split_rows(PLAIN, data, "dask") as parts, pytest.raises(error, match=said) as refusal:
            engines.fit_split(PLAIN, parts, "dask", "cpu")
    assert "\n" not in str(refusal.value)


def test_features_that_look_at_other_rows_need_memory(tmp_path):
    with Settings(home=tmp_path / "home").active() as settings:
        data = publish(settings, "early", tmp_path / "sources")
        with pytest.raises(UsageError, match="'usual_size' looks at other rows"):
            flow_tasks.train_challenger.fn("tests.training_kit:ORDERS", data, settings.registry_url, Plan(engine="external"))


@pytest.mark.parametrize("engine", ["memory", "external"])
@pytest.mark.parametrize("rows", ["nothing", "one class", "no outcome"])
def test_too_little_is_refused_and_no_version_made(tmp_path, monkeypatch, engine, rows):
    kept = {"nothing": lambda d: d.clear(), "one class": lambda d: d.with_columns(delay=pl.lit(-9.0)),
            "no outcome": lambda d: d.with_columns(delay=pl.lit(None, dtype=pl.Float64))}[rows]  # fmt: skip
    tables = training_kit.tables()
    monkeypatch.setattr(training_kit, "tables", lambda: (*tables[:2], kept(tables[2])))
    with Settings(home=tmp_path / "home").active() as settings:
        data = publish(settings, "early", tmp_path / "sources", KIT + "PLAIN")
        with pytest.raises(NotEnoughEvidence) as refusal:
            train(settings, data, KIT + "PLAIN", engine=engine)
        assert "\n" not in str(refusal.value)
        assert not open_registry(settings.registry_url).versions("orders-plain")


def _gpu() -> bool:
    return Path("/dev/nvidia0").exists()


@pytest.mark.skipif(not _gpu(), reason="no GPU here: training with --device cuda is not tried")
def test_a_gpu_makes_a_model_of_the_same_worth():
    made = replace(case(), name="orders-gpu")
    parts = split_by_time(made, frame(made))
    models = [fit.fit_booster(made, parts.train, parts.stopping, device=device).model for device in ("cpu", "cuda")]
    scores = [booster.predict_scores(made, booster.load_booster(model), parts.holdout) for model in models]
    assert np.abs(scores[0] - scores[1]).mean() < 0.02

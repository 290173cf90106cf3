"""A server whose registry goes away, whose models are damaged, whose log cannot be written, and that is killed."""

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.digests import sha256
from schemas.refs import DataRef, ModelRef
from schemas.settings import Settings
from schemas.usecases.flights import FLIGHTS
from tasks.datasets import loading
from tasks.evaluation import metrics
from tasks.fault_injection import VARIABLE
from tasks.inference import prediction_log, write_ahead_log
from tasks.maintenance import retention
from tasks.models import booster
from tasks.registry.factory import open_registry
from tasks.registry.protocol import CHAMPION, Candidate
from tasks.training import fit
from tasks.versions.factory import open_store
from tasks.versions.protocol import VersionStore
from tests.faults.proxy import FaultProxy, answer, slow
from tests.registry_kit import server as mlflow_server
from tests.serving_kit import TOKEN, Home, Running, example, promote, record, serving, shared_home, whole_candidate

GRACE = 1.0  # s: what was answered before the last one is on the disk


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return shared_home(tmp_path_factory)


@pytest.fixture
def own(template: Home, tmp_path: Path) -> Home:
    return template.copy(tmp_path / "home")


# The registry


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy(mlflow_server().url) as between:
        yield between


def test_with_the_registry_down_the_last_verified_model_answers_also_after_a_restart(own: Home, proxy: FaultProxy) -> None:
    direct = Settings(home=own.settings.root, mlflow_url=mlflow_server().url)
    promote(direct, record(direct, "flights", 7))
    behind = {"PENSTOCK_MLFLOW_URL": proxy.url}
    row = example(own.settings)
    with serving(own.settings, environment=behind) as server:
        before = server.predict(row).json()
        for spoil in (proxy.refusing, lambda: spoiling(proxy, answer(500)), lambda: spoiling(proxy, slow(30))):
            with spoil():  # type: ignore[operator]
                answers = until_told(server, lambda card: bool(card["trouble"]), row)
                assert {each["probability"] for each in answers} == {before["probability"]}
        server.until(lambda: not server.client.get("/model").json()["trouble"])
        server.stop()
    with proxy.refusing(), serving(own.settings, environment=behind) as server:
        after = server.predict(row).json()
        assert (after["probability"], after["model_version"]) == (before["probability"], before["model_version"])


class spoiling:  # noqa: N801
    """Every request gets a fault for the block."""

    def __init__(self, proxy: FaultProxy, fault: Any) -> None:
        self._proxy, self._fault = proxy, fault

    def __enter__(self) -> None:
        self._proxy.on(self._fault)

    def __exit__(self, *error: object) -> None:
        self._proxy.clear()


def until_told(server: Running, condition: Callable[[dict[str, Any]], bool], row: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask until the card says something; every answer is a 200."""
    answers: list[dict[str, Any]] = []

    def asked() -> bool:
        told = server.predict(row)
        assert told.status_code == 200, told.text
        answers.append(told.json())
        return condition(server.client.get("/model").json())

    server.until(asked)
    return answers


def test_a_lake_that_goes_away_takes_no_answer_with_it(own: Home) -> None:
    row = example(own.settings)
    lake, hidden = own.settings.root / "lake" / "flights", own.settings.root / "hidden"
    with serving(own.settings) as server:
        before = server.predict(row).json()
        shutil.move(lake, hidden)
        answers = until_told(server, lambda card: "the lake" in card["trouble"], row)
        assert {each["probability"] for each in answers} == {before["probability"]}
        server.stop()
    with serving(own.settings) as server:
        assert server.predict(row).json()["probability"] == before["probability"]
        shutil.move(hidden, lake)
        server.until(lambda: not server.client.get("/model").json()["trouble"])


# Damaged models


def candidate(settings: Settings, model: Callable[[bytes], bytes], rounds: int = 15) -> Candidate:
    """A model that is recorded as it is after something happened to its bytes; its golden rows are from before."""
    data = DataRef(store=settings.store_url("flights"), commit=open_store(settings.store_url("flights")).head())
    rows = loading.load_training_rows(FLIGHTS, data)
    fitted = fit.refit_booster(FLIGHTS, rows, rounds, threads=1)
    scores = booster.predict_scores(FLIGHTS, booster.load_booster(fitted.model), rows)
    damaged = model(fitted.model)
    evaluated = metrics.evaluate(FLIGHTS, sha256(damaged), data.commit, rows, scores)
    made = whole_candidate(FLIGHTS, data, fitted, rows, evaluated)
    return replace(made, model=damaged, manifest={**made.manifest, "model_sha256": sha256(damaged)})


def edited(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    """Change the first tree of a model."""

    def edit(model: bytes) -> bytes:
        import xgboost

        document = json.loads(booster.load_booster(model).save_raw("json"))
        change(document["learner"]["gradient_booster"]["model"]["trees"][0])
        return json.dumps(document).encode() if xgboost else model

    return edit


def leaf(tree: dict[str, Any]) -> None:
    tree["split_conditions"] = [value + 0.5 for value in tree["split_conditions"]]


def branch(tree: dict[str, Any]) -> None:
    tree["left_children"] = [child if child < 0 else 1 << 30 for child in tree["left_children"]]


@pytest.mark.parametrize(
    "damage",
    [edited(leaf), edited(branch), lambda model: model[: len(model) // 2], lambda model: b"\x80\x04K\x01." + model],
    ids=["a leaf changed", "a branch leads nowhere", "cut off", "a pickle"],
)
def test_a_damaged_model_does_not_get_to_answer(own: Home, damage: Callable[[bytes], bytes]) -> None:
    row = example(own.settings)
    bad = open_registry(own.settings.registry_url).record(candidate(own.settings, damage))
    with serving(own.settings) as server:
        before = server.predict(row).json()
        enthrone(own.settings, bad)
        answers = until_told(server, lambda card: f"flights v{bad.version}" in card["refused"], row)
        assert {(each["model_version"], each["probability"]) for each in answers} == {(1, before["probability"])}
        promote_back = own.models[1]
        enthrone(own.settings, promote_back)
        server.until(lambda: server.version() == promote_back.version)


def enthrone(settings: Settings, ref: ModelRef) -> None:
    """Move the champion's alias behind Penstock's back: MLflow lets anyone."""
    from mlflow import MlflowClient

    client = MlflowClient(settings.registry_url, settings.registry_url)
    client.set_registered_model_alias(ref.name, CHAMPION, str(ref.version))


def test_bytes_that_are_not_those_recorded_do_not_get_to_answer(own: Home) -> None:
    row = example(own.settings)
    settings = Settings(home=own.settings.root, api_token=TOKEN, mlflow_url=f"sqlite:///{own.settings.root}/own/mlflow.db")
    (own.settings.root / "own").mkdir()
    promote(settings, record(settings, "flights", 6))
    swapped = record(settings, "flights", 8)
    for path in (own.settings.root / "own" / "artifacts").rglob("model.ubj"):
        found = path.read_bytes()
        if sha256(found) == swapped.sha256:
            path.write_bytes(found[:-1] + b"\0")
    with serving(own.settings, environment={"PENSTOCK_MLFLOW_URL": settings.registry_url}) as server:
        before = server.predict(row).json()
        enthrone(settings, swapped)
        answers = until_told(server, lambda card: f"flights v{swapped.version}" in card["refused"], row)
        assert {each["probability"] for each in answers} == {before["probability"]}


# Killed


def published(log: VersionStore) -> list[str]:
    paths = [stored.path for stored in log.objects("main", prediction_log.RECEIPTS_FOLDER)] if log.exists() else []
    rows = log.scan("main", paths).filter(pl.col("role") != "shadow") if paths else pl.LazyFrame({"prediction_id": []})
    return rows.select("prediction_id").collect().to_series().to_list()


@pytest.mark.parametrize("point", ["", "receipts.after_publish"])
def test_killed_at_most_the_last_second_of_receipts_is_lost_and_none_comes_twice(own: Home, point: str) -> None:
    row = example(own.settings)
    answered: list[tuple[float, str]] = []
    with serving(own.settings, environment={VARIABLE: point}) as server:
        ends = time.monotonic() + 4
        try:
            while time.monotonic() < ends or point:
                answered.append((time.monotonic(), server.predict(row).json()["prediction_id"]))
        except Exception:
            assert point
        died = time.monotonic()
        server.stop(signal.SIGKILL)
    log = open_store(own.settings.store_url("flights-log"))
    owed = {name for at, name in answered if at < died - GRACE}
    assert owed or point  # a server that ends itself may do so within the first second
    with serving(own.settings) as server:
        server.until(lambda: owed <= set(published(log)))
        kept = published(log)
        assert len(kept) == len(set(kept))
        assert {name for _, name in answered} >= set(kept)
        server.until(lambda: len(list((own.settings.root / "serving" / "flights" / "receipts").iterdir())) == 1)


def test_told_to_stop_every_receipt_is_published(own: Home) -> None:
    with serving(own.settings) as server:
        names = [server.predict(example(own.settings, at)).json()["prediction_id"] for at in range(50)]
        server.stop()
        assert server.process.returncode == 0
    assert set(published(open_store(own.settings.store_url("flights-log")))) == set(names)


def test_killed_in_a_swap_a_verified_model_answers_after_the_restart(own: Home) -> None:
    with serving(own.settings):
        pass
    with serving(own.settings, environment={VARIABLE: "serving.before_swap"}) as server:
        promote(own.settings, own.models[1])
        server.process.wait(120)
        assert server.process.returncode == -signal.SIGKILL
    with serving(own.settings) as server:
        assert server.predict(example(own.settings)).status_code == 200
        server.until(lambda: server.version() == 2)


# The log repository


def test_receipts_wait_while_the_log_cannot_be_written_and_answers_do_not(own: Home) -> None:
    log = own.settings.root / "lake" / "flights-log"
    log.mkdir(parents=True)
    foreign = log / "something-else"
    foreign.touch()
    row = example(own.settings)
    with serving(own.settings) as server:
        names = [server.predict(row).json()["prediction_id"] for _ in range(20)]
        waiting = own.settings.root / "serving" / "flights" / "receipts"
        server.until(lambda: "penstock_receipt_trouble_total 0.0" not in server.client.get("/metrics").text)
        assert write_ahead_log.list_segments(next(path for path in waiting.iterdir() if path.is_dir()))
        assert prediction_log.pending(waiting, names[0])
        assert server.predict(row).status_code == 200
        foreign.unlink()
        store = open_store(own.settings.store_url("flights-log"))
        server.until(lambda: set(names) <= set(published(store)))


def test_receipts_of_old_days_are_let_go(own: Home) -> None:
    with serving(own.settings) as server:
        name = server.predict(example(own.settings)).json()["prediction_id"]
        server.stop()
    url = own.settings.store_url("flights-log")
    day = prediction_log.day_of(name)
    assert retention.expire_logs(url, 0, dry_run=False) == ()
    would = retention.expire_logs(url, -366, dry_run=True)
    assert [(found.path, found.what) for found in would] == [(f"receipts/{day}/", "let go")]
    assert published(open_store(url)) == [name]
    assert retention.expire_logs(url, -366, dry_run=False) == would
    assert published(open_store(url)) == []
    assert retention.expire_logs(url, -366, dry_run=False) == ()
    assert "were let go" in retention.expired_summary(open_store(url))

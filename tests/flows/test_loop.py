"""The loop on real flights, arrival by arrival, through the flows as they are deployed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import polars as pl
import pytest
from prefect.settings import PREFECT_API_URL

from flows.ingest import ingest
from flows.lifecycle import lifecycle
from flows.monitor import monitor
from flows.score import score
from flows.train import TrainResult, train
from schemas.errors import NotEnoughEvidence
from schemas.results import Loop
from schemas.settings import Settings
from tasks.registry.factory import open_registry
from tasks.replay.nycflights13 import land_flights
from tasks.versions.factory import open_store
from tests.serving_kit import wait_for


@dataclass(frozen=True)
class Lived:
    """Two months ingested and trained on, and a third that went through the loop."""

    settings: Settings
    first: TrainResult
    march: dict[str, Loop]
    files: dict[str, Path]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    home = tmp_path_factory.mktemp("loop")
    with Settings(home=home).active() as settings:
        by_month = [{path.parent.name: path for path in land_flights(settings.landing_dir, [month])} for month in (1, 2, 3)]
        for files in by_month[:2]:
            for name in ("weather", "flights", "labels"):
                ingest("flights", str(files[name]))
        first = train("flights")
        march = {name: lifecycle("flights", str(by_month[2][name])) for name in ("weather", "flights", "labels")}
        yield Lived(settings=settings, first=first, march=march, files=by_month[2])


def test_the_first_champion_beats_the_baseline_and_ships_refitted(lived: Lived) -> None:
    assert lived.first.status == "promoted", lived.first.why
    assert lived.first.verdict
    assert all(check.passed for check in lived.first.verdict.checks)
    assert lived.first.metrics["auc"] > 0.6
    registry = open_registry(lived.settings.registry_url)
    assert lived.first.model
    manifest = registry.document(lived.first.model, "manifest")
    assert manifest["recipe_of"] == lived.first.model.version - 1
    gated = registry.version("flights", manifest["recipe_of"])
    assert registry.tags(gated)["penstock.state"] == "refitted"
    assert registry.document(gated, "verdict")["promoted"]
    assert manifest["data_commit"] == lived.first.data.commit  # type: ignore[union-attr]


def test_a_result_predicts_in_business_words(lived: Lived) -> None:
    rows = pl.read_csv(lived.files["flights"], n_rows=50, try_parse_dates=True)
    rows = rows.with_columns(pl.col("time_hour").dt.cast_time_unit("us").dt.convert_time_zone("UTC"))
    predictions = lived.first.predict(rows)
    assert predictions.height == rows.height
    assert set(predictions["category"].unique()) <= {"late", "on time"}
    assert predictions["probability"].is_between(0, 1).all()
    assert predictions["prediction_id"].is_unique().all()


def test_an_input_that_is_only_looked_up_is_only_ingested(lived: Lived) -> None:
    weather = lived.march["weather"]
    assert weather.ingested.accepted > 0
    assert (weather.scored, weather.monitored, weather.trained) == ((), (), ())


def test_rows_are_scored_by_the_champion_as_it_stands_and_monitored(lived: Lived) -> None:
    loop = lived.march["flights"]
    assert [s.status for s in loop.scored] == ["published"]
    assert loop.scored[0].model == lived.first.model
    assert loop.scored[0].rows == loop.ingested.accepted
    assert sum(loop.scored[0].categories.values()) == loop.scored[0].rows
    seen = loop.monitored[0]
    assert seen.drift
    assert seen.drift.status in ("drift", "no drift")
    assert Path(seen.drift.report or "").read_text().lstrip().startswith("<!DOCTYPE html>")
    assert seen.realized is None
    assert seen.coverage == 0


def test_labels_complete_the_metrics_and_age_asks_for_a_training(lived: Lived) -> None:
    loop = lived.march["labels"]
    seen = loop.monitored[0]
    assert seen.coverage == 1
    assert seen.realized
    assert seen.realized.metrics["auc"] > 0.6
    assert seen.decision.retrain
    assert loop.trained
    assert loop.trained[0].status in ("promoted", "refused")


def test_the_gates_window_was_seen_by_neither_model(lived: Lived) -> None:
    training = lived.march["labels"].trained[0]
    assert training.verdict
    assert training.verdict.window
    until = open_registry(lived.settings.registry_url).document(lived.first.model, "manifest")["fitted_until"]  # type: ignore[arg-type]
    assert training.verdict.window[0].isoformat() > until


def test_the_same_arrival_again_changes_nothing(lived: Lived) -> None:
    with lived.settings.active():
        heads = [open_store(lived.settings.store_url(name)).head() for name in ("flights", "flights-log")]
        versions = open_registry(lived.settings.registry_url).versions("flights")
        for name in ("flights", "labels"):
            again = lifecycle("flights", str(lived.files[name]))
            assert again.ingested.deliveries[0].status == "already done"
            assert all(s.status == "already done" for s in again.scored)
            assert again.trained == ()
        assert heads == [open_store(lived.settings.store_url(name)).head() for name in ("flights", "flights-log")]
        assert versions == open_registry(lived.settings.registry_url).versions("flights")


def test_training_again_on_the_same_commit_is_already_done(lived: Lived) -> None:
    with lived.settings.active():
        versions = open_registry(lived.settings.registry_url).versions("flights")
        assert train("flights").status == "already done"
        assert versions == open_registry(lived.settings.registry_url).versions("flights")


def test_receipts_name_what_a_prediction_was_made_from(lived: Lived) -> None:
    with lived.settings.active():
        again = score("flights", arrival=lived.march["flights"].ingested.deliveries[0].commit, once=True)
    assert again.status == "already done"
    frame = again.frame()
    assert frame.height == again.rows
    wanted = {"prediction_id", "category", "probability", "model_version", "model_sha256", "data_commit", "contract_version"}
    assert wanted <= set(frame.columns)
    assert frame["model_version"].unique().to_list() == [lived.first.model.version]  # type: ignore[union-attr]


def test_monitoring_again_says_the_same(lived: Lived) -> None:
    with lived.settings.active():
        before = lived.march["labels"].monitored[0]
        again = monitor("flights", arrival=lived.march["flights"].ingested.deliveries[0].commit)
    assert again.realized == before.realized
    assert again.drift
    assert before.drift
    assert again.drift.columns == before.drift.columns


def test_the_dashboard_knows_what_was_made_from_what(lived: Lived) -> None:
    def materialized() -> dict[tuple[str, str], list[str]]:
        wanted = {"event": {"name": ["prefect.asset.materialization.succeeded"]}}
        found = httpx.post(f"{PREFECT_API_URL.value()}/events/filter", json={"filter": wanted, "limit": 50}).json()["events"]
        return {
            (event["resource"]["prefect.resource.id"], event["payload"]["commit"]): sorted(
                each["prefect.resource.id"] for each in event["related"] if each["prefect.resource.role"] == "asset"
            )
            for event in found
        }

    [scored] = lived.march["flights"].scored
    assert lived.first.data
    assert scored.predictions
    last, inputs = scored.predictions.commit, ["flights", "labels", "weather"]
    wait_for(lambda: ("penstock://flights/predictions", last) in materialized())
    known = materialized()
    published = lived.march["weather"].ingested.deliveries[0].commit
    assert known["penstock://flights/data/weather", published] == ["penstock://flights/sources/weather"]
    assert known["penstock://flights/model", lived.first.data.commit] == [f"penstock://flights/data/{i}" for i in inputs]
    assert known["penstock://flights/predictions", last] == ["penstock://flights/data/flights", "penstock://flights/model"]


def test_with_no_champion_there_is_nothing_to_score_with(settings: Settings) -> None:
    open_store(settings.store_url("flights")).create()
    with pytest.raises(NotEnoughEvidence, match="penstock train flights"):
        score("flights")


def test_labels_alone_are_not_enough_to_train_on(settings: Settings, lived: Lived) -> None:
    ingest("flights", str(lived.files["labels"]))
    result = train("flights")
    assert (result.status, result.model) == ("skipped", None)
    assert settings.root != lived.settings.root

"""A replay on real flights: the loop's numbers are those of its receipts, and the others know no label too early."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.ingest import ingest
from flows.replay import listening, replay
from schemas.errors import UsageError
from schemas.refs import DataRef
from schemas.settings import Settings
from schemas.usecases.flights import FLIGHTS
from tasks.datasets import loading, published
from tasks.features.row_order import in_canonical_order
from tasks.inference import prediction_store
from tasks.registry.factory import open_registry
from tasks.replay import nycflights13, retraining_schedules
from tasks.versions.factory import open_store
from tests.modelling_kit import START as START_OF_ORDERS
from tests.orders_kit import files_of

DAY = timedelta(days=1)
START = datetime(2013, 3, 1, tzinfo=UTC)
END = START + 8 * DAY


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Any:
    heard: list[Any] = []
    with Settings(home=tmp_path_factory.mktemp("replay")).active() as settings, listening(heard.append):
        yield settings, replay("flights", START, END, every="week", oracle=True), heard


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_loop_is_measured_on_its_own_receipts(lived: Any) -> None:
    settings, result, heard = lived
    assert [(step.since, step.until) for step in result.steps] == [(START, START + 7 * DAY), (START + 7 * DAY, END)]
    assert [step for step in heard if not isinstance(step, str)] == list(result.steps)
    assert [course.name for course in result.courses] == ["loop", "never", "weekly", "daily"]
    data = published.data_at(settings.store_url("flights"), None)
    log = open_store(settings.store_url("flights-log"))
    entries = [e for e in log.log("main", first_parent=True) if e.metadata.get("kind") == "score"]
    made = pl.concat(prediction_store.published_predictions(log, entry).collect() for entry in entries)
    told = made.join(loading.load_labels(FLIGHTS, data).collect(), on=list(FLIGHTS.key)).drop_nulls("arr_delay")
    p, late = told["probability"], told["arr_delay"] > 15
    right = pl.when(late).then(p).otherwise(1 - p)
    loss = -told.select(right.log().alias("gain"))["gain"]
    assert result.courses[0].total["log_loss"] == pytest.approx(loss.mean(), abs=1e-4)
    assert result.courses[0].rows == told.height


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_others_train_as_often_as_they_say_on_the_same_rows(lived: Any) -> None:
    _, result, _ = lived
    assert [course.trained for course in result.courses[1:]] == [0, 1, 7]
    assert len({course.rows for course in result.courses}) == 1
    assert all(0.3 < course.total["log_loss"] < 0.7 and course.total["auc"] > 0.55 for course in result.courses)
    assert isinstance(result.recovered, float)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_second_replay_into_the_same_home_is_refused(lived: Any) -> None:
    settings, _, _ = lived
    before = len(open_registry(settings.registry_url).versions("flights"))
    with pytest.raises(UsageError, match="holds data already"):
        replay("flights", START, END)
    assert len(open_registry(settings.registry_url).versions("flights")) == before


@pytest.mark.slow
@pytest.mark.parametrize("delay", [1, 7])
def test_no_baseline_sees_a_label_before_it_is_known(settings: Settings, delay: float) -> None:
    for path in nycflights13.land_flights(settings.landing_dir, [1], label_delay_days=delay):
        ingest("flights", str(path))
    data: DataRef = published.data_at(settings.store_url("flights"), None)
    rows, labels = (
        in_canonical_order(FLIGHTS, loading.load_designed_rows(FLIGHTS, data)),
        loading.load_labels(FLIGHTS, data).collect(),
    )
    moment = datetime(2013, 1, 20, tzinfo=UTC)
    known = retraining_schedules._Learner(FLIGHTS, rows, labels, delay)._known(moment)
    assert known["time_hour"].max() <= moment - delay * DAY
    assert known["time_hour"].max() > moment - (delay + 1) * DAY


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_command_prints_the_comparison_and_leaves_the_users_home_alone(tmp_path: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "PENSTOCK_"))}
    environment = {
        **kept,
        "HOME": str(tmp_path / "user"),
        "PENSTOCK_SERVER": "ephemeral",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    (tmp_path / "user").mkdir()
    command = [str(Path(sys.executable).with_name("penstock")), "replay", "flights", "--from", "2013-03-01"]
    arguments = ["--to", "2013-03-03", "--every", "2d", "--home", str(tmp_path / "home"), "--json"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [course["name"] for course in told["courses"]] == ["loop", "never", "weekly"]
    assert told["courses"][0]["total"]["log_loss"] > 0
    assert list((tmp_path / "user").iterdir()) == []


class Stopped(Exception):
    """As Ctrl-C between two periods, or in the middle of one."""


@pytest.mark.slow
def test_a_replay_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    files_of(0, 40, tmp_path / "source")
    asked = (
        "tests.orders_kit:RESTLESS",
        START_OF_ORDERS + 24 * DAY,
        START_OF_ORDERS + 40 * DAY,
        "4d",
        0,
        str(tmp_path / "source"),
    )

    def stop(what: Any) -> None:
        if not isinstance(what, str) and what.since == START_OF_ORDERS + 28 * DAY:
            raise Stopped

    with Settings(home=tmp_path / "whole").active():
        whole = replay(*asked)
    with Settings(home=tmp_path / "stopped").active():
        with listening(stop), pytest.raises(Stopped):
            replay(*asked)
        resumed = replay(*asked, resume=True)
    lived = [[(step.since, step.accepted, len(step.trained)) for step in found.steps] for found in (whole, resumed)]
    assert lived[0] == lived[1]
    assert [course.total for course in resumed.courses] == [course.total for course in whole.courses]
    assert resumed.courses[0].trainings == whole.courses[0].trainings
    assert whole.courses[0].trained > 0

"""Events as they come: ten times, out of order, malformed, and files that are still being written."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import httpx
import polars as pl
import pytest

from tasks.datasets.published import watermark
from tests.loop_kit import System, system

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]
TEN = 10


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that has taken in January and has a champion."""
    with system(tmp_path_factory.mktemp("loop"), range(1, 3)) as running:
        running.land_month(1)
        assert running.champion() > 0
        yield running


def newest(loop: System, input: str) -> datetime | None:
    from schemas.usecase import resolve
    from tasks.versions.factory import open_store

    return watermark(open_store(loop.settings.store_url("flights")), resolve("flights").input(input))


def test_ten_copies_of_an_arrival_have_one_effect(loop: System) -> None:
    loop.land("weather", 2)
    loop.ended("lifecycle", "weather-2013-02")
    before = len(loop.publishes()), len(loop.scorings())
    landed = loop.land("flights", 2)
    for _ in range(TEN):
        loop.emit("penstock.data.landed", source=f"flights/{landed.name}", input="flights")
    runs = loop.ended("lifecycle", "flights-2013-02", TEN + 1, seconds=600)
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * len(runs), [run["state"]["message"] for run in runs]
    assert (len(loop.publishes()), len(loop.scorings())) == (before[0] + 1, before[1] + 1)
    surplus = [run for run in runs if run["state"]["message"].startswith("already done")]
    assert len(surplus) == len(runs) - 1

    loop.emit("penstock.data.landed", source=f"flights/{landed.name}", input="flights")  # and again next day
    last = loop.ended("lifecycle", "flights-2013-02", len(runs) + 1)[-1]
    assert last["state"]["message"].startswith("already done")
    landed.touch()  # the watcher sees it once more
    assert len(loop.ended("lifecycle", "flights-2013-02", len(runs) + 1)) == len(runs) + 1


def test_ten_wishes_for_a_training_make_one_model(loop: System) -> None:
    loop.land("labels", 2)
    loop.ended("lifecycle", "labels-2013-02", seconds=400)
    loop.ended("train", "train", seconds=400) if loop.runs("train") else None
    for _ in range(TEN):
        loop.emit("penstock.retrain.requested", cause="age")
    before = len(loop.runs("train"))
    loop.until(lambda: len(loop.runs("train")) >= TEN, seconds=120)
    runs = loop.ended("train", "train", max(before, TEN), seconds=900)
    assert {run["state_type"] for run in runs} == {"COMPLETED"}
    fresh = [run for run in runs if not run["state"]["message"].startswith("already done")]
    assert len(fresh) == 1, [run["state"]["message"] for run in runs]


def test_late_arrivals_move_nothing_back(loop: System, tmp_path: Path) -> None:
    champion, until = loop.champion(), newest(loop, "flights")
    rows = pl.read_csv(loop.months / "flights" / "flights" / "flights-2013-01.csv", infer_schema=False).head(300)
    late = rows.with_columns(pl.lit("9999").alias("flight"))  # flights of January that nobody had told of
    path = loop.home / "landing" / "flights" / "flights" / "flights-late.csv"
    written = tmp_path / "late.csv"
    late.unique(["time_hour", "carrier"], maintain_order=True).write_csv(written)
    written.rename(path)
    run = loop.ended("lifecycle", "flights-late")[0]
    assert run["state_type"] == "COMPLETED", run["state"]
    assert loop.publishes()[0]["source_name"] == "flights-late.csv"
    assert newest(loop, "flights") == until
    assert loop.champion() >= champion


@pytest.mark.parametrize(
    ("use_case", "payload", "says"),
    [
        ("nobodys", {"source": "a/b.csv"}, "unknown use case 'nobodys'"),
        ("os:path", {"source": "a/b.csv"}, "only the command line and Python take module:NAME"),
        ("flights", {}, "an event without a source"),
        ("flights", {"source": "/etc/passwd", "input": "flights"}, "leads out of"),
        ("flights", {"source": "../" * 20 + "etc/passwd", "input": "flights"}, "leads out of"),
        ("flights", {"source": "flights/none.csv", "input": "no such input"}, "has no input"),
    ],
)
def test_a_bad_event_is_a_failed_run_that_says_why(loop: System, use_case: str, payload: dict[str, str], says: str) -> None:
    before = {run["id"] for run in loop.runs("lifecycle")}
    published = len(loop.publishes())
    loop.emit("penstock.data.landed", use_case, **payload)

    def failed() -> list[dict[str, object]]:
        return [run for run in loop.runs("lifecycle") if run["id"] not in before and run["state_type"] == "FAILED"]

    run = loop.until(failed)[0]
    assert says in run["state"]["message"]
    assert "\n" not in run["state"]["message"]
    assert len(loop.publishes()) == published


def test_unknown_parameter_names_are_refused_before_there_is_a_run(loop: System) -> None:
    deployment = loop.until(lambda: loop.told("deployments/name/score/penstock"))["id"]
    parameters = {"use_case": "flights", "spelling": 1}
    answer = httpx.post(f"{loop.api}/deployments/{deployment}/create_flow_run", json={"parameters": parameters}, timeout=60)
    assert answer.status_code == 409
    assert "'spelling' was unexpected" in answer.text


def test_a_file_still_being_written_is_waited_for(loop: System) -> None:
    content = (loop.months / "flights" / "weather" / "weather-2013-02.parquet").read_bytes()
    path = loop.home / "landing" / "flights" / "weather" / "weather-slow.parquet"
    with path.open("wb") as file:
        file.write(content[:1000])
        file.flush()
        probe = path.with_name("weather-probe.parquet")
        probe.write_bytes(b"no Parquet")  # landed later, and complete: its run shows that the watcher has looked
        loop.ended("lifecycle", "weather-probe")
        assert loop.runs("lifecycle", "weather-slow") == []
        file.write(content[1000:])
    # The same bytes as February's weather, which is on main: nothing is left to do.
    log = loop.home / "up" / "logs" / "landing.log"
    loop.until(lambda: "weather-slow.parquet: nothing new (published)" in log.read_text())
    assert loop.runs("lifecycle", "weather-slow") == []

"""Models change under load, callers are shared out to the challenger, and a server without a model says so."""

import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from schemas.refs import DataRef
from schemas.settings import Settings
from schemas.usecases.flights import FLIGHTS
from tasks.inference import frame_prediction, prediction_log
from tasks.versions.factory import open_store
from tests.serving_kit import TOKEN, Home, Running, example, flights_of_january, promote, publish, record, serving

SWAPS = 20


@pytest.fixture
def own(template: Home, tmp_path: Path) -> Home:
    return template.copy(tmp_path / "home")


def expected(home: Home, row: dict[str, Any]) -> dict[int, float]:
    """What each version says of a row, by the batch."""
    dtypes = FLIGHTS.input("flights").contract.dtypes()
    frame = pl.DataFrame([row]).with_columns(pl.col("time_hour").str.to_datetime(time_unit="us", time_zone="UTC"))
    store = open_store(home.settings.store_url("flights"))
    data = DataRef(store=store.url, commit=store.head())
    rows = frame.select(*dtypes).cast(dict(dtypes))  # type: ignore[arg-type]
    return {ref.version: frame_prediction.predict_frame(FLIGHTS, ref, data, rows)["probability"][0] for ref in home.models}


class Load:
    """Callers in threads, who check every answer against what its version says."""

    def __init__(self, server: Running, row: dict[str, Any], says: dict[int, float]) -> None:
        self.wrong: list[Any] = []
        self.versions: Counter[int] = Counter()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(server, row, says, many)) for many in (False, False, True)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _call(self, server: Running, row: dict[str, Any], says: dict[int, float], many: bool) -> None:
        content = {"rows": [row] * 40} if many else row
        with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
            while not self._stopping.is_set():
                try:
                    answer = client.post("/predict", json=content)
                    found = answer.json()["predictions"] if many else [answer.json()]
                    versions = {(each["model_version"], each["probability"]) for each in found}
                    if answer.status_code != 200 or versions != {(v := found[0]["model_version"], says[v])}:
                        self.wrong.append(answer.text[:300])
                    self.versions[found[0]["model_version"]] += 1
                except (httpx.HTTPError, KeyError, ValueError) as error:
                    self.wrong.append(repr(error))


def test_a_swap_under_load_fails_and_mixes_no_answer(own: Home) -> None:
    row = example(own.settings)
    says = expected(own, row)
    assert len(set(says.values())) == 3
    with serving(own.settings) as server, Load(server, row, says) as load:
        for at in range(1, SWAPS + 1):
            champion = own.models[at % 3]
            promote(own.settings, champion)
            server.until(lambda wanted=champion: server.version() == wanted.version)  # type: ignore[misc]
        swaps = [line for line in server.client.get("/metrics").text.splitlines() if line.startswith("penstock_swaps")]
    assert load.wrong == []
    assert set(load.versions) == {1, 2, 3}
    assert float(swaps[0].split()[-1]) >= SWAPS


def test_a_canary_answers_its_share_and_each_caller_stays_on_one_side(own: Home) -> None:
    row = example(own.settings)
    seen: dict[str, set[int]] = defaultdict(set)
    with serving(own.settings, environment={"PENSTOCK_CANARY_SHARE": "0.3"}) as server:
        server.until(lambda: server.client.get("/model").json()["challenger"] == 3)
        for caller in map(str, range(120)):
            for _ in range(2):
                answer = server.predict(row, headers={"x-penstock-caller": caller}).json()
                seen[caller].add(answer["model_version"])
        assert {server.predict(row).json()["model_version"] for _ in range(5)} <= {1, 3}  # without a name, by the row's key
        server.stop()
    assert all(len(versions) == 1 for versions in seen.values())
    share = sum(versions == {3} for versions in seen.values()) / len(seen)
    assert 0.15 < share < 0.45
    log = open_store(own.settings.store_url("flights-log"))
    paths = [stored.path for stored in log.objects("main", prediction_log.RECEIPTS_FOLDER)]
    told = log.scan("main", paths).select("role", "model_version").unique().collect()
    assert {("champion", 1), ("canary", 3), ("shadow", 3)} >= set(told.rows()) > {("canary", 3)}


def test_without_a_model_it_says_so_and_takes_the_first_one_that_comes(own: Home, tmp_path: Path) -> None:
    registry = tmp_path / "empty" / "mlflow.db"
    registry.parent.mkdir()
    row = example(own.settings)
    with serving(own.settings, ready=False, environment={"PENSTOCK_MLFLOW_URL": f"sqlite:///{registry}"}) as server:
        assert server.client.get("/readyz").status_code == 503
        assert server.client.get("/model").status_code == 503
        answer = server.predict(row)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert server.client.get("/openapi.json").status_code == 200
        settings = Settings(home=own.settings.root, mlflow_url=f"sqlite:///{registry}")
        promote(settings, record(settings, "flights", 5))
        server.until(lambda: server.client.get("/readyz").status_code == 200)
        assert server.predict(row).status_code == 200


def test_new_looked_up_rows_are_used_without_a_restart(own: Home, tmp_path: Path) -> None:
    known = flights_of_january()["weather"]["time_hour"].max()
    new = flights_of_january(12)["weather"].filter(pl.col("time_hour") > known)
    row = {**example(own.settings), "year": 2013, "month": 1, "day": 12, "time_hour": "2013-01-12T10:00:00Z"}
    with serving(own.settings) as server:
        before = server.predict(row, params={"explain": "true"}).json()
        commit = server.client.get("/model").json()["lineage"]["lookups"]["weather"]
        publish(own.settings, "flights", "weather", new, tmp_path / "new")
        server.until(lambda: server.client.get("/model").json()["lineage"]["lookups"]["weather"] != commit)
        after = server.predict(row, params={"explain": "true"}).json()
    assert before["explanation"]["contributions"] != after["explanation"]["contributions"]

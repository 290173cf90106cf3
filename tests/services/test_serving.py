"""The prediction server as its callers see it: a process of its own, a real registry and lake behind it."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from schemas.refs import DataRef
from schemas.results import RowsToScore
from schemas.usecases.flights import FLIGHTS
from tasks.datasets import published
from tasks.inference import batch, frame_prediction, prediction_log
from tasks.monitoring import shadow, window_report
from tasks.registry.factory import open_registry
from tasks.reporting import artifacts
from tasks.versions.factory import open_store
from tests.serving_kit import TOKEN, Home, Running, as_json, example

MIB = 1 << 20
FIVE = {"hour": 17, "minute": 0, "sched_dep_time": 1700}


@pytest.fixture(scope="module")
def traffic(home: Home) -> pl.DataFrame:
    """Published flights, as a batch run would score them."""
    store = open_store(home.settings.store_url("flights"))
    paths = [stored.path for stored in store.objects("main", "data/flights/")]
    rows = store.scan("main", paths, FLIGHTS.input("flights").contract.dtypes()).collect()
    return rows.sample(700, seed=1, shuffle=True)


@pytest.fixture(scope="module")
def scored(home: Home, traffic: pl.DataFrame) -> pl.DataFrame:
    """The batch's predictions of the same rows."""
    store = open_store(home.settings.store_url("flights"))
    data = DataRef(store=store.url, commit=store.head())
    champion = open_registry(home.settings.registry_url).champion("flights")
    assert champion
    return frame_prediction.predict_frame(FLIGHTS, champion, data, traffic)


def same(answers: list[dict[str, Any]], scored: pl.DataFrame) -> bool:
    found = np.array([answer["probability"] for answer in answers])
    assert found.tobytes() == scored["probability"].to_numpy().tobytes()
    return [answer["category"] for answer in answers] == scored["category"].cast(pl.String).to_list()


def test_a_row_is_answered_with_category_probability_and_where_it_comes_from(server: Running, home: Home) -> None:
    answer = server.predict(example(home.settings))
    assert answer.status_code == 200
    assert set(answer.json()) == {"category", "probability", "model_version", "prediction_id"}
    assert answer.json()["category"] in FLIGHTS.target.classes
    assert answer.json()["model_version"] == 1


def test_replayed_traffic_gets_the_bits_of_the_batch(server: Running, traffic: pl.DataFrame, scored: pl.DataFrame) -> None:
    rows = as_json(FLIGHTS, traffic)
    assert same([server.predict(row).json() for row in rows[:300]], scored[:300])
    assert same(server.predict({"rows": rows}).json()["predictions"], scored)
    assert server.client.get("/model").json()["way"] == "compiled"


@pytest.mark.parametrize(
    "changes",
    [
        {"dest": "ZZZ"},  # not among the categories of the feature
        {"carrier": "ZZ"},
        {"tailnum": None},
        # No weather is known that far ahead.
        {"time_hour": "2030-07-01T21:45:00Z", "year": 2030, "month": 7, "day": 1, **FIVE},
    ],
)
def test_unseen_and_missing_values_mean_the_same_in_batch(server: Running, home: Home, changes: dict[str, Any]) -> None:
    row = {**example(home.settings), **changes}
    frame = pl.DataFrame([row]).with_columns(pl.col("time_hour").str.to_datetime(time_unit="us", time_zone="UTC"))
    dtypes = FLIGHTS.input("flights").contract.dtypes()
    store = open_store(home.settings.store_url("flights"))
    champion = open_registry(home.settings.registry_url).champion("flights")
    assert champion
    data = DataRef(store=store.url, commit=store.head())
    scored = frame_prediction.predict_frame(FLIGHTS, champion, data, frame.select(*dtypes).cast(dict(dtypes)))  # type: ignore[arg-type]
    assert same([server.predict(row).json()], scored)
    assert same([server.predict(row, params={"explain": "true"}).json()], scored)
    if row["tailnum"] is None:
        del row["tailnum"]
        assert same([server.predict(row).json()], scored)


def test_contributions_add_up_to_the_margin(server: Running, home: Home) -> None:
    answer = server.predict(example(home.settings), params={"explain": "true"}).json()
    told = answer["explanation"]
    margin = told["base"] + sum(told["contributions"].values())
    assert 1 / (1 + np.exp(-margin)) == pytest.approx(answer["probability"], abs=1e-5)
    assert list(told["contributions"]) == list(FLIGHTS.features)
    assert answer["category"] in told["sentence"]


# Bad input


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"month": 13}, "month", "integer from 1 to 12"),
        ({"month": "7"}, "month", "integer from 1 to 12"),
        ({"origin": "SFO"}, "origin", "one of EWR, JFK, LGA"),
        ({"carrier": "UAL"}, "carrier", "matching"),
        ({"tailnum": "N123456789"}, "tailnum", "0 to 8 characters"),
        ({"time_hour": "yesterday"}, "time_hour", "ISO 8601"),
        ({"time_hour": "2013-01-01T10:00:00"}, "time_hour", "offset"),
        ({"distance": float("nan")}, "distance", "no number"),
        ({"distance": float("inf")}, "distance", "no number"),
        ({"arr_delay": 3}, "arr_delay", "not a field"),
        ({"distance": [1]}, "distance", "array"),
        ({"day": 31, "month": 2}, "time_hour, year, month, day, hour", "hour_agrees"),
        ({"dest": "EWR", "origin": "EWR"}, "origin, dest", "No flight goes to where it starts."),
    ],
)
def test_a_wrong_value_is_a_422_that_names_field_and_limits(
    server: Running, home: Home, changes: dict[str, Any], field: str, says: str
) -> None:
    answer = server.predict({**example(home.settings), **changes})
    assert answer.status_code == 422
    told = [problem for problem in answer.json()["problems"] if problem["field"] == field]
    assert any(says in problem["message"] for problem in told), answer.text


def test_a_missing_field_is_named(server: Running, home: Home) -> None:
    row = example(home.settings)
    del row["hour"]
    [problem] = server.predict(row).json()["problems"]
    assert (problem["field"], problem["allowed"]["maximum"]) == ("hour", 23)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[" * MIB, 422),
        (b"[" * (MIB // 2) + b"]" * (MIB // 2), 422),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 422),
        (b'{"rows": [' + b"{}," * 1000 + b"{}]}", 422),
        (b" " * (MIB + 1), 413),
        (b"\xff\xfe", 422),
    ],
)
def test_huge_nested_and_broken_bodies_are_refused(server: Running, body: bytes, status: int) -> None:
    answer = server.predict(body)
    assert answer.status_code == status
    assert "Traceback" not in answer.text
    assert server.client.get("/healthz").status_code == 200


def test_a_chunked_body_is_cut_off_at_the_limit(server: Running) -> None:
    sent = 0

    def chunks() -> Any:
        nonlocal sent
        for _ in range(64):
            sent += 1
            yield b" " * (MIB // 4)

    headers = {"content-type": "application/json"}
    try:
        assert server.client.post("/predict", content=chunks(), headers=headers).status_code == 413
    except httpx.TransportError:  # the server hung up while more was being sent
        assert sent < 64
    assert server.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(("kind", "status"), [("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("", 415)])
def test_other_kinds_of_content_are_refused(server: Running, kind: str, status: int) -> None:
    assert server.predict(b"{}", headers={"content-type": kind}).status_code == status


def test_many_rows_are_refused_together_with_the_row_named(server: Running, home: Home) -> None:
    rows = [example(home.settings, at) for at in range(3)]
    rows[1]["minute"] = 61
    answer = server.predict({"rows": rows})
    assert answer.status_code == 422
    assert {problem["row"] for problem in answer.json()["problems"]} == {1}


# Who may ask


@pytest.mark.parametrize("path", ["/predict", "/model", "/metrics", "/openapi.json"])
@pytest.mark.parametrize("token", ["", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN])
def test_without_the_token_nothing_is_told(server: Running, path: str, token: str) -> None:
    headers = {"authorization": token, "content-type": "application/json"}
    answer = httpx.request("POST" if path == "/predict" else "GET", server.url + path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_only_loopback_is_listened_on(server: Running) -> None:
    port = int(server.url.rpartition(":")[2])
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with pytest.raises(OSError, match=r"refused|unreachable"):
            socket.create_connection((address, port), timeout=2)


# ServiceRoutes


def test_the_card_says_what_the_model_was_made_from_and_why_it_was_let_through(server: Running) -> None:
    card = server.client.get("/model").json()
    assert card["same_use_case"] is True
    assert card["lineage"]["data_commit"] == card["evaluation"]["data_commit"]
    assert card["verdict"]["why"] == "promoted by a test"
    assert card["approved"] == "a test wants it"
    assert set(card["lineage"]["lookups"]) == {"weather"}


def test_metrics_count_what_was_asked(server: Running, home: Home) -> None:
    def counted(name: str) -> float:
        lines = server.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = counted("penstock_predictions_total"), counted('penstock_rejected_rows_total{field="month"}')
    server.predict(example(home.settings))
    server.predict({**example(home.settings), "month": 0})
    after = counted("penstock_predictions_total"), counted('penstock_rejected_rows_total{field="month"}')
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)
    assert counted("penstock_model_version") >= 1
    assert counted("penstock_predict_seconds_count") > 0


def test_receipts_hold_what_was_asked_and_answered(server: Running, home: Home) -> None:
    row = example(home.settings, 5)
    answer = server.predict(row).json()
    log = open_store(home.settings.store_url("flights-log"))
    server.until(lambda: log.exists() and prediction_log.find_receipt(log, answer["prediction_id"]))
    found = prediction_log.find_receipt(log, answer["prediction_id"])
    assert found
    receipt = found[0]
    card = server.client.get("/model").json()
    assert (receipt["category"], receipt["probability"]) == (answer["category"], answer["probability"])
    assert receipt["inputs"]["tailnum"] == row["tailnum"]
    assert receipt["model_sha256"] == card["sha256"]
    assert receipt["data_commit"] == card["lineage"]["data_commit"]
    assert json.loads(receipt["lookups"]) == card["lineage"]["lookups"]
    assert receipt["contract_version"] == FLIGHTS.input("flights").contract.version()
    assert receipt["role"] == "champion"


def test_the_challenger_scores_the_same_rows_in_shadow(server: Running, home: Home) -> None:
    server.until(lambda: server.client.get("/model").json()["challenger"] == 3)
    answer = server.predict(example(home.settings, 9)).json()
    log = open_store(home.settings.store_url("flights-log"))

    def both() -> pl.DataFrame:
        paths = [stored.path for stored in log.objects("main", prediction_log.RECEIPTS_FOLDER)] if log.exists() else []
        rows = (
            log.scan("main", paths).filter(pl.col("prediction_id") == answer["prediction_id"]) if paths else pl.LazyFrame()
        )
        return rows.collect()

    server.until(lambda: both().height == 2)
    rows = both().sort("role")
    assert rows["role"].to_list() == ["champion", "shadow"]
    assert rows["model_version"].to_list() == [1, 3]
    assert rows["probability"].n_unique() == 2
    assert rows["row_key"].n_unique() == 1


def test_champion_and_challenger_are_compared_on_what_both_scored(server: Running, home: Home) -> None:
    server.until(lambda: server.client.get("/model").json()["challenger"] == 3)
    rows = [example(home.settings, at) for at in range(100, 400)]
    names = {each["prediction_id"] for each in server.predict({"rows": rows}).json()["predictions"]}
    log, store = open_store(home.settings.store_url("flights-log")), open_store(home.settings.store_url("flights"))
    server.until(lambda: log.exists() and all(prediction_log.find_receipt(log, name) for name in (min(names), max(names))))
    labels = published.inputs_at(store, "main", FLIGHTS)["labels"]
    server.until(lambda: (found := shadow.compare_shadow(FLIGHTS, log, labels)) and found[0].rows >= 300)
    [found] = shadow.compare_shadow(FLIGHTS, log, labels)
    assert (found.champion, found.challenger) == (1, 3)
    assert 250 < found.labelled <= found.rows
    assert found.same_category is not None
    assert 0.5 < found.same_category <= 1
    assert 0 < found.mean_difference < 0.5
    assert found.metric == "log_loss"
    assert found.challenger_metric < found.champion_metric  # type: ignore[operator]  # 30 rounds against 10, on rows both saw
    assert shadow.compare_shadow(FLIGHTS, open_store(home.settings.store_url("nothing-log"))) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_monitor_shows_what_the_shadow_said(server: Running, home: Home) -> None:
    server.until(lambda: server.client.get("/model").json()["challenger"] == 3)
    server.predict({"rows": [example(home.settings, at) for at in range(400, 420)]})
    log, store = open_store(home.settings.store_url("flights-log")), open_store(home.settings.store_url("flights"))
    server.until(lambda: bool(shadow.compare_shadow(FLIGHTS, log)))
    told = (home.settings.registry_url, log.url)
    batch.score_commit("flights", published.data_at(store.url, None), RowsToScore(), *told, "")
    seen = window_report.monitor_window(
        "flights", published.data_at(store.url, None), None, *told, str(home.settings.reports_dir)
    )
    assert seen.shadow[0].rows >= 20
    assert f"v3 in shadow of v1 on {seen.shadow[0].rows:,} served rows" in artifacts.monitoring_page(seen)


def test_a_prediction_is_traced_to_the_files_its_model_was_trained_on(server: Running, home: Home) -> None:
    answer = server.predict(example(home.settings, 2)).json()
    # At once: it may still lie in the journal.
    pending = home.settings.root / "serving" / "flights" / "receipts"
    log = open_store(home.settings.store_url("flights-log"))
    name = answer["prediction_id"]
    server.until(lambda: prediction_log.pending(pending, name) or (log.exists() and prediction_log.find_receipt(log, name)))
    for wait in (False, True):
        if wait:
            server.until(lambda: log.exists() and prediction_log.find_receipt(log, name))
        told = json.loads(penstock(home, "trace", name, "--json").stdout)
        assert told["model"]["version"] == 1
        assert told["approved"] == "a test wants it"
        assert {source["input"] for source in told["sources"]} == {"flights", "weather", "labels"}
        assert all(source["rows"] == source["accepted"] + source["rejected"] for source in told["sources"])
    shown = penstock(home, "trace", name).stdout
    assert f"prediction {name}: {answer['category']}" in shown
    assert "flights: flights-" in shown
    unknown = penstock(home, "trace", "0" * 32)
    assert unknown.returncode == 1
    assert "no prediction" in unknown.stderr


def penstock(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PENSTOCK_HOME": str(home.settings.root), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
    program = "from deployments.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False
    )

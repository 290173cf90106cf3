"""Parts of the server by themselves: answers in words, the journal, the cache, tokens, the description of the API."""

import hashlib
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.serving import auth, openapi, responses
from deployments.serving.metrics import Metrics
from deployments.serving.model_cache import Cache
from deployments.serving.model_loader import Deployed, Package
from deployments.serving.model_reloader import Serving
from deployments.serving.prediction_logger import PredictionLogger, Record
from schemas.errors import IntegrityError, UsageError
from schemas.refs import ModelRef
from schemas.results import Monitoring
from schemas.settings import Settings
from schemas.usecase import Target
from schemas.usecases.flights import FLIGHTS, Flights
from schemas.verdicts import Comparison, Decision
from tasks.inference import prediction_log, prediction_rows, write_ahead_log
from tasks.inference.online.lookup_tables import build_table
from tasks.inference.online.scorer import prepare
from tasks.reporting import artifacts

THREE = replace(FLIGHTS, target=Target(kind="multiclass", name="fate", value=pl.lit("a"), classes=("a", "b", "c")))
NUMBER = replace(FLIGHTS, target=Target(kind="regression", name="delay", value=pl.lit(1.0), unit="minutes"))


# Answers


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), st.floats(0.01, 0.99))
def test_the_decisions_are_those_of_batch_scoring(scores: list[float], threshold: float) -> None:
    case = replace(FLIGHTS, target=replace(FLIGHTS.target, threshold=threshold))
    for score in (*scores, float(np.float32(threshold)), float(np.nextafter(np.float32(threshold), np.float32(0)))):
        batch = prediction_rows.business_predictions(case, np.array([score], dtype=np.float32)).row(0, named=True)
        online = responses.response_builder(case)([score], 1, "x")
        assert (online.category, online.probability) == (batch["category"], batch["probability"])
    batch = prediction_rows.business_predictions(THREE, np.array([scores], dtype=np.float32)).row(0, named=True)
    online = responses.response_builder(THREE)(scores, 1, "x")
    assert online.category == batch["category"]
    assert {f"probability_{name}": share for name, share in online.probabilities.items()} == {
        name: value for name, value in batch.items() if name != "category"
    }
    number = prediction_rows.business_predictions(NUMBER, np.array(scores[:1], dtype=np.float32))["prediction"][0]
    assert responses.response_builder(NUMBER)(scores[:1], 1, "x").prediction == number


@pytest.mark.parametrize(
    ("case", "scores", "parts", "says"),
    [
        (
            FLIGHTS,
            [0.75],
            [0.5, -1.0, 0.25],
            "'late': the probability of 'late' is 0.75, at least the threshold 0.50. That was",
        ),
        (
            FLIGHTS,
            [0.25],
            [0.5, -1.0, 0.25],
            "raised most by a = 1.5 (+0.50); lowered most by b = missing (-1.00) (in log-odds).",
        ),
        (THREE, [0.2, 0.7, 0.1], [[0, 0, 0], [1, 2, 0.5], [0, 0, 0]], "Most likely 'b', with a probability of 0.70."),
        (
            NUMBER,
            [12.345],
            [1.0, 0.0, 3.0],
            "The delay is predicted as 12.35 minutes. That was raised most by a = 1.5 (+1.00)",
        ),
        (FLIGHTS, [0.5], [0.0, 0.0, 0.0], "No feature moved it."),
    ],
)
def test_an_explanation_says_what_moved_the_answer(case: Any, scores: list[float], parts: Any, says: str) -> None:
    answer = responses.response_builder(case)(scores, 1, "x")
    made = responses.explanation(case, answer, pl.DataFrame({"a": [1.5], "b": [None]}), np.array(parts))
    assert says in made["sentence"]
    assert set(made["contributions"]) == {"a", "b"}


def test_prediction_ids_are_unique_and_tell_their_day() -> None:
    ids = [responses.new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert ids == sorted(ids)
    assert all(len(name) == 32 and prediction_log.day_of(name) for name in ids)


# The journal


def test_a_journal_gives_back_whole_frames_and_leaves_torn_ones(tmp_path: Path) -> None:
    written = write_ahead_log.WriteAheadLog(tmp_path, "one")
    frames = [b"first", b"", b"third" * 1000]
    for each in frames:
        written.append(each)
    written.rotate()
    [path] = written.closed()
    whole = path.read_bytes()
    assert write_ahead_log.read(path) == frames
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert frames[: len(write_ahead_log.read(path))] == write_ahead_log.read(path)
    path.write_bytes(whole[:-3] + b"xyz")
    assert write_ahead_log.read(path) == frames[:2]
    written.close()


def test_only_abandoned_journals_are_taken_over(tmp_path: Path) -> None:
    alive, dead = write_ahead_log.WriteAheadLog(tmp_path, "alive"), write_ahead_log.WriteAheadLog(tmp_path, "dead")
    for each in (alive, dead):
        each.append(b"x")
    dead.close()
    assert [folder.name for folder in write_ahead_log.abandoned_logs(tmp_path)] == ["dead"]
    for path in write_ahead_log.list_segments(tmp_path / "dead"):
        path.unlink()
    assert [folder.name for folder in write_ahead_log.abandoned_logs(tmp_path)] == ["dead"]
    assert not (tmp_path / "dead").exists()
    assert alive.closed() == []
    alive.close()


def test_a_write_that_fails_leaves_the_journal_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_ahead_log.WriteAheadLog(tmp_path, "one")
    written.append(b"before")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _full)
        with pytest.raises(OSError, match="full"):
            written.append(b"lost")
    written.append(b"after")
    written.close()
    assert write_ahead_log.read(write_ahead_log.list_segments(tmp_path / "one")[0]) == [b"before", b"after"]


def _full(handle: int) -> None:
    raise OSError("the disk is full")


# The cache


def package(content: bytes = b"model") -> Package:
    ref = ModelRef(registry="sqlite:///x", name="flights", version=3, sha256="0" * 64, run_id="r")
    return Package(ref, content, b"golden", {"manifest": {"data_commit": "c"}})


def weather() -> pl.DataFrame:
    return pl.DataFrame(schema=FLIGHTS.input("weather").contract.dtypes())


def test_what_is_kept_comes_back_and_replaces_what_was_there(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "model")
    assert cache.load(lambda kept: FLIGHTS) is None
    assert cache.documents() == {}
    tables = {"weather": build_table(FLIGHTS, "weather", weather(), "commit")}
    sample = pl.DataFrame({"a": [1]})
    for content in (b"first", b"second"):
        cache.keep(package(content), tables, sample)
    found = cache.load(lambda kept: FLIGHTS)
    assert cache.documents() == package().documents
    assert found is not None
    kept, lookups, rows = found
    assert (kept.model, kept.golden, kept.ref, kept.documents) == (b"second", b"golden", package().ref, package().documents)
    assert lookups["weather"].commit == "commit"
    assert rows.equals(sample)
    assert len(list((tmp_path / "model").iterdir())) == 6


@pytest.mark.parametrize(
    "damaged", ["model.ubj", "golden.parquet", "documents.json", "table-weather.parquet", "current.json"]
)
def test_a_kept_file_that_changed_is_refused(tmp_path: Path, damaged: str) -> None:
    cache = Cache(tmp_path)
    cache.keep(package(), {"weather": build_table(FLIGHTS, "weather", weather(), "c")}, pl.DataFrame({"a": [1]}))
    [path] = tmp_path.glob(f"*{damaged}")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError):
        cache.load(lambda kept: FLIGHTS)


# Tokens


def test_a_token_that_is_made_is_for_its_owner_only(tmp_path: Path) -> None:
    made, path = auth.token(Settings(home=tmp_path), "flights")
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() == made
    assert len(made) >= 43
    assert auth.token(Settings(home=tmp_path), "flights")[0] != made


@pytest.mark.parametrize(
    "told", ["short", "with a space in the middle of it", "ünïcödé-ünïcödé-ünïcödé", "tab\tin the middle of"]
)
def test_a_token_that_cannot_be_sent_or_is_too_short_is_refused(tmp_path: Path, told: str) -> None:
    with pytest.raises(UsageError, match="PENSTOCK_API_TOKEN"):
        auth.token(Settings(home=tmp_path, api_token=told), "flights")


# The description


def test_the_description_shows_the_contract_and_no_outcome() -> None:
    example = {"year": 2013}
    document = openapi.document(FLIGHTS, example, 1000, 1 << 20)
    row = document["components"]["schemas"]["Row"]
    assert row["properties"]["origin"]["enum"] == ["EWR", "JFK", "LGA"]
    assert row["properties"]["month"] == {"type": "integer", "minimum": 1, "maximum": 12}
    assert "tailnum" not in row["required"]
    assert row["additionalProperties"] is False
    assert not {"arr_delay", "outcome"} & set(json.dumps(document).split('"'))
    told = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert told["a row"]["value"] == example


# Receipts


def test_private_columns_stay_out_of_receipts(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(FLIGHTS)
    monkeypatch.setattr(Flights, "private", lambda: frozenset({"tailnum", "carrier", "dest"}))
    monkeypatch.setattr(Flights, "hashed", lambda: frozenset({"dest"}))
    values = [2013, 7, 1, 1745, 2030, "UA", 15, "N123", "EWR", "ORD", 719, 17, 45, 1372712400000000]
    told = dict.fromkeys(prediction_log._TOLD, "x") | {"model_version": 1}
    made = prediction_log.receipts_frame(prepared, [(responses.new_id(), "champion", values, [0.25])], told)
    assert "carrier" not in made.columns
    assert set(made["inputs"][0]) == set(prepared.columns) - {"tailnum", "carrier"}
    assert made["inputs"][0]["dest"] == hashlib.blake2b(b"ORD", digest_size=8).hexdigest()
    assert made["row_key"][0] is not None
    assert (made["category"][0], made["probability"][0]) == ("on time", 0.25)


def test_receipts_that_come_while_others_are_written_wait_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(FLIGHTS)
    values = [2013, 7, 1, 1745, 2030, "UA", 15, "N123", "EWR", "ORD", 719, 17, 45, 1372712400000000]
    told = dict.fromkeys(prediction_log._TOLD, "x") | {"model_version": 1}
    scorer: Any = SimpleNamespace(prepared=prepared)
    deployed = Deployed(package(), scorer, {}, told, datetime.now(UTC))
    recorder = PredictionLogger(prepared, tmp_path, lambda: pytest.fail("nothing is published"), Serving(), Metrics())
    answered = [Record(responses.new_id(), deployed, "champion", values, [0.25]) for _ in range(40)]
    write = write_ahead_log.WriteAheadLog.append
    monkeypatch.setattr(
        write_ahead_log.WriteAheadLog, "append", lambda *it: (answered and recorder.add(answered.pop()), write(*it))[1]
    )
    for _ in range(10):
        recorder.add(answered.pop())
    recorder.flush()
    [segment] = write_ahead_log.list_segments(recorder._journal.folder)
    assert prediction_log.receipts_from_file(segment).height == 10
    recorder.flush()
    assert prediction_log.receipts_from_file(segment).height == 11
    assert len(write_ahead_log.read(segment)) == 2
    recorder._journal.close()


# Shadow


def test_a_comparison_is_told_in_a_sentence_and_shown_by_the_monitor() -> None:
    pair = Comparison(champion=1, challenger=3, rows=1200, same_category=0.925, mean_difference=0.0312)
    assert pair.sentence == (
        "v3 in shadow of v1 on 1,200 served rows: gave the same category for 92.5%, and scores 0.0312 apart on average"
    )
    told = {"labelled": 900, "metric": "log_loss", "champion_metric": 0.5, "challenger_metric": 0.48}
    known = pair.model_copy(update=told)
    assert known.sentence.endswith("; log_loss 0.4800 against 0.5000 on 900 labelled rows")
    seen = Monitoring(use_case="flights", why="", decision=Decision(retrain=False, why=""), shadow=(known,))
    assert f"Shadow: {known.sentence}." in artifacts.monitoring_page(seen)

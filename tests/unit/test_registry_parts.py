from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import math
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from schemas.digests import canonical_json
from schemas.errors import IntegrityError, NotFound, PenstockError, ServiceUnavailable, UsageError
from schemas.refs import ModelRef
from schemas.verdicts import Check
from tasks.registry import artifacts, promotion_rules
from tasks.registry.factory import open_registry
from tasks.registry.location import locate
from tasks.registry.mlflow import environment
from tasks.registry.mlflow.errors import translated
from tasks.registry.pyfunc_model import Predictor
from tests.registry_kit import CATEGORIES, candidate, evaluation, verdict

# Where a registry lies


def test_a_local_registry_lies_beside_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    at = locate("sqlite:///deep/mlflow.db")
    assert at.url == f"sqlite:///{tmp_path}/deep/mlflow.db"
    assert (at.artifacts, at.lock("flights")) == (tmp_path / "deep/artifacts", tmp_path / "deep/locks/flights.lock")
    assert not at.exists
    assert list(tmp_path.iterdir()) == []


def test_servers_have_locks_of_their_own() -> None:
    one, same, other = (locate(f"http://127.0.0.1:{port}") for port in ("1", "1/", "2"))
    assert one == same
    assert one.lock("flights") != other.lock("flights")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "postgresql://u:hunter2@h/db",
        "http://u:hunter2@h",
        "http://",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///a%41",
    ],
)
def test_other_urls_are_refused_without_their_secrets(url: str) -> None:
    with pytest.raises(UsageError, match="PENSTOCK_MLFLOW_URL") as caught:
        open_registry(url) if not url.startswith(("http", "sqlite")) else locate(url)
    assert "hunter2" not in str(caught.value)


# What is stored


def test_canonical_json_has_one_text() -> None:
    one = {"b": (1, 2.5), "a": {"t": datetime(2013, 1, 1, tzinfo=UTC), "n": np.float32(0.5), "nan": math.nan}}
    assert canonical_json(one) == b'{"a":{"n":0.5,"nan":"NaN","t":"2013-01-01T00:00:00+00:00"},"b":[1,2.5]}'
    assert canonical_json(dict(reversed(one.items()))) == canonical_json(one)


def test_every_file_and_its_hash() -> None:
    files = artifacts.files(candidate("flights"))
    manifest = files["documents/manifest.json"]
    assert json.loads(manifest) == {"format_version": 1, **candidate("flights").manifest}
    assert artifacts.unwrapped(files["documents/reference.json"]) == {"origin": {"EWR": 0.5}}
    hashes = artifacts.recorded(artifacts.record(files))
    assert hashes == {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    assert {"model.ubj", "words.json", "golden.parquet", "documents/evaluation.json", "requirements.txt"} < hashes.keys()
    assert all("==" in line for line in files["requirements.txt"].decode().splitlines())


def test_categories_come_from_the_type_or_apart() -> None:
    listed = artifacts.words(candidate("flights"))["columns"]
    assert listed == [{"name": "origin", "categories": list(CATEGORIES)}, {"name": "distance", "categories": None}]
    apart = candidate("flights", input_dtypes={"origin": "String"}, categories={"origin": ["a"]})
    assert artifacts.words(apart)["columns"] == [{"name": "origin", "categories": ["a"]}]
    frame = pl.DataFrame({"x": pl.Series(["it's"], dtype=pl.Enum(["it's", 'a "b"']))})
    quoted = candidate("flights", input_dtypes={"x": str(frame.schema["x"])})
    assert artifacts.words(quoted)["columns"] == [{"name": "x", "categories": ["it's", 'a "b"']}]


def manifest_with(**changes: Any) -> Any:
    return lambda c: replace(c, manifest={**c.manifest, **changes})


BAD: dict[str, tuple[Any, type[PenstockError], str]] = {
    "a name": (lambda c: replace(c, name="../x"), UsageError, "named as its use case"),
    "an evaluation of another model": (
        lambda c: replace(c, evaluation=evaluation("0" * 64)),
        IntegrityError,
        "another model",
    ),
    "a manifest of another model": (manifest_with(model_sha256="0"), IntegrityError, "another model"),
    "another data commit": (manifest_with(data_commit="f00"), IntegrityError, "another data commit"),
    "no time": (manifest_with(fitted_until="March"), UsageError, "ISO 8601"),
    "a document's name": (lambda c: replace(c, documents={"../x": {}}), UsageError, "letters, digits"),
    "a document of the registry": (lambda c: replace(c, documents={"manifest": {}}), UsageError, "itself"),
    "a document that is no JSON": (lambda c: replace(c, documents={"x": {"a": object()}}), UsageError, "JSON"),
    "text without categories": (lambda c: replace(c, input_dtypes={"origin": "String"}), UsageError, "categories"),
    "multiclass without classes": (lambda c: replace(c, kind="multiclass", classes=()), UsageError, "classes"),
}


@pytest.mark.parametrize(("spoil", "error", "says"), BAD.values(), ids=BAD)
def test_a_bad_candidate_is_refused_in_one_line(spoil: Any, error: type[PenstockError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        artifacts.files(spoil(candidate("flights")))
    assert "\n" not in str(caught.value)


# Promotion

REF = ModelRef(registry="", name="flights", version=2, sha256="ab" * 32, run_id="r")
CHAMPION = REF.model_copy(update={"version": 1})
PROOF = evaluation(REF.sha256).model_dump()

NO: dict[str, tuple[dict[str, Any], str]] = {
    "it says no": ({"promoted": False, "why": "Too close."}, "Too close."),
    "challenger NaN": ({"challenger": math.nan}, "lacks challenger"),
    "challenger missing": ({"challenger": None}, "lacks challenger"),
    "champion infinite": ({"champion": math.inf}, "lacks champion"),
    "champion missing": ({"champion": None}, "lacks champion"),
    "baseline missing": ({"baseline": None}, "lacks baseline"),
    "interval missing": ({"interval": None}, "lower bound, upper bound"),
    "half an interval": ({"interval": (math.nan, 1.0)}, "lacks lower bound"),
    "a failed check": ({"checks": (Check(name="slices", passed=False, detail=""),)}, "slices"),
    "no rows": ({"rows": 0}, "no rows"),
    "no data commit": ({"data_commit": None}, "no data commit"),
    "a metric not evaluated": ({"metric": "brier"}, "lacks brier"),
}


@pytest.mark.parametrize(("changes", "why"), NO.values(), ids=NO)
def test_a_verdict_fails_closed(changes: dict[str, Any], why: str) -> None:
    assert why in (promotion_rules.objection(verdict(**changes), PROOF, REF, against=CHAMPION) or "")


def test_a_whole_verdict_promotes() -> None:
    assert promotion_rules.objection(verdict(), PROOF, REF, against=CHAMPION) is None
    assert promotion_rules.objection(verdict(champion=None, interval=None), PROOF, REF, against=None) is None


@pytest.mark.parametrize(
    ("proof", "why"),
    [
        ({}, "another model"),
        ({**PROOF, "model_sha256": "0"}, "another model"),
        ({**PROOF, "metrics": {}}, "lacks log_loss"),
        ({**PROOF, "metrics": {"log_loss": 0.5, "auc": "NaN"}}, "lacks auc"),
        ({**PROOF, "metrics": {"log_loss": None}}, "lacks log_loss"),
    ],
)
def test_the_models_own_evaluation_must_be_whole(proof: Mapping[str, Any], why: str) -> None:
    assert why in (promotion_rules.objection(verdict(), proof, REF, against=CHAMPION) or "")


@pytest.mark.parametrize(
    ("own", "champions", "fits"),
    [
        ("2013-03-01", "2013-03-01", True),
        ("2013-03-02", "2013-03-01T23:00:00+00:00", True),
        ("2013-03-01T00:00:00+01:00", "2013-03-01", False),
        ("2013-02-28", "2013-03-01", False),
        (None, "2013-03-01", False),
        ("2013-03-01", None, True),
        (None, None, True),
    ],
)
def test_models_are_ordered_by_their_newest_row(own: str | None, champions: str | None, fits: bool) -> None:
    assert (promotion_rules.too_old({"fitted_until": own}, {"fitted_until": champions}) is None) == fits


# MLflow's settings and errors


def test_an_exchange_leaves_the_c_librarys_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that comes or goes there moves the table that other threads read: a server died of that."""
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    with environment.calling(5):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
        assert getenv(b"MLFLOW_HTTP_REQUEST_TIMEOUT") is None
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_settings_hold_for_the_exchange_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    before, levels = dict(os.environ), [logging.getLogger(name).level for name in environment.LOGGERS]
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with environment.calling(9):
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with environment.calling(5):
        thread.start()
        inside.wait(30)
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0", "another thread's exchange is still going on"
    leave.set()
    thread.join()
    assert dict(os.environ) == before
    assert [logging.getLogger(name).level for name in environment.LOGGERS] == levels


class Answer(Exception):
    def __init__(self, text: str, code: str = "INTERNAL_ERROR") -> None:
        super().__init__(text)
        self.error_code = code


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (Answer("... Max retries exceeded ... [Errno 111] Connection refused"), ServiceUnavailable, "connection refused"),
        (Answer("failed with timeout exception ... Read timed out."), ServiceUnavailable, "no answer in time"),
        (Answer("Max retries exceeded (too many 503 error responses)"), ServiceUnavailable, "it answers 503"),
        (Answer("(sqlite3.OperationalError) database or disk is full\n[SQL: ...]"), ServiceUnavailable, "the disk is full"),
        (Answer("gone", "RESOURCE_DOES_NOT_EXIST"), NotFound, "not in the registry"),
        (Answer("no", "PERMISSION_DENIED"), UsageError, "MLFLOW_TRACKING_TOKEN"),
        (Answer("out-of-date database schema (found version a)"), UsageError, "mlflow db upgrade"),
        (Answer("odd\nvalue", "INVALID_PARAMETER_VALUE"), UsageError, "odd value"),
        (PermissionError("[Errno 13] Permission denied: 'x'"), UsageError, "Permission denied"),
    ],
)
def test_errors_become_one_line(error: Exception, kind: type[PenstockError], says: str) -> None:
    problem = translated(error, "look", "http://127.0.0.1:1")
    assert type(problem) is kind
    assert says in str(problem)
    assert "\n" not in str(problem)


# The stored predictor


def stored_model(folder: Path, kind: str, classes: tuple[str, ...]) -> tuple[Predictor, Any, pl.DataFrame]:
    import xgboost as xgb

    random = np.random.default_rng(7)
    frame = pl.DataFrame(
        {
            "origin": pl.Series(random.choice(CATEGORIES, 300), dtype=pl.Enum(CATEGORIES)),
            "distance": pl.Series(random.normal(size=300), dtype=pl.Float32),
        }
    )
    number = (frame["origin"].to_physical().to_numpy() + frame["distance"].to_numpy()).astype("float64")
    target = {"binary": number > 1, "multiclass": np.clip(number.round(), 0, 2), "regression": number}[kind]
    objective = {"binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"}[kind]
    params = {"objective": objective, "nthread": 1} | ({"num_class": 3} if kind == "multiclass" else {})
    booster = xgb.train(params, xgb.QuantileDMatrix(frame, label=target, enable_categorical=True), 5)
    given = candidate("flights", model=bytes(booster.save_raw("ubj")), kind=kind, classes=classes, threshold=0.4)
    for path, data in artifacts.files(given).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    return Predictor(folder), booster.predict(xgb.DMatrix(frame, enable_categorical=True)).astype("float64"), frame


def test_the_stored_predictor_speaks_in_business_words(tmp_path: Path) -> None:
    predictor, scores, frame = stored_model(tmp_path, "binary", ("on time", "late"))
    plain = frame.cast({"origin": pl.String}).to_pandas()
    said = predictor.predict(plain[["distance", "origin"]].set_index(np.arange(300) + 5))
    assert (said["probability"].to_numpy() == scores).all()
    assert said["category"].tolist() == ["late" if score >= 0.4 else "on time" for score in scores]
    assert said.index[0] == 5
    assert predictor.predict(frame.to_pandas()).equals(said.reset_index(drop=True)), "categories as pandas categories"
    unseen, missing = plain.assign(origin="ZZZ"), plain.assign(origin=None)
    assert predictor.predict(unseen).equals(predictor.predict(missing))
    with pytest.raises(ValueError, match=r"feature\(s\) distance"):
        predictor.predict(plain[["origin"]])


def test_the_stored_predictor_of_several_classes_and_of_a_number(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    predictor, scores, frame = stored_model(tmp_path / "a", "multiclass", ("low", "mid", "high"))
    said = predictor.predict(frame.to_pandas())
    assert (said[["probability_low", "probability_mid", "probability_high"]].to_numpy() == scores).all()
    assert said["category"].tolist() == [("low", "mid", "high")[best] for best in scores.argmax(axis=1)]
    predictor, scores, frame = stored_model(tmp_path / "b", "regression", ())
    assert (predictor.predict(frame.to_pandas())["prediction"].to_numpy() == scores).all()

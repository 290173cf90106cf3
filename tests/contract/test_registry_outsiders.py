"""What the registry looks like from outside: to MLflow's users without Penstock, and to the process it works in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.registry.factory import open_registry
from tests.registry_kit import CATEGORIES, candidate, crowned, server, unique

ROOT = Path(__file__).parents[2]

OUTSIDER = """
import json, sys
import mlflow, pandas as pd
frame = pd.read_json(sys.argv[1], orient="split")
said = {}
for name, url in json.loads(sys.argv[2]).items():
    mlflow.set_tracking_uri(url)
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    text = model.predict(frame)
    as_categories = model.predict(frame.astype({"origin": "category"})[["distance", "origin"]])
    assert as_categories.equals(text)
    said[name] = {column: text[column].tolist() for column in text}
    said[name + " inputs"] = [str(column) for column in model.metadata.get_input_schema()]
    assert len(mlflow.xgboost.load_model(f"models:/{name}@champion").get_dump()) > 0
assert not {"tasks", "schemas", "flows"} & set(sys.modules), "it needed Penstock"
print(json.dumps(said))
"""

INSIDER = """
import logging, os, sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
before, levels = dict(os.environ), [logging.getLogger(name).level for name in ("mlflow", "alembic", "urllib3")]
from tasks.registry import open_registry
from tests.registry_kit import candidate, crowned
for url in sys.argv[3:]:
    registry = open_registry(url)
    first = crowned(registry, sys.argv[2])
    registry.model_bytes(first), registry.document(first, "reference"), registry.versions(sys.argv[2])
assert dict(os.environ) == before
assert mlflow.get_tracking_uri() == sys.argv[1]
assert mlflow.active_run() is None
assert [logging.getLogger(name).level for name in ("mlflow", "alembic", "urllib3")] == levels
print("done")
"""


def python(script: str, *arguments: str, folder: Path, warnings: str = "error", path: str = "") -> str:
    """What a script says that runs in a folder of its own, which it must leave empty."""
    environment = {**os.environ, "PYTHONPATH": path, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    command = [sys.executable, "-W", warnings, "-c", script, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert list(folder.iterdir()) == []
    return done.stdout


def fitted(kind: str, frame: pl.DataFrame, target: Any) -> tuple[bytes, Any]:
    """A booster's bytes, and its scores of the frame."""
    import xgboost as xgb

    objective = {"binary": {"objective": "binary:logistic"}, "multiclass": {"objective": "multi:softprob", "num_class": 3}}
    params = {**objective.get(kind, {}), "nthread": 1}
    booster = xgb.train(params, xgb.QuantileDMatrix(frame, label=target, enable_categorical=True), 5)
    return bytes(booster.save_raw("ubj")), booster.predict(xgb.DMatrix(frame, enable_categorical=True))


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    random = np.random.default_rng(7)
    origin = pl.Series(random.choice(CATEGORIES, 200), dtype=pl.Enum(CATEGORIES))
    return pl.DataFrame({"origin": origin, "distance": pl.Series(random.normal(size=200), dtype=pl.Float32)})


def test_anyone_with_mlflow_loads_the_champion(tmp_path: Path, rows: pl.DataFrame) -> None:
    number = (rows["origin"].to_physical().to_numpy() + rows["distance"].to_numpy()).astype("float64")
    targets = {"binary": number > 1, "multiclass": np.clip(number.round(), 0, 2), "regression": number}
    local = f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}"
    expected, urls = {}, {}
    for url, kind in [(local, "binary"), (server().url, "binary"), (local, "multiclass"), (local, "regression")]:
        model, scores = fitted(kind, rows, targets[kind])
        classes = {"binary": ("on time", "late"), "multiclass": ("low", "mid", "high")}.get(kind, ())
        name = unique()
        crowned(open_registry(url), name, model=model, kind=kind, classes=classes)
        expected[name], urls[name] = (kind, classes, scores.astype("float64")), url
    data, folder = tmp_path / "rows.json", tmp_path / "elsewhere"
    folder.mkdir()
    data.write_text(json.dumps({"columns": rows.columns, "data": [list(row) for row in rows.rows()]}))
    said = json.loads(python(OUTSIDER, str(data), json.dumps(urls), folder=folder, warnings="ignore"))
    for name, (kind, classes, scores) in expected.items():
        assert said[f"{name} inputs"] == ["'origin': Any (optional)", "'distance': double (required)"]
        if kind == "regression":
            assert said[name] == {"prediction": scores.tolist()}
        elif kind == "binary":
            chosen = [classes[int(score >= 0.5)] for score in scores]
            assert said[name] == {"category": chosen, "probability": scores.tolist()}
        else:
            chosen = [classes[best] for best in scores.argmax(axis=1)]
            each = {f"probability_{name}": scores[:, i].tolist() for i, name in enumerate(classes)}
            assert said[name] == {"category": chosen, **each}


def test_it_works_in_silence_and_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    folder, home = tmp_path / "cwd", tmp_path / "home"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = f"http://127.0.0.1:{listener.getsockname()[1]}"
        urls = [f"sqlite:///{home / 'mlflow.db'}", server().url]
        assert python(INSIDER, theirs, unique(), *urls, folder=folder, path=str(ROOT)) == "done\n"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert sorted(path.name for path in home.iterdir()) == ["artifacts", "locks", "mlflow.db"]


def test_reading_makes_nothing(tmp_path: Path) -> None:
    registry = open_registry(f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}")
    assert registry.champion("flights") is None
    assert registry.versions("flights") == []
    assert list(tmp_path.iterdir()) == []
    registry.record(candidate("flights"))
    assert len(registry.versions("flights")) == 1

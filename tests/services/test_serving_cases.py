"""Other use cases than the flights: several classes, a number, private columns, and features that only frames can make."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from schemas.refs import DataRef
from schemas.settings import Settings
from schemas.usecase import UseCase
from tasks.inference import frame_prediction, prediction_log
from tasks.registry.factory import open_registry
from tasks.versions.factory import open_store
from tests import serving_cases
from tests.serving_kit import TOKEN, Running, as_json, promote, publish, record, serving

ROWS = 400


def made(folder: Path, attribute: str) -> Settings:
    """A home with a champion of that use case."""
    settings = Settings(home=folder / "home", api_token=TOKEN)
    name = f"tests.serving_cases:{attribute}"
    publish(settings, name, "parcels", serving_cases.rows(ROWS), folder / "sources")
    promote(settings, record(settings, name, 12))
    return settings


@pytest.fixture(scope="module", params=["PARCELS", "DELAYS", "BY_FRAME"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[UseCase, Running]]:
    settings = made(tmp_path_factory.mktemp("case"), request.param)
    with serving(settings, f"tests.serving_cases:{request.param}") as running:
        yield getattr(serving_cases, request.param), running


def batch_scores(case: UseCase, settings: Settings, rows: pl.DataFrame) -> pl.DataFrame:
    store = open_store(settings.store_url(case.name))
    champion = open_registry(settings.registry_url).champion(case.name)
    assert champion
    return frame_prediction.predict_frame(case, champion, DataRef(store=store.url, commit=store.head()), rows)


def numbers(case: UseCase, answer: dict[str, Any]) -> list[float]:
    return (
        [answer["prediction"]]
        if case.target.kind == "regression"
        else [answer["probabilities"][n] for n in case.target.classes]
    )


def test_every_way_gives_the_bits_of_the_batch(case: tuple[UseCase, Running]) -> None:
    use_case, server = case
    fresh = serving_cases.rows(150, seed=2)
    scored = batch_scores(use_case, server.settings, fresh)
    regression = use_case.target.kind == "regression"
    wanted = scored.select("prediction" if regression else [f"probability_{name}" for name in use_case.target.classes])
    sent = as_json(use_case, fresh)
    for answers in ([server.predict(row).json() for row in sent], server.predict({"rows": sent}).json()["predictions"]):
        found = np.array([numbers(use_case, answer) for answer in answers])
        assert found.tobytes() == np.ascontiguousarray(wanted.to_numpy()).tobytes()
        if not regression:
            assert [answer["category"] for answer in answers] == scored["category"].cast(pl.String).to_list()
    way = server.client.get("/model").json()["way"]
    assert way == ("frame" if use_case.name == "by-frame" else "compiled")


def test_an_explanation_comes_for_every_kind(case: tuple[UseCase, Running]) -> None:
    use_case, server = case
    sent = as_json(use_case, serving_cases.rows(3, seed=3))
    answers = server.predict({"rows": sent}, params={"explain": "true"}).json()["predictions"]
    assert all(set(answer["explanation"]["contributions"]) == set(use_case.features) for answer in answers)
    assert answers[0]["explanation"]["scale"] == ("minutes" if use_case.target.kind == "regression" else "log-odds")


def test_private_values_are_in_no_receipt_and_no_example(case: tuple[UseCase, Running]) -> None:
    use_case, server = case
    row = as_json(use_case, serving_cases.rows(1))[0] | {"person": "Somebody Known"}
    name = server.predict(row).json()["prediction_id"]
    log = open_store(server.settings.store_url(f"{use_case.name}-log"))
    server.until(lambda: log.exists() and prediction_log.find_receipt(log, name))
    found = prediction_log.find_receipt(log, name)
    assert found
    assert "Somebody Known" not in str(found)
    assert found[0]["inputs"]["code"] == row["code"]
    document = server.client.get("/openapi.json").json()
    assert "examples" not in document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]

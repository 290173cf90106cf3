"""A server whose code has changed since its champion was trained: each version answers by its own design."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from deployments.serving.server import Options, Server
from schemas.contract import Contract, column
from schemas.errors import NotFound
from schemas.function_features import function_feature
from schemas.refs import DataRef, ModelRef
from schemas.settings import Settings
from schemas.usecase import UseCase
from tasks.inference import frame_prediction, prediction_log
from tasks.monitoring import shadow
from tasks.registry.factory import open_registry
from tasks.versions.factory import open_store
from tests import training_kit
from tests.changed_designs_kit import Longer, Sizeless, with_features, with_input, without
from tests.modelling_kit import START
from tests.ports import free_port
from tests.serving_kit import TOKEN, as_json, promote, record, wait_for
from tests.training_kit import CHANGING, publish

NAME = "tests.training_kit:CHANGING"
ROWS = 40


class Priceless(Contract):
    """Prices that are asked for no more."""

    shop: str = column()
    day: pl.Date = column()

    class Config:
        unique = ["shop", "day"]


PRICES = CHANGING.lookups[0]
OTHER_WORDS = replace(CHANGING.target, classes=("punctual", "delayed"), threshold=0.9, value=pl.col("delay") > 0.6)
NO_LOOKUP = without(replace(CHANGING, lookups=()), "price")
CHANGES = {
    "features and a column more": with_features(
        without(with_input(CHANGING, "orders", contract=Longer), "hour"),
        size=(pl.col("size") * 2).cast(pl.Float32),
        weight=pl.col("weight").cast(pl.Float32),
    ),
    "threshold, words and target": replace(CHANGING, target=OTHER_WORDS, block=pl.col("at").dt.week(), slices=("colour",)),
    "a column less": without(with_input(CHANGING, "orders", contract=Sizeless), "size"),
    "a lookup and its input less": replace(NO_LOOKUP, inputs=CHANGING.inputs[::2]),
    "another lookup": replace(CHANGING, lookups=(replace(PRICES, on={**PRICES.on, "shop": pl.lit("west")}),)),
    "a looked-up column less": with_input(NO_LOOKUP, "prices", contract=Priceless),
}


@dataclass(frozen=True)
class Home:
    settings: Settings
    champion: ModelRef
    data: DataRef
    sent: list[dict[str, Any]]
    scored: pl.DataFrame

    def check(self, answers: list[dict[str, Any]]) -> None:
        """The champion's answers are those of the batch before the code changed, to the bit."""
        assert [each["category"] for each in answers] == self.scored["category"].cast(pl.String).to_list()[: len(answers)]
        assert [each["probability"] for each in answers] == self.scored["probability"].to_list()[: len(answers)]
        assert {each["model_version"] for each in answers} == {self.champion.version}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("designs")
    with Settings(home=folder / "home", api_token=TOKEN).active() as settings:
        data = publish(settings, "early", folder / "sources", NAME)
        champion = record(settings, NAME, 20)
        promote(settings, champion)
        rows = training_kit.tables()[0].tail(ROWS)
        scored = frame_prediction.predict_frame(CHANGING, champion, data, rows)
        yield Home(settings, champion, data, as_json(CHANGING, rows), scored)


@pytest.fixture
def own(lived: Home, tmp_path: Path) -> Iterator[Home]:
    """A home that the test may change; the first models' files stay where they are."""
    shutil.copytree(lived.settings.root, tmp_path / "home", ignore=shutil.ignore_patterns("serving"))
    with Settings(home=tmp_path / "home", api_token=TOKEN).active() as settings:
        champion = lived.champion.model_copy(update={"registry": settings.registry_url})
        data = DataRef(store=settings.store_url(CHANGING.name), commit=lived.data.commit)
        yield replace(lived, settings=settings, champion=champion, data=data)


class Asked:
    """A server of this process, asked without a socket."""

    def __init__(self, server: Server) -> None:
        self.server, self.serving = server, server.model_reloader.serving

    def ask(self, method: str, path: str, content: Any = None) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.server.application)
            headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
            async with httpx.AsyncClient(transport=transport, base_url="http://server", headers=headers) as client:
                return await client.request(method, path, content=json.dumps(content))

        return asyncio.run(send())

    def predict(self, content: Any) -> httpx.Response:
        return self.ask("POST", "/predict", content)

    def answers(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answers to some rows, sent by themselves and together."""
        alone = [self.predict(row).json() for row in rows[:8]]
        together: list[dict[str, Any]] = self.predict({"rows": rows}).json()["predictions"]
        assert [each["probability"] for each in alone] == [each["probability"] for each in together[:8]]
        return together

    def card(self) -> dict[str, Any]:
        told: dict[str, Any] = self.ask("GET", "/model").json()
        return told


@contextmanager
def started(case: UseCase, settings: Settings, *, ready: bool = True) -> Iterator[Asked]:
    server = Server(case, settings, TOKEN, Options(poll_seconds=0.1, publish_seconds=0.5))
    server.start()
    try:
        asked = Asked(server)
        if ready:
            wait_for(lambda: asked.serving.champion or asked.serving.refused)
        yield asked
    finally:
        server.stop()


@pytest.mark.parametrize("change", CHANGES)
def test_a_server_of_changed_code_answers_as_before(lived: Home, change: str) -> None:
    with started(CHANGES[change], lived.settings) as asked:
        lived.check(asked.answers(lived.sent))
        card = asked.card()
        explained = asked.ask("POST", "/predict?explain=true", lived.sent[0]).json()["explanation"]
    assert (card["way"], card["threshold"], card["features"]) == ("compiled", 0.5, list(CHANGING.features))
    assert card["target"]["classes"] == ["on time", "late"]
    assert card["lineage"]["lookups"] == {"prices": lived.data.commit}
    assert list(explained["contributions"]) == list(CHANGING.features)
    assert "the threshold 0.50" in explained["sentence"]


def test_a_request_without_a_column_that_the_champion_needs_is_refused_by_name(own: Home) -> None:
    row = own.sent[0]
    less = {name: value for name, value in row.items() if name != "size"}
    changed = CHANGES["a column less"]
    with started(changed, own.settings) as asked:
        for content in (less, {"rows": [row, less]}):
            refused = asked.predict(content)
            assert refused.status_code == 422
            [problem] = refused.json()["problems"]
            assert (problem["field"], problem["message"]) == ("size", "size is missing; allowed: number or null")
        assert asked.predict({**row, "size": None}).status_code == 200
        assert "size" in asked.ask("GET", "/openapi.json").json()["components"]["schemas"]["Row"]["required"]
    away = own.settings.model_copy(update={"mlflow_url": f"http://127.0.0.1:{free_port()}"})
    with away.active(), started(changed, away) as asked:  # the kept model says what it needs
        own.check(asked.answers(own.sent))
        assert asked.predict(less).status_code == 422


def trained(monkeypatch: pytest.MonkeyPatch, home: Home, case: UseCase, rounds: int = 20) -> ModelRef:
    """A version of changed code, as another process would record it."""
    with monkeypatch.context() as patched:
        patched.setattr(training_kit, "CHANGING", case)
        return record(home.settings, NAME, rounds)


def test_threshold_and_words_change_with_the_model_in_one_step(own: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    score = own.scored["probability"][0]
    target = replace(CHANGING.target, classes=("punctual", "delayed"), threshold=0.999 * score)
    case = replace(NO_LOOKUP, target=target, features=dict(reversed(NO_LOOKUP.features.items())))
    with started(CHANGING, own.settings) as asked:
        newer = trained(monkeypatch, own, case)
        wait_for(lambda: asked.serving.challenger)
        seen = [asked.predict(own.sent[0]).json()]
        promote(own.settings, newer)
        while seen[-1]["model_version"] != newer.version:
            seen.append(asked.predict(own.sent[0]).json())
            assert len(seen) < 100_000, asked.serving
        with monkeypatch.context() as patched:
            patched.setattr(training_kit, "CHANGING", case)
            scored = frame_prediction.predict_frame(case, newer, own.data, training_kit.tables()[0].tail(ROWS))
        answers = asked.answers(own.sent)
        card = asked.card()
        enum = asked.ask("GET", "/openapi.json").json()["components"]["schemas"]["Prediction"]["properties"]["category"]
    own.check(seen[:1])
    assert {(each["model_version"], each["category"], each["probability"]) for each in seen} == {
        (version, made["category"][0], made["probability"][0])
        for version, made in ((own.champion.version, own.scored), (newer.version, scored))
    }
    assert [each["category"] for each in answers] == scored["category"].cast(pl.String).to_list()
    assert [each["probability"] for each in answers] == scored["probability"].to_list()
    assert (card["threshold"], card["target"]["classes"]) == (target.threshold, ["punctual", "delayed"])
    assert (card["features"], card["lineage"]["lookups"]) == (list(case.features), {})
    assert {"punctual", "delayed"} <= set(enum["enum"])

    log = open_store(own.settings.store_url(f"{CHANGING.name}-log"))
    paths = [each.path for each in log.objects("main", prediction_log.RECEIPTS_FOLDER)]
    receipts = pl.concat([log.scan("main", [path]).drop("inputs") for path in paths]).collect()
    words = {version: set(rows["category"]) for (version,), rows in receipts.group_by("model_version")}
    assert words[own.champion.version] <= {"on time", "late"}
    assert words[newer.version] <= {"punctual", "delayed"}
    shadows = receipts.filter(pl.col("role") == prediction_log.SHADOW)
    assert set(shadows["model_version"]) == {newer.version}


def test_a_challenger_of_another_design_is_compared_whatever_columns_the_servers_took(
    own: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(monkeypatch, own, replace(CHANGING, target=OTHER_WORDS))
    log = open_store(own.settings.store_url(f"{CHANGING.name}-log"))
    for code in (CHANGING, CHANGES["features and a column more"]):
        with started(code, own.settings) as asked:
            wait_for(lambda asked=asked: asked.serving.challenger)  # type: ignore[misc]
            own.check(asked.answers(own.sent))
    assert [pair.rows for pair in shadow.compare_shadow(CHANGING, log)] == [2 * (8 + ROWS)]


def test_versions_of_the_same_lookups_share_their_table(own: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with started(CHANGING, own.settings) as asked:
        trained(monkeypatch, own, replace(CHANGING, target=OTHER_WORDS))
        wait_for(lambda: asked.serving.challenger)
        champion, challenger = asked.serving.champion, asked.serving.challenger
        assert champion
        assert challenger
        assert champion.tables["prices"] is challenger.tables["prices"]


def doubled(rows: pl.DataFrame) -> pl.Series:
    return (rows["size"] * 2).cast(pl.Float32)


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (CHANGES["features and a column more"], "needs the column weight, which this server does not take: start it again"),
        (
            with_features(CHANGING, size=function_feature(doubled, "size", dtype=pl.Float32)),
            "the feature size needs the function",
        ),
    ],
    ids=["column", "function"],
)
def test_a_version_that_cannot_be_served_is_refused_and_the_old_one_goes_on(
    own: Home, monkeypatch: pytest.MonkeyPatch, case: UseCase, why: str
) -> None:
    with started(CHANGING, own.settings) as asked:
        newer = trained(monkeypatch, own, case)
        monkeypatch.setattr(f"{__name__}.doubled", lambda rows: rows["size"])
        promote(own.settings, newer)
        name = f"{CHANGING.name} v{newer.version}"
        wait_for(lambda: name in asked.serving.refused)
        refused = asked.card()["refused"][name]
        own.check(asked.answers(own.sent))
    assert f"{name}{':' if 'function' in why else ''} {why}" in refused
    assert "\n" not in refused


def test_looked_up_rows_that_lack_a_column_of_the_champion_are_not_taken_as_nulls(
    own: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    changed = CHANGES["a looked-up column less"]
    monkeypatch.setattr(training_kit, "CHANGING", changed)
    later = training_kit.tables()[1].filter(pl.col("day") >= (START + timedelta(days=30)).date())
    with started(changed, own.settings) as asked:
        own.check(asked.answers(own.sent))
        training_kit.publish_rows(own.settings, NAME, "prices", later.drop("price"), tmp_path / "more")
        wait_for(lambda: asked.serving.trouble)
        assert "the newest rows lack prices.price, which the model needs" in asked.serving.trouble
        own.check(asked.answers(own.sent))
        newer = trained(monkeypatch, own, changed)  # it does not need the column: nothing stands in its way
        promote(own.settings, newer)
        wait_for(lambda: asked.card()["version"] == newer.version)


def test_a_version_of_an_earlier_release_is_served_by_the_code(own: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = open_registry(own.settings.registry_url)
    document = type(registry).document

    def no_design(self: Any, model: ModelRef, name: str) -> Any:
        if name == "design":
            raise NotFound("no such document")
        return document(self, model, name)

    monkeypatch.setattr(type(registry), "document", no_design)
    with started(replace(CHANGING, target=replace(CHANGING.target, threshold=0.9)), own.settings) as asked:
        assert asked.card()["threshold"] == 0.9
        answer = asked.predict(own.sent[0]).json()
        assert answer["probability"] == own.scored["probability"][0]

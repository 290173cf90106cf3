"""A training may use a column that speaks of a leak; its promotion waits for one word in the contract."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from schemas.contract import Contract, column
from schemas.fitting import Plan
from schemas.refs import DataRef
from schemas.settings import Settings
from schemas.usecase import GatePolicy, Input, Target, Training, UseCase
from tasks import flow_tasks
from tasks.datasets.loading import load_training_rows
from tasks.features.splitting import split_by_time
from tasks.monitoring.fitted_rows import without_fitted
from tasks.registry.factory import open_registry
from tasks.registry.protocol import ModelRegistry
from tasks.reporting.model_card import render_card
from tests.skill_kit import file_of
from tests.training_kit import publish_rows

PLAN = Plan(device="cpu", engine="memory", trials=0, jobs=1)
STATES = pl.Enum(["OPEN", "SHUT"])
HERE = "tests.contract.test_leak_guard"


class Silent(Contract):
    member_id: str = column()
    age: int = column()
    state: str = column()
    outcome: str = column(known="outcome", nullable=True)

    class Config:
        unique = ["member_id"]


class Said(Contract):
    member_id: str = column()
    age: int = column()
    state: str = column(known="at_prediction")
    outcome: str = column(known="outcome", nullable=True)

    class Config:
        unique = ["member_id"]


class Asked(Contract):
    member_id: str = column()
    age: int = column()
    state: str = column(known="confirm")
    outcome: str = column(known="outcome", nullable=True)

    class Config:
        unique = ["member_id"]


def use_case(contract: type[Contract], *features: str) -> UseCase:
    known = {"age": pl.col("age").cast(pl.Float32), "state": pl.col("state").cast(STATES, strict=False)}
    return UseCase(
        name="guarded",
        question="Will the member leave?",
        inputs=(Input(name="guarded", contract=contract),),
        rows="guarded",
        target=Target(kind="binary", name="outcome", value=pl.col("outcome") == "yes", classes=("no", "yes")),
        features={name: known[name] for name in features},
        training=Training(params={"max_depth": 2, "learning_rate": 0.1}, rounds=60),
        gate=GatePolicy(min_rows=50, baseline="constant", max_calibration_error=1.0),
    )


HONEST, SILENT = use_case(Silent, "age"), use_case(Silent, "age", "state")
SAID, ASKED = use_case(Said, "age", "state"), use_case(Asked, "age", "state")


@pytest.fixture
def data(settings: Settings, tmp_path: Path) -> DataRef:
    state = pl.when(pl.col("outcome") == "yes").then(pl.lit("SHUT")).otherwise(pl.lit("OPEN"))
    rows = file_of("binary", 1_000, 3, effect=2.0).select("member_id", "age", state.alias("state"), "outcome")
    return publish_rows(settings, f"{HERE}:SILENT", "guarded", rows, tmp_path)


def trained(settings: Settings, data: DataRef, name: str) -> tuple[str, str]:
    """What became of a training, and the detail of the check on leaks."""
    name, registry = f"{HERE}:{name}", settings.registry_url
    if done := flow_tasks.previous_outcome.fn(name, data, registry):
        return done.status, done.why
    challenged = flow_tasks.train_challenger.fn(name, data, registry, PLAN)
    log = settings.store_url("guarded-log")
    outcome = flow_tasks.promote_challenger.fn(name, challenged.model, challenged, registry, log, "a test")
    return outcome.status, next((c.detail for c in challenged.verdict.checks if c.name == "leakage"), "")


def test_a_promotion_waits_for_one_word_and_then_comes_on_the_same_commit(settings: Settings, data: DataRef) -> None:
    status, detail = trained(settings, data, "SILENT")
    assert status == "refused"
    assert detail.startswith("confirm: known before the outcome? state: says outcome in other words")
    assert trained(settings, data, "SILENT")[0] == "already done"
    registry = open_registry(settings.registry_url)
    refused = registry.versions("guarded")[-1]
    card = render_card(SILENT, registry, refused)["md"].decode()
    assert "| to confirm | state | says outcome in other words, one value for each class |" in card
    assert not flow_tasks.gate_version.fn(f"{HERE}:SILENT", refused.version, data, settings.registry_url).verdict.promoted
    assert flow_tasks.gate_version.fn(f"{HERE}:SAID", refused.version, data, settings.registry_url).verdict.promoted
    assert trained(settings, data, "SAID") == (
        "promoted",
        "state: says outcome in other words, one value for each class; said to be known at the prediction",
    )


def test_a_feature_of_a_column_to_confirm_stops_whatever_it_tells(settings: Settings, data: DataRef) -> None:
    status, detail = trained(settings, data, "ASKED")
    assert status == "refused"
    assert "state: reads state, which the contract has yet to confirm" in detail


def test_features_that_the_champion_has_are_not_asked_about_again(settings: Settings, data: DataRef, tmp_path: Path) -> None:
    assert trained(settings, data, "SAID")[0] == "promoted"
    more = file_of("binary", 600, 4, effect=2.0).select(
        pl.col("member_id").str.replace("M", "N"),
        "age",
        pl.when(pl.col("outcome") == "yes").then(pl.lit("SHUT")).otherwise(pl.lit("OPEN")).alias("state"),
        "outcome",
    )
    newer = publish_rows(settings, f"{HERE}:SILENT", "guarded", more, tmp_path)
    assert trained(settings, newer, "SILENT")[1] == ""


def test_a_design_without_such_features_has_no_check_for_them(settings: Settings, data: DataRef) -> None:
    assert trained(settings, data, "HONEST") == ("promoted", "")


def test_rows_that_a_version_was_fitted_on_are_not_judged(settings: Settings, data: DataRef, tmp_path: Path) -> None:
    trained(settings, data, "HONEST")
    registry = open_registry(settings.registry_url)
    rows, holdout = load_training_rows(HONEST, data), set(held_out(data))
    left, fitted = judged(registry, data, rows)
    assert (left, fitted) == (holdout, rows.height - len(holdout))
    fresh = file_of("binary", 50, 9).select(
        pl.col("member_id").str.replace("M", "N"), "age", pl.lit("OPEN").alias("state"), "outcome"
    )
    later = publish_rows(settings, f"{HERE}:HONEST", "guarded", fresh, tmp_path)
    left, fitted = judged(registry, later, load_training_rows(HONEST, later))
    assert left == holdout | set(fresh["member_id"])
    assert fitted == rows.height - len(holdout)


def held_out(data: DataRef) -> list[str]:
    return split_by_time(HONEST, load_training_rows(HONEST, data)).holdout["member_id"].to_list()


def judged(registry: ModelRegistry, data: DataRef, rows: pl.DataFrame) -> tuple[set[str], int]:
    """Keys of the rows that are left, and how many the champion was fitted on."""
    champion = registry.champion("guarded")
    assert champion
    left, fitted = without_fitted(HONEST, registry, champion, data, rows.lazy())
    return set(left.collect()["member_id"]), fitted

"""A column goes from the code and from the files: the loop scores no row with a hole in it, and finds a model without."""

from dataclasses import replace

import polars as pl
import pytest

from flows.lifecycle import lifecycle
from flows.train import TrainResult, train
from schemas.settings import Settings
from tasks.registry.factory import open_registry
from tests import orders_kit
from tests.changed_designs_kit import Sizeless, with_input, without
from tests.orders_kit import ORDERS, deliver, files_of, named

NAME = named(ORDERS)
SHORTER = replace(
    without(with_input(ORDERS, "orders", contract=Sizeless), "size"),
    gate=replace(ORDERS.gate, min_rows=60, min_blocks=2),
)


@pytest.fixture
def first(settings: Settings) -> TrainResult:
    deliver(ORDERS, 0, 24)
    return train(NAME)


def test_rows_without_a_column_that_the_champion_needs_wait_for_a_model_that_does_without(
    first: TrainResult, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first.status == "promoted"
    assert first.model
    monkeypatch.setattr(orders_kit, "ORDERS", SHORTER)
    paths = files_of(24, 26, settings.root / "in")
    pl.read_parquet(paths["orders"]).drop("size").write_parquet(paths["orders"])
    loop = lifecycle(NAME, str(paths["orders"]), input="orders")
    assert loop.ingested.deliveries[0].status == "published"
    waits = loop.scored[0]
    assert (waits.status, waits.absent, waits.rows) == ("skipped", ("size",), 0)
    assert f"lacks size, which v{first.model.version} needs" in waits.why
    assert len(loop.trained) == 1
    registry = open_registry(settings.registry_url)
    if loop.trained[0].status == "promoted":
        assert [scores.status for scores in loop.scored] == ["skipped", "published"]
        assert loop.scored[1].model == registry.champion(ORDERS.name) != first.model
    else:
        assert loop.trained[0].verdict
        assert loop.trained[0].verdict.designs == 2
        assert registry.champion(ORDERS.name) == first.model
        assert loop.monitored == ()

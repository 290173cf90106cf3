"""Rows without event times: the newest delivery is held out, and no living version was fitted on what it is compared on."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from schemas.fitting import Plan
from schemas.refs import DataRef
from schemas.row_key import ROW_COLUMNS, ROW_VALUE
from schemas.settings import Settings
from tasks import flow_tasks
from tasks.datasets.loading import load_training_rows
from tasks.registry.factory import open_registry
from tasks.training.engines import digest_rows, sample_rows, split_rows
from tasks.training.holdout import choose_held_out, recorded_held_out
from tasks.training.reproduction import reproduce
from tasks.versions.factory import open_store
from tests.row_key_kit import TIMELESS, deliver, named, on_main, sales, save

NAME = named(TIMELESS)
PLAN = Plan(device="cpu", engine="memory", trials=0, jobs=1)
FIRST = sales(1500).drop("at")
MORE = sales(200, seed=8).drop("at").with_columns(price=pl.int_range(pl.len()) / 7 + 9.05)  # prices that no older row has


def keys_of(frame: pl.DataFrame) -> set[tuple[object, ...]]:
    return set(frame.select(ROW_COLUMNS).rows())


def test_the_newest_delivery_is_held_out_and_nobody_was_fitted_on_it(settings: Settings, tmp_path: Path) -> None:
    url, log, registry_url = settings.store_url("timeless"), settings.store_url("timeless-log"), settings.registry_url
    registry = open_registry(registry_url)
    deliver(NAME, url, str(save(FIRST, tmp_path / "1.csv")))
    before = DataRef(store=url, commit=open_store(url).head())
    first = flow_tasks.train_challenger.fn(NAME, before, registry_url, PLAN)
    assert first.by_hash
    assert registry.document(first.model, "manifest")["held_out"] == {"hash_share": 0.2}
    flow_tasks.promote_challenger.fn(NAME, first.model, first, registry_url, log, "a test")
    champion, old = registry.champion("timeless"), keys_of(on_main(url, NAME))
    assert champion == first.model

    deliver(NAME, url, str(save(pl.concat([FIRST, MORE]), tmp_path / "2.csv")))
    data = DataRef(store=url, commit=open_store(url).head())
    held = choose_held_out(TIMELESS, registry, data, (champion,))
    assert held
    (_, part), (_, rest) = held.deliveries
    assert part == 1.0
    assert 0 < rest < 0.2, "the rest of the share comes from what the champion has not seen of the first delivery"
    labelled = load_training_rows(TIMELESS, data)
    with split_rows(TIMELESS, data, "memory", held=held) as parts:
        holdout, known = parts.holdout, parts.known
    assert isinstance(known, pl.DataFrame)
    assert keys_of(labelled) - old <= keys_of(holdout)
    assert not set(known[ROW_VALUE]) & set(holdout[ROW_VALUE])
    assert keys_of(known) | keys_of(holdout) == keys_of(labelled)
    with split_rows(TIMELESS, before, "memory") as parts:
        assert not keys_of(sample_rows(parts.train, parts.stopping)) & keys_of(holdout)

    second = flow_tasks.train_challenger.fn(NAME, data, registry_url, PLAN)
    assert (second.by_hash, second.verdict.rows) == (False, holdout.height)
    refit = flow_tasks.refit_challenger.fn(NAME, second, registry_url, "cpu")
    made_from = registry.document(refit, "manifest")
    assert (made_from["recipe_of"], made_from["rows"]) == (second.model.version, known.height)
    with split_rows(TIMELESS, data, "external", held=recorded_held_out(TIMELESS, data, made_from)) as parts:
        assert digest_rows(parts.known) == digest_rows(known) == made_from["row_digest"]
        assert digest_rows(parts.holdout) == digest_rows(holdout)
    for model in (first.model, second.model, refit):
        again = reproduce(TIMELESS, registry, model, url)
        assert again.identical, again.why
    assert flow_tasks.gate_version.fn(NAME, second.model.version, data, registry_url).verdict.rows == holdout.height

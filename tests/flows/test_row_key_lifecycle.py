"""A file in which nothing tells the rows apart, through the whole loop: with event times and without."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from flows.ingest import ingest
from flows.lifecycle import lifecycle
from flows.retract import retract
from flows.score import score
from flows.train import train
from schemas.refs import DataRef
from schemas.row_key import ROW_COLUMNS
from schemas.settings import Settings
from tasks.inference.prediction_store import published_predictions
from tasks.inference.trace import trace_prediction
from tasks.registry.factory import open_registry
from tasks.reporting.status import label_coverage
from tasks.training.engines import digest_rows, split_rows
from tasks.training.holdout import recorded_held_out
from tasks.training.reproduction import reproduce
from tasks.versions.factory import open_store
from tests.row_key_kit import SALES, TIMELESS, Sale, counted, named, on_main, sales, save


def test_the_loop_goes_round_on_a_file_without_a_key(settings: Settings, tmp_path: Path) -> None:
    first, more = sales(1500, days=20), sales(700, seed=8, days=7, start=20)
    loop = lifecycle(named(SALES), str(save(first, tmp_path / "sales.csv")))
    assert loop.trained[0].status == "promoted", loop.trained[0].why
    assert loop.monitored[0].coverage == 1.0
    assert loop.scored[0].rows > 0

    again = lifecycle(named(SALES), str(save(pl.concat([first, more]), tmp_path / "sales-2.csv")))
    assert again.ingested.deliveries[0].audit
    assert again.ingested.deliveries[0].audit.redelivered == first.height
    assert [scores.rows for scores in again.scored] == [more.height]
    assert again.monitored[0].coverage == 1.0
    assert again.monitored[0].realized is not None
    data, log = settings.store_url("sales"), open_store(settings.store_url("sales-log"))
    assert counted(on_main(data)) == counted(pl.concat([first, more]))

    predictions = published_predictions(log, log.get(again.scored[0].predictions.commit)).collect()
    assert set(ROW_COLUMNS) <= set(predictions.columns)
    assert predictions.select(ROW_COLUMNS).is_unique().all()
    assert predictions["prediction_id"].n_unique() == more.height
    registry = open_registry(settings.registry_url)
    traced = trace_prediction(SALES, predictions["prediction_id"][0], registry, open_store(data), log, tmp_path)
    assert traced is not None
    assert [source.name for source in traced.sources] == ["sales.csv"]
    assert label_coverage(SALES, open_store(data), log, ()) == (more.height, 1.0)

    taken_back = retract(named(SALES), "sales-2.csv", "a wrong file")
    assert taken_back.status == "retracted"
    assert counted(on_main(data)) == counted(first)
    assert ingest(named(SALES), str(tmp_path / "sales-2.csv")).accepted == more.height


def test_a_file_is_scored_and_a_frame_predicted_by_the_same_keys(settings: Settings, tmp_path: Path) -> None:
    loop = lifecycle(named(SALES), str(save(sales(1500, days=20), tmp_path / "sales.csv")))
    rows = sales(60, seed=9, hours=1).drop("returned")
    scored = score(named(SALES), file=str(save(rows, tmp_path / "open.csv")))
    assert (scored.status, scored.rows) == ("published", rows.height)
    log = open_store(settings.store_url("sales-log"))
    stored = published_predictions(log, log.get(scored.predictions.commit)).collect()
    predicted = loop.trained[0].predict(rows)
    assert stored.select(ROW_COLUMNS).sort(ROW_COLUMNS).equals(predicted.select(ROW_COLUMNS).sort(ROW_COLUMNS))
    both = stored.join(predicted, on=list(ROW_COLUMNS), validate="1:1")
    assert (both["probability"] == both["probability_right"]).all()
    assert both.height == rows.height
    assert list(Sale.dtypes()) == list(SALES.inputs[0].delivered.dtypes())


def test_without_event_times_a_refit_is_made_without_what_was_held_out(settings: Settings, tmp_path: Path) -> None:
    for number in (1, 2):
        rows = sales(900, seed=number).drop("at").with_columns(price=pl.int_range(pl.len()) / 9 + number / 100)
        rows = rows.with_columns(returned=(pl.col("item") == "shoe") == (pl.col("price") > 50))
        ingest(named(TIMELESS), str(save(rows, tmp_path / f"{number}.csv")))
    trained = train(named(TIMELESS))
    assert trained.status == "promoted", trained.why
    assert trained.model
    assert trained.verdict
    registry = open_registry(settings.registry_url)
    made_from = registry.document(trained.model, "manifest")
    assert made_from["recipe_of"] == 1
    [[_, part]] = made_from["held_out"]["deliveries"]
    assert part == pytest.approx(0.4)
    assert made_from["rows"] + trained.verdict.rows == 1800
    for version in (1, 2):
        again = reproduce(TIMELESS, registry, registry.version("timeless", version), settings.store_url("timeless"))
        assert again.identical, again.why
    data = DataRef(store=settings.store_url("timeless"), commit=made_from["data_commit"])
    held = recorded_held_out(TIMELESS, data, made_from)
    with split_rows(TIMELESS, data, "memory", held=held) as here, split_rows(TIMELESS, data, "external", held=held) as there:
        assert digest_rows(here.known) == digest_rows(there.known) == made_from["row_digest"]
        assert digest_rows(here.holdout) == digest_rows(there.holdout)

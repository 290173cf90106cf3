"""Rows without a key behind the server: a caller sends no key, and the receipt names the row as the lake does."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from schemas.row_key import ROW_COLUMNS, ROW_OCCURRENCE, ROW_VALUE
from schemas.settings import Settings
from tasks.inference.prediction_log import RECEIPTS_FOLDER
from tasks.inference.trace import trace_prediction
from tasks.registry.factory import open_registry
from tasks.versions.factory import open_store
from tasks.versions.protocol import MAIN, VersionStore
from tests.row_key_kit import SALES, named, on_main, sales
from tests.serving_kit import TOKEN, promote, publish, record, serving


def test_requests_have_no_key_and_their_receipts_have_that_of_the_row(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", api_token=TOKEN)
    publish(settings, named(SALES), "sales", sales(400, days=10), tmp_path / "sources")
    promote(settings, record(settings, named(SALES), 10))
    stored = on_main(settings.store_url("sales")).filter(pl.col("price").is_not_null()).head(1)
    row = stored.drop(*ROW_COLUMNS, "returned").with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()[0]
    log = open_store(settings.store_url("sales-log"))
    with serving(settings, named(SALES)) as server:
        answers = [
            server.predict(row),
            server.predict({"rows": [row, row]}),
            server.predict(row, params={"explain": "true"}),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200], answers[0].text
        assert server.predict({**row, "penstock_row": "x"}).status_code == 422
        fields = server.client.get("/openapi.json").text
        assert ROW_VALUE not in fields
        assert "pieces" in fields
        server.until(lambda: log.exists() and sum(read(log)["prediction_id"].is_not_null()) == 4)
    receipts = read(log)
    assert receipts[ROW_VALUE].unique().to_list() == stored[ROW_VALUE].to_list()
    assert receipts[ROW_OCCURRENCE].unique().to_list() == [1]
    name = answers[0].json()["prediction_id"]
    traced = trace_prediction(
        SALES, name, open_registry(settings.registry_url), open_store(settings.store_url("sales")), log, tmp_path
    )
    assert traced is not None
    assert traced.receipt[ROW_VALUE] == stored[ROW_VALUE].item()
    assert set(traced.receipt["inputs"]) == set(row)


def read(log: VersionStore) -> pl.DataFrame:
    """The receipts that are published."""
    paths = [each.path for each in log.objects(MAIN, RECEIPTS_FOLDER)]
    return log.scan(MAIN, paths).collect() if paths else pl.DataFrame({"prediction_id": []})

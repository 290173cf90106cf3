"""Ingest from and to a real lakeFS server."""

from pathlib import Path

import polars as pl
import pytest

from flows.ingest import ingest
from schemas.settings import Settings
from tasks.replay.nycflights13 import land_flights
from tasks.versions.factory import open_store
from tests.services.server import new_repository, server


@pytest.mark.slow
def test_a_source_in_a_lake_is_published_to_a_lake(tmp_path: Path) -> None:
    lake = server()
    weather = next(path for path in land_flights(tmp_path, [1]) if path.parent.name == "weather")
    rows = pl.read_parquet(weather)
    landing, shared = lake.store(), new_repository()
    landing.create()
    lake.store(shared).create()
    landing.branch("deliveries")
    landing.upload("deliveries", f"in/weather/{weather.name}", weather)
    landing.commit("deliveries", "a delivery", {})
    source = f"{landing.url}/deliveries/in/weather/*"
    with Settings(home=tmp_path / "home", lake_url=f"lakefs://{shared}").active() as settings:
        (first,) = ingest("flights", source).deliveries
        (again,) = ingest("flights", str(weather)).deliveries
        store = open_store(settings.store_url("flights"))
    assert (first.status, first.input, again.status) == ("published", "weather", "already done")
    paths = [stored.path for stored in store.objects("main", "data/weather/")]
    assert store.scan("main", paths).select(pl.len()).collect().item() == rows.height

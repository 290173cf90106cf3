"""After a retraction every step goes by what is still published."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from deployments.commands import report
from flows.ingest import ingest
from flows.lifecycle import lifecycle
from flows.monitor import monitor
from flows.retract import retract
from flows.score import ScoreResult, score
from schemas.errors import NotFound
from schemas.settings import Settings
from tasks.inference import trace
from tasks.registry.factory import open_registry
from tasks.reporting.status import UseCaseStatus, use_case_status
from tasks.versions.factory import open_store
from tests.modelling_kit import START
from tests.orders_kit import ORDERS, TWINS, files_of, named, of_days

NAME = named(ORDERS)
Files = dict[str, Path]
Days = tuple[Files, Files, Files]
FIRST_DAY = (START + timedelta(days=30)).date()


@pytest.fixture
def days(settings: Settings, tmp_path: Path) -> Days:
    """A month, and two days after it; nothing of them is published yet."""
    return tuple(files_of(low, high, tmp_path / "in") for low, high in ((0, 30), (30, 31), (31, 32)))  # type: ignore[return-value]


def status(settings: Settings) -> UseCaseStatus:
    store, log = (open_store(settings.store_url(name)) for name in ("orders", "orders-log"))
    return use_case_status(ORDERS, store, log, open_registry(settings.registry_url))


def commit_of(path: Path) -> str | None:
    """The commit of main that published a file before."""
    (delivery,) = ingest(NAME, str(path)).deliveries
    assert delivery.status == "already done"
    return delivery.commit


def scored_days(scores: ScoreResult) -> list[date]:
    days = scores.scan().select(pl.col("at").dt.date().unique(maintain_order=True)).collect()
    return days.to_series().to_list()


def publish(*files: Path) -> None:
    assert [ingest(NAME, str(path)).deliveries[0].status for path in files] == ["published"] * len(files)


def test_status_and_report_show_what_is_live(settings: Settings, days: Days) -> None:
    _, first, second = days
    publish(first["orders"], second["orders"])
    retract(NAME, str(second["orders"]), "a broken scanner")
    stands = status(settings)
    assert stands.last_publish
    assert (stands.last_publish.source, stands.last_publish.commit) == (first["orders"].name, commit_of(first["orders"]))
    assert stands.watermarks["orders"]
    assert stands.watermarks["orders"].date() == FIRST_DAY
    page = report.write(NAME, settings).read_text(encoding="utf-8")
    assert [files["orders"].name in page for files in (first, second)] == [True, False]
    retract(NAME, str(first["orders"]), "a broken scanner")
    assert status(settings).last_publish is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_scoring_and_monitoring_go_by_what_is_live(settings: Settings, days: Days) -> None:
    month, first, second = days
    publish(month["prices"], month["orders"])
    assert [made.status for made in lifecycle(NAME, str(month["outcomes"])).trained] == ["promoted"]
    publish(first["prices"], first["orders"], second["prices"], second["orders"])
    retract(NAME, str(second["orders"]), "a broken scanner")
    assert scored_days(score(NAME)) == [FIRST_DAY]
    publish(second["orders"])
    assert scored_days(score(NAME)) == [FIRST_DAY + timedelta(days=1)]
    retract(NAME, str(second["orders"]), "a broken scanner, still")
    assert monitor(NAME).arrival == commit_of(first["orders"])
    assert status(settings).scored == of_days(30, 31)["orders"].height
    assert lifecycle(NAME, str(second["outcomes"])).monitored == ()
    assert [seen.arrival for seen in lifecycle(NAME, str(first["outcomes"])).monitored] == [commit_of(first["orders"])]
    for files in (first, month):
        retract(NAME, str(files["orders"]), "a broken scanner")
    with pytest.raises(NotFound, match=r"^no orders are published in [^\n]*; ingest some first$"):
        score(NAME)


@pytest.mark.parametrize("retracted", ["orders", "archive"])
def test_the_same_file_of_two_inputs_is_shown_where_it_is_live(settings: Settings, tmp_path: Path, retracted: str) -> None:
    name, files = named(TWINS), files_of(0, 1, tmp_path)
    copy = files["orders"].rename(tmp_path / "orders-here.parquet")
    twin = Path(shutil.copy(copy, tmp_path / "archive-here.parquet"))
    for path in (copy, twin):
        assert ingest(name, str(path), input=path.stem.removesuffix("-here")).deliveries[0].status == "published"
    retract(name, str(copy), "by mistake", input=retracted)
    (live,) = {"orders", "archive"} - {retracted}
    page = report.write(name, settings).read_text(encoding="utf-8")
    assert [one in page for one in (f"{live}-here.parquet", f"{retracted}-here.parquet")] == [True, False]
    store = open_store(settings.store_url(TWINS.name))
    assert [(source.input, source.name) for source in trace.sources(store, store.head())] == [(live, f"{live}-here.parquet")]

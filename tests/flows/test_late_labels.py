"""Labels shuffled, doubled and a month late: once all have come, every window's metrics are those of prompt labels."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.ingest import ingest
from flows.lifecycle import lifecycle
from flows.monitor import monitor
from flows.score import score
from flows.train import train
from schemas.results import Loop, Monitoring
from schemas.settings import Settings
from schemas.usecase import MonitorPolicy
from tasks.datasets import published
from tasks.evaluation import metrics
from tasks.monitoring import monitoring_log, window_report
from tasks.versions.factory import open_store
from tests import modelling_kit as kit

ORDERS = replace(
    kit.case(baseline="constant"), monitor=MonitorPolicy(loss_tolerance=9.0, max_age_days=9999, rejected_share=1.0)
)
CASE = f"{__name__}:ORDERS"
TRAINED, WINDOWS = 26, ((26, 33), (33, 40))


@dataclass
class Lived:
    """Trained on the first days; later orders were scored, and their labels came late and in disorder."""

    settings: Settings
    folder: Path
    loops: list[Loop] = field(default_factory=list)

    def deliver(self, name: str, frame: pl.DataFrame) -> str:
        path = self.folder / f"{name}.parquet"
        frame.write_parquet(path)
        return str(path)

    def record(self) -> list[Monitoring]:
        return monitoring_log.read_monitoring_log(open_store(self.settings.store_url("orders-log")))


def between(frame: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    return frame.filter(pl.col("at").is_between(kit.START + timedelta(first), kit.START + timedelta(last), closed="left"))


def in_disorder() -> Iterator[pl.DataFrame]:
    """First a few labels that are wrong; then all twice, a month late, shuffled over two files, strangers among them."""
    due = between(kit.tables()[2], TRAINED, kit.DAYS)
    yield due.gather_every(7).with_columns(delay=-pl.col("delay"))
    month = due.with_columns(pl.col("known_at") + timedelta(days=31))
    again = month.with_columns(pl.col("known_at") + timedelta(hours=1))
    strangers = due.head(5).with_columns(shop=pl.lit("nowhere"))
    mixed = kit.shuffled(pl.concat([month, again, strangers]), 3)
    yield mixed[mixed.height // 3 :]
    yield mixed[: mixed.height // 3]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("late")
    orders, prices, outcomes = kit.tables()
    with Settings(home=folder / "home").active() as settings:
        made = Lived(settings, folder)
        for name, frame in (("orders", orders), ("outcomes", outcomes)):
            ingest(CASE, made.deliver(f"{name}-first", between(frame, 0, TRAINED)))
        ingest(CASE, made.deliver("prices-all", prices))
        first = train(CASE)
        assert first.status == "promoted", first.why
        for number, days in enumerate(WINDOWS):
            lifecycle(CASE, made.deliver(f"orders-{number}", between(orders, *days)))
        made.loops += [lifecycle(CASE, made.deliver(f"outcomes-{n}", part)) for n, part in enumerate(in_disorder())]
        yield made


def promptly(lived: Lived, seen: Monitoring) -> dict[str, float]:
    """The metrics that the window's predictions have with the labels as they really are."""
    log = open_store(lived.settings.store_url("orders-log"))
    entry = window_report.find_predictions(log, seen.arrival)
    assert entry
    truth = kit.frame(ORDERS).drop(*ORDERS.features)
    keys = list(ORDERS.key)
    made = log.scan(entry.id, [entry.metadata["path"]]).collect().join(truth, on=keys, how="left", maintain_order="left")
    known = made.filter(pl.col("_target").is_not_null())
    return dict(metrics.evaluate(ORDERS, "0" * 64, "-", known, np.array(known["probability"])).metrics)


def test_late_labels_tell_the_same_in_the_end(lived: Lived) -> None:
    last = monitoring_log.newest_by_window(lived.record())
    assert [m.coverage for m in last] == [1.0] * len(WINDOWS)
    for seen in last:
        assert seen.realized
        assert dict(seen.realized.metrics) == pytest.approx(promptly(lived, seen), rel=1e-9)


def test_what_was_known_before_stays_on_record(lived: Lived) -> None:
    first = lived.loops[0].monitored
    assert [0 < m.coverage < 0.2 for m in first] == [True] * len(WINDOWS)
    coverages = [m.coverage for m in lived.record() if m.arrival == first[0].arrival]
    assert coverages[0] == 0
    assert coverages == sorted(coverages)
    assert len(coverages) == 4
    assert all(m.realized and m.realized.metrics != promptly(lived, m) for m in first)


def test_the_estimates_error_is_recorded_and_learned_from(lived: Lived) -> None:
    last = monitoring_log.newest_by_window(lived.record())
    assert all(abs(m.error["auc"]) < 0.5 for m in last)
    assert [m.estimate.record for m in last if m.estimate] == [0, 1]


def test_running_it_again_changes_nothing(lived: Lived) -> None:
    with lived.settings.active():
        kept = open_store(lived.settings.store_url("orders-log")).head()
        for each in monitoring_log.newest_by_window(lived.record()):
            monitor(CASE, arrival=each.arrival)
        assert open_store(lived.settings.store_url("orders-log")).head() == kept


def test_labels_of_predictions_nobody_made_have_no_window(lived: Lived) -> None:
    due = between(kit.tables()[2], *WINDOWS[0])
    strangers = due.with_columns(pl.col("at") + timedelta(days=400), known_at=pl.col("known_at") + timedelta(days=400))
    with lived.settings.active() as settings:
        arrived = ingest(CASE, lived.deliver("outcomes-strangers", strangers)).deliveries[0].commit
        assert arrived
        places = settings.store_url("orders"), settings.store_url("orders-log")
        assert window_report.windows_of(CASE, arrived, *places) == []
        assert published.data_at(places[0], None).commit == arrived


def test_of_two_predictions_of_a_row_by_one_model_the_first_is_judged(tmp_path: Path) -> None:
    """The second half of a window is scored before the prices are known, then all of it once they are."""
    orders, prices, outcomes = kit.tables()
    half = kit.START + timedelta(days=30)
    with Settings(home=tmp_path / "home").active() as settings:
        lived = Lived(settings, tmp_path)
        for name, frame in (("orders", orders), ("outcomes", outcomes)):
            ingest(CASE, lived.deliver(f"{name}-first", between(frame, 0, TRAINED)))
        known = pl.col("day") < (kit.START + timedelta(days=TRAINED)).date()
        ingest(CASE, lived.deliver("prices-first", prices.filter(known)))
        assert train(CASE).status == "promoted"
        arrival = ingest(CASE, lived.deliver("orders-new", between(orders, *WINDOWS[0]))).deliveries[0].commit
        early = score(CASE, arrival=arrival, since=half).frame()
        ingest(CASE, lived.deliver("prices-late", prices.filter(~known)))
        late = score(CASE, arrival=arrival).frame()
        ingest(CASE, lived.deliver("outcomes-new", between(outcomes, *WINDOWS[0])))
        seen = monitor(CASE)
    assert (early["at"].min(), early.height < late.height) == (late.filter(pl.col("at") >= half)["at"].min(), True)
    acted_on = pl.concat([late.filter(pl.col("at") < half), early])
    assert seen.rows == acted_on.height == late.height
    assert seen.coverage == 1
    assert seen.realized
    truth = kit.frame(ORDERS).drop(*ORDERS.features)
    first, second = (
        metrics.evaluate(ORDERS, "0" * 64, "-", known_rows, np.array(known_rows["probability"])).metrics
        for made in (acted_on, late)
        for known_rows in [made.join(truth, on=list(ORDERS.key), how="left").filter(pl.col("_target").is_not_null())]
    )
    assert dict(seen.realized.metrics) == pytest.approx(dict(first), rel=1e-9)
    assert abs(first["log_loss"] - second["log_loss"]) > 1e-3

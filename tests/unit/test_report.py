"""The report: it tells what was recorded, in a page that needs nothing else; nothing in it is taken for HTML."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import NotFound
from schemas.refs import ModelRef
from schemas.results import Monitoring
from schemas.usecase import UseCase
from schemas.usecases.flights import FLIGHTS
from schemas.verdicts import ColumnDrift, Comparison, Decision, DriftVerdict, Estimate, Evaluation
from tasks.monitoring import monitoring_log
from tasks.reporting.html import charts, page, sections
from tasks.reporting.html.data import Card, Delivery, Story, Trained, gather_report
from tasks.versions.factory import open_store
from tasks.versions.protocol import VersionStore

START = datetime(2013, 3, 1, tzinfo=UTC)
MODEL = ModelRef(registry="r", name="flights", version=2, sha256="m" * 64, run_id="run")


def seen(week: int, *, realized: float | None = 0.5, retrain: bool = False, score: float = 0.2) -> Monitoring:
    window = (START + timedelta(weeks=week), START + timedelta(weeks=week, days=6))
    metrics = {"log_loss": realized or 0, "auc": 0.7}
    made = Evaluation(model_sha256="m" * 64, data_commit="c", window=window, rows=90, blocks=7, metrics=metrics)
    column = ColumnDrift(column="dest", method="psi", score=score, threshold=0.1, importance=0.4)
    guess = {"log_loss": 0.48, "auc": 0.72}
    return Monitoring(
        use_case="flights",
        why="",
        window=window,
        arrival=f"a{week}",
        rows=100,
        model=MODEL,
        drift=DriftVerdict(status="drift", why="dest <moved>", rows=100, columns=(column,)),
        estimate=Estimate(method="cbpe", rows=100, raw=guess, metrics=guess, intervals={"log_loss": (0.4, 0.55)}, record=3),
        realized=made if realized is not None else None,
        coverage=0.9 if realized is not None else 0.0,
        decision=Decision(retrain=retrain, why="the loss & more" if retrain else "calm", loss=realized, limit=0.52),
    )


def story(case: UseCase = FLIGHTS) -> Story:
    windows = (seen(0), seen(1, retrain=True), seen(2, realized=None))
    return Story(
        case=case,
        deliveries=(Delivery(input="flights", name="f.csv", at=START, accepted=90, rejected=10, redelivered=0),),
        windows=windows,
        records=windows,
        trained=(
            Trained(version=2, outcome="promoted", why="better", at=START, rows=9),
            Trained(version=3, outcome="refused", why="worse </script>", at=START + timedelta(days=9), rows=9),
        ),
        card=Card(
            model=MODEL, tags={"penstock.why": "better"}, manifest={"rows": 9, "params": {"max_depth": 4}},
            evaluation={"metrics": {"log_loss": 0.5}, "window": ["2013-02-01", "2013-02-14"], "rows": 9},
            verdict={"checks": [{"name": "rows", "passed": True, "detail": "9 rows"}]},
            importances={"dest": 0.6, "origin": 0.4}, level={"metric": "log_loss", "value": 0.5, "low": 0.4, "high": 0.6},
        ),
    )  # fmt: skip


def test_the_page_tells_the_story_and_asks_the_network_for_nothing() -> None:
    made = page.render_report(story(), START).replace(page._plotly(), "", 1)
    assert page._plotly() not in made
    for told in ("v3 refused", "the loss &amp; more", "dest &lt;moved&gt;", "10 of 100 rows", "0.4000 to 0.6000", "9 rows"):
        assert told in made
    assert made.count("<script") == made.count("</script>") == 2
    assert not re.search(r'(?:src|href)="(?!data:)', made)


def test_the_page_compares_the_challenger_in_shadow() -> None:
    pair = Comparison(champion=2, challenger=3, rows=70, same_category=0.9, mean_difference=0.0125)
    told = replace(story(), windows=(seen(0).model_copy(update={"shadow": (pair,)}),))
    assert f"{pair.sentence}." in page.render_report(told, START)
    assert "in shadow of" not in page.render_report(story(), START)


def test_the_chart_shows_estimate_interval_limit_and_what_the_gate_did() -> None:
    names = {trace.get("name") for trace in charts.performance(story(), "log_loss")["data"]}
    assert names >= {"estimated, without labels", "realized, with labels", "90% interval", "limit", "promoted", "refused"}
    assert "limit" not in {trace.get("name") for trace in charts.performance(story(), "auc")["data"]}
    realized = next(t for t in charts.performance(story(), "log_loss")["data"] if t.get("name") == "realized, with labels")
    assert realized["y"] == [0.5, 0.5, None]


def test_the_matrix_has_a_row_a_feature_and_a_gap_where_nothing_was_judged() -> None:
    first, *rest = story().windows
    blind = first.model_copy(update={"drift": DriftVerdict(status="not enough evidence", why="", rows=1)})
    other = ColumnDrift(column="origin", method="psi", score=0.3, threshold=0.1, importance=0.1)
    both = rest[0].model_copy(update={"drift": DriftVerdict(status="drift", why="", rows=9, columns=(other,))})
    trace = charts.drift(replace(story(), windows=(blind, both, rest[1])))["data"][0]
    assert trace["y"] == ["dest", "origin"]
    assert trace["z"] == [[None, pytest.approx(2)], [pytest.approx(3), None]]


@given(st.text())
def test_no_text_ends_the_script_or_becomes_html(text: str) -> None:
    assert "<" not in page._embedded({"x": {"why": text}})
    odd = replace(story(), trained=(Trained(version=9, outcome="refused", why=text, at=START, rows=1),))
    assert f"<{'b'}>" not in sections.timeline(odd).replace("<tbody>", "")


def test_a_use_case_that_has_just_begun_has_a_page() -> None:
    empty = Story(case=FLIGHTS, deliveries=(), windows=(), records=(), trained=(), card=None)
    made = page.render_report(empty, START)
    assert "There is no champion yet" in made
    assert "const figures = {}" in made


@pytest.fixture
def log(tmp_path: Path) -> VersionStore:
    store = open_store((tmp_path / "log").as_uri())
    store.create()
    return store


def test_what_was_seen_goes_on_record_once(log: VersionStore) -> None:
    for _ in range(2):
        monitoring_log.append_monitoring(FLIGHTS, log, seen(0, realized=None))
        head = log.head()
    monitoring_log.append_monitoring(
        FLIGHTS, log, seen(0, realized=None).model_copy(update={"why": "later", "current": False})
    )
    assert log.head() == head  # the same evidence
    monitoring_log.append_monitoring(FLIGHTS, log, seen(0))
    monitoring_log.append_monitoring(FLIGHTS, log, seen(1))
    assert [(m.arrival, m.realized is not None) for m in monitoring_log.read_monitoring_log(log)] == [
        ("a0", False),
        ("a0", True),
        ("a1", True),
    ]
    assert [
        (m.arrival, m.realized is not None) for m in monitoring_log.newest_by_window(monitoring_log.read_monitoring_log(log))
    ] == [
        ("a0", True),
        ("a1", True),
    ]


def test_sums_that_differ_in_their_last_bits_are_the_same_evidence(log: VersionStore) -> None:
    monitoring_log.append_monitoring(FLIGHTS, log, seen(0, realized=0.5123456789012345))
    head = log.head()
    monitoring_log.append_monitoring(FLIGHTS, log, seen(0, realized=0.5123456789012346))
    assert log.head() == head


def test_without_data_there_is_nothing_to_report(tmp_path: Path) -> None:
    from tasks.registry.factory import open_registry

    nothing = open_store((tmp_path / "none").as_uri())
    with pytest.raises(NotFound, match="penstock ingest flights"):
        gather_report(FLIGHTS, nothing, nothing, open_registry(f"sqlite:///{tmp_path}/mlflow.db"))

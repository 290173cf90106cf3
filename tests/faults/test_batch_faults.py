"""Scoring of many rows: in parts, killed at every step, by two runs at once, and the same whatever happened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import Refused
from schemas.refs import Commit, DataRef
from schemas.results import RowsToScore, Scores
from schemas.score_columns import internal_names
from schemas.settings import Settings
from tasks.datasets import published as datasets
from tasks.inference import batch, frame_prediction, prediction_log, prediction_store
from tasks.maintenance import retention
from tasks.monitoring import monitoring_log, scored_window, window_report
from tasks.parsing import parse
from tasks.registry.factory import open_registry
from tasks.versions.factory import open_store
from tests import serving_cases
from tests.faults.children import killed, run, said, together
from tests.serving_kit import LIMITS, promote, publish, record

NAME = "tests.serving_cases:PARCELS"
ROWS, PART = 400, 64
POINTS = ["predictions.after_part", "predictions.after_commit", "predictions.after_merge"]
SCRIPT = """
import sys
from schemas.refs import DataRef
from schemas.results import RowsToScore
from schemas.settings import Settings
from tasks import datasets, inference, parsing
from tasks.inference import prediction_store
from tests.serving_kit import LIMITS
from pathlib import Path
prediction_store.ROWS = 64
settings = Settings(home=Path(sys.argv[1]))
url, registry, log = settings.store_url("parcels"), settings.registry_url, settings.store_url("parcels-log")
name, data = "tests.serving_cases:PARCELS", datasets.data_at(settings.store_url("parcels"), None)
if len(sys.argv) > 3:
    print("ready", flush=True)
    input()
if sys.argv[2]:
    scores = inference.score_file(name, data, parsing.fingerprint(Path(sys.argv[2])), registry, log, "", LIMITS)
else:
    scores = inference.score_commit(name, data, RowsToScore(), registry, log, "")
print(scores.status, scores.rows)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A champion of the parcels, whose rows pass in pieces of 64."""
    monkeypatch.setattr(prediction_store, "ROWS", PART)
    settings = Settings(home=tmp_path / "home")
    publish(settings, NAME, "parcels", serving_cases.rows(ROWS), tmp_path / "sources")
    promote(settings, record(settings, NAME, 12))
    return settings


def score(settings: Settings, file: Path | None = None) -> Scores:
    url, log = settings.store_url("parcels"), settings.store_url("parcels-log")
    data = datasets.data_at(url, None)
    if file is None:
        return batch.score_commit(NAME, data, RowsToScore(), settings.registry_url, log, "")
    return batch.score_file(NAME, data, parse.fingerprint(file), settings.registry_url, log, "", LIMITS)


def made(scores: Scores) -> pl.DataFrame:
    assert scores.predictions
    log = open_store(scores.predictions.store)
    return prediction_store.published_predictions(log, log.get(scores.predictions.commit)).collect()


def fresh(folder: Path, rows: pl.DataFrame | None = None, name: str = "fresh.csv") -> Path:
    """A file of parcels whose outcome nobody knows; two of them break the contract."""
    frame = serving_cases.rows(ROWS, seed=5) if rows is None else rows
    spoilt = pl.when(pl.col("id").is_in([3, 7])).then(0).otherwise(pl.col("pieces")).cast(pl.Int8)
    frame.with_columns(spoilt.alias("pieces")).drop("fate", "minutes").write_csv(folder / name)
    return folder / name


def test_many_parts_hold_what_one_frame_would(home: Settings) -> None:
    scores = score(home)
    found = made(scores)
    assert (scores.status, scores.rows, found.height) == ("published", ROWS, ROWS)
    assert scores.path is not None
    assert len(prediction_store.prediction_paths(open_store(home.store_url("parcels-log")), "main", scores.path)) == -(
        -ROWS // PART
    )
    assert dict(found["category"].value_counts().rows()) == scores.categories
    champion = open_registry(home.registry_url).champion("parcels")
    assert champion
    assert scores.data
    whole = frame_prediction.predict_frame(serving_cases.PARCELS, champion, scores.data, serving_cases.rows(ROWS))
    changing = ("scored_at", "flow_run")
    assert found.drop(changing).equals(whole.drop(changing))
    assert score(home).model_dump(exclude={"status", "why"}) == scores.model_dump(exclude={"status", "why"})
    assert score(home).status == "already done"
    ref = DataRef(store=home.store_url("parcels"), commit=scores.data.commit)
    entry = open_store(home.store_url("parcels-log")).get(scores.predictions.commit)  # type: ignore[union-attr]
    with scored_window.window(serving_cases.PARCELS, ref, open_store(home.store_url("parcels-log")), entry) as window:
        assert window.height == ROWS
        assert window.rows.select(internal_names(serving_cases.PARCELS.target)).collect().drop_nulls().height == ROWS


def test_a_file_is_audited_scored_and_not_ingested(home: Settings, tmp_path: Path) -> None:
    before = open_store(home.store_url("parcels")).head()
    scores = score(home, fresh(tmp_path))
    assert scores.status == "published", scores.why
    assert scores.audit
    assert (scores.audit.accepted, scores.audit.rejected, scores.rows) == (ROWS - 2, 2, ROWS - 2)
    log = open_store(home.store_url("parcels-log"))
    assert scores.rejected
    rejected = log.scan("main", prediction_store.prediction_paths(log, "main", scores.rejected)).collect()
    assert rejected["_row"].to_list() == [3, 7]
    found = made(scores)
    assert found["inputs"].struct.field("id").to_list() == [n for n in range(1, ROWS + 1) if n not in (3, 7)]
    for table in (found.unnest("inputs", separator="."), rejected):
        assert not {"person", "inputs.person", "_reasons", "_untyped"} & set(table.columns)  # private, or may quote it
    again = score(home, fresh(tmp_path, name="renamed.csv"))
    assert (again.status, again.rows, again.audit) == ("already done", ROWS - 2, scores.audit)
    assert prediction_log.find_receipt(log, found["prediction_id"][9])
    dearer = serving_cases.rows(ROWS, seed=6)  # other rows of the same keys
    assert not set(made(score(home, fresh(tmp_path, dearer, "other.csv")))["prediction_id"]) & set(found["prediction_id"])
    assert open_store(home.store_url("parcels")).head() == before


def test_old_predictions_are_let_go_once_their_window_is_on_record(home: Settings, tmp_path: Path) -> None:
    scored, filed = score(home), score(home, fresh(tmp_path))
    url = home.store_url("parcels-log")
    log = open_store(url)
    assert retention.expire_logs(url, 1, dry_run=False) == ()
    would = retention.expire_logs(url, 0, dry_run=True)
    assert [found.what for found in would] == ["kept", "let go"]
    assert "not monitored yet" in would[0].why
    assert len(prediction_store.prediction_paths(log, "main", "predictions/")) > (kept := would[0].objects)
    assert retention.expire_logs(url, 0, dry_run=False) == would
    assert len(prediction_store.prediction_paths(log, "main", "predictions/")) == kept
    assert prediction_store.prediction_paths(log, "main", prediction_store.REJECTED) == []
    name = made(filed)["prediction_id"][0]
    assert prediction_log.find_receipt(log, name) is None
    assert "were let go" in retention.expired_summary(log)

    seen = window_report.monitor_window(
        NAME, datasets.data_at(home.store_url("parcels"), None), None, home.registry_url, url, str(tmp_path)
    )
    assert seen.rows == ROWS
    assert [found.what for found in retention.expire_logs(url, 0, dry_run=False)] == ["let go"]
    assert prediction_store.prediction_paths(log, "main", "predictions/") == []
    assert [each.rows for each in monitoring_log.read_monitoring_log(log)] == [ROWS]  # what was seen of them stays
    assert score(home).status == "already done"
    assert made(scored).height == ROWS  # the history holds them
    assert retention.expire_logs(url, 0, dry_run=False) == ()


def test_a_file_that_breaks_its_contract_too_often_is_refused(home: Settings, tmp_path: Path) -> None:
    scores = score(home, fresh(tmp_path, serving_cases.rows(10)))
    assert (scores.status, scores.predictions) == ("rejected", None)
    assert "more than the share" in scores.why
    empty = score(home, fresh(tmp_path, serving_cases.rows(0)))
    assert empty.status == "skipped"
    (tmp_path / "other.csv").write_text("id,colour\n1,blue\n")
    with pytest.raises(Refused, match="missing: 'shop'"):
        score(home, tmp_path / "other.csv")
    assert open_store(home.store_url("parcels-log")).branches("score/") == []


@pytest.mark.parametrize("of_file", [False, True], ids=["commit", "file"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_the_next_run_ends_as_if_nothing_had_been(
    home: Settings, tmp_path: Path, point: str, of_file: bool
) -> None:
    file = str(fresh(tmp_path)) if of_file else ""
    assert killed(run(SCRIPT, str(home.root), file, kill_point=point))
    log = open_store(home.store_url("parcels-log"))
    [branch] = log.branches("score/")
    held = {each.path for each in log.objects(branch, prediction_store.PREDICTIONS_FOLDER, staged=True)}
    assert held
    rows = ROWS - 2 * of_file
    assert said(run(SCRIPT, str(home.root), file)) == f"{'already done' if 'merge' in point else 'published'} {rows}"
    published = {each.path for each in log.objects("main", prediction_store.PREDICTIONS_FOLDER)}
    assert held <= published  # what the killed run made is not made again
    assert log.scan("main", sorted(published)).collect()["prediction_id"].n_unique() == rows
    assert said(run(SCRIPT, str(home.root), file)) == f"already done {rows}"


def test_two_runs_at_once_publish_once(home: Settings) -> None:
    done = together(SCRIPT, [[str(home.root), "", "wait"]] * 2)
    told = [each.stdout.splitlines()[-1] if each.returncode == 0 else each.stderr.splitlines()[-1] for each in done]
    assert f"published {ROWS}" in told, told
    assert all(each in (f"published {ROWS}", f"already done {ROWS}") or "StaleCheck" in each for each in told), told
    assert told.count(f"published {ROWS}") == 1
    log = open_store(home.store_url("parcels-log"))
    found = log.scan("main", [each.path for each in log.objects("main", prediction_store.PREDICTIONS_FOLDER)]).collect()
    assert (found.height, found["prediction_id"].n_unique()) == (ROWS, ROWS)
    assert score(home).status == "already done"


def test_a_part_added_between_look_and_commit_is_not_published_twice(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_store(home.store_url("parcels-log"))
    log.create()
    rows = serving_cases.rows(PART)
    parts = prediction_store.PredictionWriter(log, "c" * 32, "d" * 12, tmp_path)
    other = prediction_store.PredictionWriter(log, "c" * 32, "d" * 12, tmp_path)
    parts.add(0, rows, None)
    commit, late = log.commit, [rows.reverse(), rows.head(3)]

    def interrupted(branch: str, message: str, metadata: Mapping[str, str]) -> Commit:
        if late:
            other.add(0, late.pop(), None)
        return commit(branch, message, metadata)

    monkeypatch.setattr(log, "commit", interrupted)
    published = parts.publish("predictions", {"cause": "c"})
    assert published
    assert not late
    [held] = log.objects("main", prediction_store.PREDICTIONS_FOLDER)
    assert (held.path, held.metadata["rows"]) == (published.metadata["path"], published.metadata["rows"])

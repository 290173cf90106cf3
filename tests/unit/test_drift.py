"""Drift: Evidently's scores of all rows, from small frames; and never "no drift" where nothing could be seen."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from schemas import score_columns
from schemas.errors import PenstockError, UsageError
from schemas.usecase import MonitorPolicy, UseCase
from schemas.usecases.flights import FLIGHTS
from tasks.features.profiles import reference_profile
from tasks.monitoring import drift as module
from tasks.monitoring.drift import measure_drift, method_for

EVEN = np.random.default_rng(3).random(2000)
N = 20_000
METHODS = ("wasserstein", "psi", "jensenshannon")


def rows(moved: float, n: int = N, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    labels = [f"city {i}" for i in range(104)]
    weights = np.exp(rng.normal(0, moved, 104)) / np.arange(1, 105)
    numbers = {
        "normal": rng.normal(moved, 1, n),
        "pareto": (rng.pareto(2.2, n) + 1) * (1 + moved),
        "tied": rng.poisson(3 + moved, n).astype(float),
        "mixed": np.where(rng.random(n) < 0.7 - moved, 0, rng.exponential(1, n)),
        "many ties": rng.poisson(400 * (1 + moved / 10), n).astype(float),
        "holes": np.where(rng.random(n) < 0.3, np.nan, rng.lognormal(moved, 1, n)),
        "few rows": np.where(rng.random(n) < 0.97, np.nan, rng.normal(moved, 1, n)),
    }
    return pl.DataFrame(numbers).with_columns(
        pl.all().fill_nan(None),
        pl.Series("city", rng.choice(labels, n, p=weights / weights.sum())).cast(pl.Enum(labels)),
        pl.Series("yes", rng.random(n) < 0.3 + moved),
    )


def case(frame: pl.DataFrame, **policy: Any) -> UseCase:
    return replace(FLIGHTS, features={name: pl.col(name) for name in frame.columns}, monitor=MonitorPolicy(**policy))


def on_all_rows(before: pl.DataFrame, after: pl.DataFrame, method: str) -> Mapping[str, float]:
    """Evidently's own scores, without compression."""
    report, dataset, definition, value_drift = module._evidently()
    numeric = [name for name, dtype in before.schema.items() if dtype.is_numeric()]
    other = [name for name in before.columns if name not in numeric]
    roles = definition(numerical_columns=numeric, categorical_columns=other)
    sides = [frame.with_columns(pl.col(other).cast(pl.String)).to_pandas() for frame in (after, before)]
    metrics = [value_drift(column=name, method=method_for(method, numeric=name in numeric)) for name in before.columns]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = report(metrics).run(*(dataset.from_pandas(side, roles) for side in sides))
    return {metric["config"]["column"]: metric["value"] for metric in run.dict()["metrics"]}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_scores_are_those_of_evidently_on_all_rows(method: str, moved: float, tmp_path: Path) -> None:
    before, after = rows(0.0), rows(moved, seed=2)
    stored = json.loads(json.dumps(reference_profile(case(before), before)))
    verdict = measure_drift(case(before, method=method), stored, after, report=tmp_path / "report.html")
    found = {column.column: column.score for column in verdict.columns}
    assert found == pytest.approx(on_all_rows(before, after, method), abs=0.005)
    assert verdict.status == ("drift" if moved else "no drift")


BEFORE = rows(0.0, 2000).select("normal", "tied", "holes", "yes")
CASE = case(BEFORE)
STORED = reference_profile(CASE, BEFORE)
GAINS = {"normal": 30.0, "holes": 60.0, "yes": 10.0}


def test_scores_and_target_are_compared_where_they_are_there() -> None:
    stored = reference_profile(CASE, BEFORE, pl.Series(EVEN < 0.2), EVEN)
    window = BEFORE.with_columns(score_columns.to_columns(score_columns.internal_names(CASE.target), EVEN**2))
    verdict = measure_drift(CASE, stored, window)
    assert [c.column for c in verdict.columns if c.drifted] == ["_score"]
    assert "_target" not in {c.column for c in verdict.columns}
    assert measure_drift(CASE, stored, BEFORE.with_columns(_target=pl.lit(None, pl.Boolean))).status == "no drift"


def test_impact_is_the_share_of_the_gain_in_what_drifted() -> None:
    window = BEFORE.with_columns(normal=pl.col("normal") + 5, tied=pl.col("tied") + 9)
    verdict = measure_drift(CASE, STORED, window, GAINS)
    assert verdict.impact == pytest.approx(0.3)
    assert verdict.columns[0].column == "holes"
    assert verdict.why.startswith("2 of 4 columns drifted, with 30% of the model's gain: normal (")


def test_a_share_of_nulls_that_moved_is_drift() -> None:
    window = BEFORE.with_columns(holes=pl.when(pl.col("normal") > 0).then(pl.col("holes")))
    verdict = measure_drift(CASE, STORED, window)
    assert verdict.status == "drift"
    assert "null 6" in verdict.why


@pytest.mark.parametrize(
    ("window", "why"),
    [
        (BEFORE.clear(), "the window has 0 rows, fewer than 200"),
        (BEFORE.head(199), "the window has 199 rows"),
        (BEFORE.drop("yes"), "yes (missing from the window)"),
        (BEFORE.with_columns(tied=None), "tied (all null in the window)"),
        (BEFORE.with_columns(tied=pl.lit(float("nan"))), "tied (all null in the window)"),
        (BEFORE.with_columns(tied=pl.lit("three")), "tied (numbers in the reference, categories in the window)"),
    ],
)
def test_what_cannot_be_seen_is_not_enough_evidence(window: pl.DataFrame, why: str) -> None:
    verdict = measure_drift(CASE, STORED, window)
    assert verdict.status == "not enough evidence"
    assert why in verdict.why


def test_drift_elsewhere_is_still_told_and_so_is_what_was_not_judged() -> None:
    verdict = measure_drift(CASE, STORED, BEFORE.drop("yes").with_columns(normal=pl.col("normal") + 5))
    assert (verdict.status, dict(verdict.unscored)) == ("drift", {"yes": "missing from the window"})
    assert "not judged: yes" in verdict.why


@pytest.mark.parametrize("stored", [None, {}])
def test_a_model_without_reference_gives_not_enough_evidence(stored: Mapping[str, Any] | None) -> None:
    assert measure_drift(CASE, stored, BEFORE).status == "not enough evidence"


def test_a_reference_too_small_or_without_the_feature_is_not_enough_evidence() -> None:
    assert "the reference has 100 rows" in measure_drift(CASE, reference_profile(CASE, BEFORE.head(100)), BEFORE).why
    part = {**STORED, "columns": {k: v for k, v in STORED["columns"].items() if k != "yes"}}
    assert "yes (not in the reference)" in measure_drift(CASE, part, BEFORE).why
    empty = reference_profile(CASE, BEFORE.with_columns(tied=pl.lit(None, pl.Float64)))
    assert "tied (all null in the reference)" in measure_drift(CASE, empty, BEFORE).why


def test_one_category_only_is_drift_or_not_enough_evidence() -> None:
    one = BEFORE.with_columns(yes=pl.lit(True))
    assert measure_drift(CASE, STORED, one).status == "drift"
    verdict = measure_drift(CASE, reference_profile(CASE, one), one)
    assert (verdict.status, verdict.why) == ("not enough evidence", "not judged: yes (one category only)")


def test_an_unknown_format_of_the_reference_is_an_error() -> None:
    with pytest.raises(UsageError, match="format_version 7"):
        measure_drift(CASE, {**STORED, "format_version": 7}, BEFORE)


def test_the_report_is_one_whole_page_in_place_of_the_last(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "march.html"
    path.parent.mkdir()
    path.write_text("old")
    verdict = measure_drift(CASE, STORED, BEFORE, GAINS, report=path)
    page = path.read_text()
    assert verdict.report == str(path)
    assert "flights: window of 2,000 rows against the 2,000 the model was trained on" in page
    assert page.rpartition("</html>")[2].strip().startswith("<!-- ")
    assert all(name in page for name in BEFORE.columns)
    assert list(path.parent.iterdir()) == [path]
    assert verdict.model_copy(update={"report": None}) == measure_drift(CASE, STORED, BEFORE, GAINS)


def test_a_report_that_cannot_be_written_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "march.html"
    path.write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        measure_drift(CASE, STORED, BEFORE, report=path)
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    measure_drift(CASE, STORED, BEFORE)
    measure_drift(CASE, STORED, BEFORE, report=tmp_path / "report.html")
    assert capsys.readouterr() == ("", "")


def test_a_column_that_evidently_loses_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_report, *rest = module._evidently()
    monkeypatch.setattr(module, "_evidently", lambda: (lambda metrics: make_report(metrics[1:]), *rest))
    with pytest.raises(PenstockError, match="no score for normal"):
        measure_drift(CASE, STORED, BEFORE, report=tmp_path / "march.html")
    assert not list(tmp_path.iterdir())


def test_a_page_of_the_same_window_is_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, page = rows(0, 2000), tmp_path / "drift.html"
    known = reference_profile(case(before), before)
    first = measure_drift(case(before), known, rows(0.5, 2000, 2), report=page)
    drawn, written = module._report_scores, page.read_bytes()
    times: list[int] = []
    monkeypatch.setattr(module, "_report_scores", lambda *given: times.append(1) or drawn(*given))
    assert measure_drift(case(before), known, rows(0.5, 2000, 2), report=page) == first
    assert times == []
    assert page.read_bytes() == written
    assert measure_drift(case(before), known, rows(0.5, 2000, 3), report=page) != first
    assert measure_drift(case(before, threshold=0.3), known, rows(0.5, 2000, 3), report=page).columns[0].threshold == 0.3
    page.write_bytes(b"torn")
    assert measure_drift(case(before), known, rows(0.5, 2000, 2), report=page) == first
    assert len(times) == 3


# By hand: what a verdict says of its columns


def test_as_many_rows_as_the_policy_asks_for_are_enough() -> None:
    few = BEFORE.head(200)
    assert measure_drift(CASE, reference_profile(CASE, few), few).status == "no drift"
    assert measure_drift(CASE, STORED, BEFORE.head(200)).rows == 200
    assert "fewer than" not in measure_drift(CASE, STORED, BEFORE.head(200)).why
    assert "the reference has 199 rows" in measure_drift(CASE, reference_profile(CASE, BEFORE.head(199)), BEFORE).why


def test_gains_are_shares_and_a_negative_one_counts_as_none() -> None:
    gains = {"normal": 30.0, "holes": 90.0, "tied": -60.0}
    found = measure_drift(CASE, STORED, BEFORE, gains).columns
    assert [(c.column, c.importance) for c in found] == [("holes", 0.75), ("normal", 0.25), ("tied", 0.0), ("yes", 0.0)]
    assert {c.importance for c in measure_drift(CASE, STORED, BEFORE, {"normal": 0.0}).columns} == {0.0}


def test_features_stand_by_their_gain_and_scores_and_target_after_all_that_have_one() -> None:
    stored = reference_profile(CASE, BEFORE, pl.Series(EVEN < 0.2), EVEN)
    scores = score_columns.to_columns(score_columns.internal_names(CASE.target), EVEN)
    window = BEFORE.with_columns(scores, _target=pl.Series(EVEN < 0.2))
    columns = measure_drift(CASE, stored, window, GAINS | {"tied": 5.0}).columns
    assert [c.column for c in columns[:4]] == ["holes", "normal", "yes", "tied"]
    assert {c.column: c.importance for c in columns[4:]} == {"_target": 0.0, "_score": 0.0}


def test_of_columns_without_a_gain_the_one_that_moved_most_comes_first() -> None:
    window = BEFORE.with_columns(normal=pl.col("normal") + 1, holes=pl.col("holes") + 50)
    assert measure_drift(CASE, STORED, window).why.startswith("2 of 4 columns drifted: holes (")


def test_each_column_is_told_with_its_method_threshold_and_nulls() -> None:
    window = BEFORE.with_columns(tied=pl.when(pl.int_range(pl.len()) % 4 != 0).then(pl.col("tied")))
    found = {c.column: c for c in measure_drift(case(BEFORE, threshold=0.3), STORED, window).columns}
    assert {name: c.method for name, c in found.items()} == {
        "normal": "wasserstein",
        "tied": "wasserstein",
        "holes": "wasserstein",
        "yes": "jensenshannon",
    }
    assert {c.threshold for c in found.values()} == {0.3}
    assert (found["tied"].null_share, found["tied"].reference_null_share) == (0.25, 0.0)
    holes = BEFORE["holes"].null_count() / 2000
    assert (found["holes"].null_share, found["holes"].reference_null_share) == (holes, holes)
    assert found["normal"].score == 0.0
    psi = measure_drift(case(BEFORE, method="psi"), STORED, window).columns
    assert {c.method for c in psi} == {"psi"}


def test_a_share_of_nulls_that_moved_by_the_threshold_is_told_and_by_less_is_not() -> None:
    for every, says in ((4, "tied (0.0"), (8, "")):
        window = BEFORE.with_columns(tied=pl.when(pl.int_range(pl.len()) % every != 0).then(pl.col("tied")))
        verdict = measure_drift(case(BEFORE, threshold=0.25), STORED, window)
        assert (says in verdict.why) is bool(says) or verdict.status == "no drift"
        assert (", null 25% instead of 0%)" in verdict.why) is (every == 4)
        assert verdict.status == ("drift" if every == 4 else "no drift")


def test_the_three_drifted_columns_that_matter_most_are_named() -> None:
    moved = {name: pl.col(name) + 5 for name in ("normal", "tied", "holes")}
    three = measure_drift(CASE, STORED, BEFORE.with_columns(**moved), GAINS)
    assert three.why.startswith("3 of 4 columns drifted, with 90% of the model's gain: holes (")
    assert [three.why.index(name) for name in ("holes (", "normal (", "tied (")] == sorted(
        three.why.index(name) for name in ("holes (", "normal (", "tied (")
    )
    assert "..." not in three.why
    four = measure_drift(CASE, STORED, BEFORE.with_columns(**moved, yes=pl.lit(True)), GAINS)
    assert four.why.startswith("4 of 4 columns drifted, with 100% of the model's gain: holes (")
    assert "tied (" not in four.why  # it has no gain
    assert four.why.endswith(", ...")


def test_no_drift_names_the_column_that_moved_most() -> None:
    window = BEFORE.with_columns(normal=pl.col("normal") + 0.05)
    verdict = measure_drift(CASE, STORED, window)
    moved = max(c.score for c in verdict.columns)
    assert verdict.why == f"none of 4 columns drifted; the most moved is normal ({moved:.2f}), below 0.1"


def test_no_column_at_all_is_not_enough_evidence() -> None:
    verdict = measure_drift(CASE, STORED, BEFORE.select(pl.lit(1).alias("other").repeat_by(2000).explode()))
    assert verdict.status == "not enough evidence"
    assert set(verdict.unscored.values()) == {"missing from the window"}
    bare = replace(CASE, features={})
    assert measure_drift(bare, reference_profile(bare, BEFORE), BEFORE).why == "no column to compare"


def test_a_category_that_stays_single_is_not_judged_and_one_that_becomes_single_has_drifted() -> None:
    """The other columns are judged all the same."""
    one = BEFORE.with_columns(yes=pl.lit(True))
    verdict = measure_drift(CASE, reference_profile(CASE, one), one)
    assert [c.column for c in verdict.columns] == ["normal", "tied", "holes"]
    assert dict(verdict.unscored) == {"yes": "one category only"}
    assert [c.column for c in measure_drift(CASE, reference_profile(CASE, one), BEFORE).columns if c.drifted] == ["yes"]

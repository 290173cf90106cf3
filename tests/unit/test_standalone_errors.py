"""Every standalone function says in one line what is wrong with a type, a column or an empty frame."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect import Task

from schemas.errors import NotEnoughEvidence, PenstockError, Refused, UsageError
from tasks import standalone
from tests.standalone_kit import Parcel, parcels

STUB = ast.parse(Path(standalone.__file__).with_suffix(".pyi").read_text())
NAMES = [name.name for line in STUB.body if isinstance(line, ast.ImportFrom) for name in line.names]
TASKS = [name for name in NAMES if name.endswith("_task")]
ROWS = parcels()
SHIPPED = ROWS.select("number", "weight", "colour", left="number")


@cache
def model() -> standalone.TrainedModel:
    return standalone.train_xgboost(ROWS, "late", time="at", features=["weight", "colour"], rounds=3)


@cache
def calibration() -> standalone.Calibration:
    return standalone.fit_calibration(ROWS, "late", "p")


@cache
def estimator() -> dict[str, Any]:
    return standalone.fit_estimator(ROWS, "delay", "p", features=["weight"])


def audit_file(rows: pl.DataFrame) -> Any:
    path = Path(f"{rows.height}-{len(rows.columns)}.csv")
    rows.write_csv(path)
    return standalone.audit_file(path, Parcel)


# Per function: a call on a frame, rows that suit it, a column that it needs, a column and a type that it does not take.
Call = Callable[[pl.DataFrame], Any]
CASES: dict[str, tuple[Call, pl.DataFrame, str, tuple[str, pl.Expr]]] = {
    "audit_frame": (lambda f: standalone.audit_frame(f, Parcel), SHIPPED, "colour", ("colour", pl.lit(1))),
    "audit_file": (audit_file, SHIPPED, "colour", ("colour", pl.lit("pink"))),
    "profile_frame": (lambda f: standalone.profile_frame(f, ["weight"]), ROWS, "weight", ("weight", pl.col("at"))),
    "measure_drift": (lambda f: standalone.measure_drift(SHIPPED, f), SHIPPED, "colour", ("colour", pl.lit(1))),
    "train_xgboost": (
        lambda f: standalone.train_xgboost(f, "late", time="at", features=["weight"]),
        ROWS,
        "weight",
        ("weight", pl.col("at")),
    ),
    "predict_frame": (lambda f: standalone.predict_frame(model(), f), ROWS, "colour", ("colour", pl.lit(1))),
    "evaluate_scores": (lambda f: standalone.evaluate_scores(f, "late", "p"), ROWS, "p", ("p", pl.lit("high"))),
    "gate_scores": (lambda f: standalone.gate_scores(f, "late", "p", "q"), ROWS, "q", ("q", pl.lit("high"))),
    "fit_estimator": (
        lambda f: standalone.fit_estimator(f, "delay", "p", features=["weight"]),
        ROWS,
        "weight",
        ("weight", pl.col("at")),
    ),
    "estimate_performance": (
        lambda f: standalone.estimate_performance(estimator(), f, "p"),
        ROWS,
        "weight",
        ("weight", pl.lit("heavy")),
    ),
    "fit_calibration": (lambda f: standalone.fit_calibration(f, "late", "p"), ROWS, "late", ("late", pl.col("delay"))),
    "apply_calibration": (
        lambda f: standalone.apply_calibration(f, calibration(), "p"),
        ROWS,
        "p",
        ("p", pl.lit("high")),
    ),
    "explain_model": (lambda f: standalone.explain_model(model(), f), ROWS, "weight", ("weight", pl.lit("heavy"))),
}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(call: Call, rows: pl.DataFrame, kind: type[PenstockError]) -> str:
    with pytest.raises(kind) as refused:
        call(rows)
    assert type(refused.value) in (UsageError, NotEnoughEvidence, Refused)
    assert refused.value.__context__ is None or refused.value.__suppress_context__
    said = str(refused.value)
    assert "\n" not in said
    assert 10 < len(said) < 500
    return said


def test_every_function_has_a_task_and_a_case() -> None:
    assert sorted(CASES) == sorted(name.removesuffix("_task") for name in TASKS)
    for name in TASKS:
        made = getattr(standalone, name)
        assert isinstance(made, Task)
        assert made.fn is getattr(standalone, name.removesuffix("_task"))
        assert (made.name, made.persist_result) == (name.removesuffix("_task"), False)
    assert len({getattr(standalone, name).task_key for name in TASKS}) == len(TASKS)


@pytest.mark.parametrize("name", CASES)
def test_the_rows_that_suit_it_go_through(name: str) -> None:
    call, rows, *_ = CASES[name]
    assert call(rows) is not None


@pytest.mark.parametrize("name", CASES)
def test_a_missing_column_is_one_line_that_names_it(name: str) -> None:
    call, rows, needed, _ = CASES[name]
    said = refusal(call, rows.drop(needed), Refused if name == "audit_file" else UsageError)
    assert repr(needed) in said


@pytest.mark.parametrize("name", [name for name in CASES if name != "audit_file"])
def test_a_wrong_type_is_one_line_that_names_the_column(name: str) -> None:
    call, rows, _, (column, value) = CASES[name]
    said = refusal(call, rows.with_columns(value.alias(column)), UsageError)
    assert repr(column) in said


def test_a_wrong_type_in_a_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "parcels.parquet"
    SHIPPED.with_columns(colour=pl.lit(1)).write_parquet(path)
    said = refusal(lambda _: standalone.audit_file(path, Parcel), SHIPPED, Refused)
    assert "'colour' is Int32, not String" in said


@pytest.mark.parametrize("name", CASES)
def test_a_frame_without_rows_is_one_line(name: str) -> None:
    call, rows, *_ = CASES[name]
    assert "no rows" in refusal(call, rows.clear(), NotEnoughEvidence)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("audit_file", "predict_frame")])
@pytest.mark.parametrize("frame", [ROWS.lazy(), ROWS.to_pandas(), {"p": [1]}], ids=["lazy", "pandas", "dict"])
def test_another_kind_of_frame_is_one_line(name: str, frame: Any) -> None:
    call, *_ = CASES[name]
    assert "a polars DataFrame is wanted" in refusal(call, frame, UsageError)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: standalone.evaluate_scores(ROWS, "colour", "p"), "'colour' is multiclass: name scores as {class: column}"),
        (
            lambda: standalone.evaluate_scores(ROWS, "late", {"yes": "p", "no": "q"}),
            "holds 'false', which is none of yes, no",
        ),
        (lambda: standalone.evaluate_scores(ROWS, "late", "weight"), "no probabilities"),
        (lambda: standalone.evaluate_scores(ROWS, "at", "p"), "label 'at' is Datetime"),
        (lambda: standalone.evaluate_scores(ROWS, "late", "p", time="weight"), "the time 'weight' is Float64"),
        (lambda: standalone.evaluate_scores(ROWS, "delay", "p", kind="binary"), "compare it with the positive class"),  # type: ignore[arg-type]
        (lambda: standalone.evaluate_scores(ROWS, "late", "p", kind="ordinal"), "kind is 'ordinal'"),  # type: ignore[arg-type]
        (lambda: standalone.evaluate_scores(ROWS, "late", "p", level=90), "level is 90"),
        (
            lambda: standalone.gate_scores(ROWS, "late", "p", "q", metric="rmse"),
            "metric is 'rmse'; it can be 'log_loss', 'auc'",
        ),
        (lambda: standalone.gate_scores(ROWS, "late", "p", "q", rule="equality"), "rule is 'equality'"),  # type: ignore[arg-type]
        (lambda: standalone.gate_scores(ROWS, "late", "p", "q", alpha=5), "alpha is 5"),
        (lambda: standalone.gate_scores(ROWS, "late", "p", {"a": "q", "b": "p"}), "the same classes"),
        (lambda: standalone.fit_calibration(ROWS, "delay", "p"), "calibration is for classes"),
        (lambda: standalone.apply_calibration(ROWS, calibration(), {"a": "p"}), "the calibration is binary"),
        (lambda: standalone.apply_calibration(ROWS, calibration(), "weight"), "no probabilities"),
        (lambda: standalone.estimate_performance({}, ROWS, "p"), "made by fit_estimator"),
        (lambda: standalone.estimate_performance(estimator(), ROWS, {"a": "p"}), "the estimator's classes are []"),
        (lambda: standalone.predict_frame(model(), ROWS.with_columns(probability=1)), "'probability' is there already"),
        (lambda: standalone.audit_frame(SHIPPED, Parcel, max_rejected_share=5), "max_rejected_share is 5"),
        (lambda: standalone.audit_file("nowhere.csv", Parcel), "cannot read 'nowhere.csv'"),
    ],
)
def test_arguments_that_fit_nothing_are_one_line(call: Callable[[], Any], says: str) -> None:
    assert says in refusal(lambda _: call(), ROWS, UsageError)


def test_labels_of_one_class_are_no_evidence_for_a_calibration() -> None:
    with pytest.raises(NotEnoughEvidence, match="one class only"):
        standalone.fit_calibration(ROWS.with_columns(late=True), "late", "p")
    with pytest.raises(NotEnoughEvidence, match="none of 3,000 has a label"):
        standalone.fit_calibration(ROWS.with_columns(late=pl.lit(None, pl.Boolean)), "late", "p")

"""Score columns have one home: whoever writes or reads them agrees with it, for every kind of target there is."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import get_args

import numpy as np
import polars as pl
import pytest

from deployments.serving import openapi
from schemas import score_columns
from schemas.usecase import UseCase
from schemas.verdicts import Evaluation, Kind
from tasks.evaluation import metrics
from tasks.features import profiles
from tasks.inference import prediction_rows
from tasks.models import booster as boosters
from tasks.monitoring import drift, realized_performance, scored_window, shadow
from tasks.registry import pyfunc_model
from tasks.registry.protocol import Candidate
from tasks.replay import retraining_schedules
from tasks.reporting import model_card
from tasks.training import fit
from tests.modelling_kit import case, frame, tables

KINDS: tuple[Kind, ...] = get_args(Kind)  # a new kind is asked for everywhere at once
INTERNAL = {"binary": ["_score"], "multiclass": ["_score_early", "_score_on time", "_score_late"], "regression": ["_score"]}
PREDICTED = {
    "binary": ["category", "probability"],
    "multiclass": ["category", "probability_early", "probability_on time", "probability_late"],
    "regression": ["prediction"],
}
Named = Callable[[UseCase, pl.DataFrame, np.ndarray], list[str]]
Read = Callable[[UseCase, pl.DataFrame, np.ndarray], np.ndarray]


@cache
def scored(kind: Kind) -> tuple[UseCase, pl.DataFrame, np.ndarray]:
    """Labelled rows and scores as a booster gives them."""
    rows = frame(case(kind)).drop_nulls("_target")
    return case(kind), rows, boosters.predict_scores(case(kind), model(kind), rows)


@cache
def model(kind: Kind) -> object:
    return boosters.load_booster(fit.refit_booster(case(kind), frame(case(kind)), 3).model)


def in_profile(case: UseCase, rows: pl.DataFrame, scores: np.ndarray) -> list[str]:
    columns = profiles.reference_profile(case, rows, rows["_target"], scores)["columns"]
    return [name for name in columns if name not in {*case.features, "_target"}]


def beside_metrics(case: UseCase, rows: pl.DataFrame, scores: np.ndarray) -> list[str]:
    return [name for name in metrics.with_scores(case, rows, scores).columns if name not in {*rows.columns, "_y"}]


def compared_by_drift(case: UseCase, rows: pl.DataFrame, scores: np.ndarray) -> list[str]:
    reference = profiles.reference_profile(case, rows, None, scores)
    window = rows.with_columns(score_columns.to_columns(score_columns.internal_names(case.target), 1 - scores))
    return [each.column for each in drift.measure_drift(case, reference, window).columns if each.column not in case.features]


def in_replay(case: UseCase, rows: pl.DataFrame, scores: np.ndarray) -> list[str]:
    return [name for name in retraining_schedules.with_scores(case, rows, scores).columns if name not in rows.columns]


def in_log(case: UseCase, rows: pl.DataFrame, scores: np.ndarray) -> list[str]:
    return prediction_rows.business_predictions(case, scores).columns


def by_mlflow_users(case: UseCase, rows: pl.DataFrame, scores: np.ndarray) -> list[str]:
    predictor = object.__new__(pyfunc_model.Predictor)
    predictor.words = {"kind": case.target.kind, "classes": case.target.classes, "threshold": case.target.threshold}
    return list(predictor._business(scores, None).columns)


def in_mlflow_signature(case: UseCase, rows: pl.DataFrame, scores: np.ndarray) -> list[str]:
    from tasks.registry.mlflow import model_metadata

    evaluation = Evaluation(model_sha256="0" * 64, data_commit="-", rows=1, blocks=1, metrics={})
    target = case.target
    candidate = Candidate(name="orders", model=b"", manifest={}, evaluation=evaluation, golden=b"", kind=target.kind,
                          classes=target.classes, input_dtypes={"size": "Float32"})  # fmt: skip
    signature = model_metadata._signature(candidate)
    assert signature
    return signature.outputs.input_names()


def window_reads(case: UseCase, rows: pl.DataFrame, scores: np.ndarray) -> np.ndarray:
    predictions = pl.concat([rows.select("number"), prediction_rows.business_predictions(case, scores)], how="horizontal")
    recorded = scored_window.recorded_scores(case, predictions.lazy(), ["number"]).collect()
    return score_columns.to_scores(case.target, score_columns.internal_names(case.target), recorded)


def shadow_reads(case: UseCase, rows: pl.DataFrame, scores: np.ndarray) -> np.ndarray:
    return shadow._scores(case, prediction_rows.business_predictions(case, scores))


def smoke_test_reads(case: UseCase, rows: pl.DataFrame, scores: np.ndarray) -> np.ndarray:
    golden = pl.read_parquet(io.BytesIO(boosters.golden_rows(case, model(case.target.kind), rows, n=rows.height + 1)))  # type: ignore[arg-type]
    expected = golden.select(pl.col(f"^{score_columns.EXPECTED}.*$"))
    assert expected.columns == [f"_expected_{i}" for i in range(expected.width)]
    return expected.head(-1).to_numpy().reshape(scores.shape)  # without the row where all is missing


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("user", [in_profile, beside_metrics, compared_by_drift, in_replay])
def test_scores_beside_rows_have_one_name(kind: Kind, user: Named) -> None:
    assert user(*scored(kind)) == INTERNAL[kind] == score_columns.internal_names(case(kind).target)
    assert all(map(score_columns.is_internal, INTERNAL[kind]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("user", [in_log, by_mlflow_users, in_mlflow_signature])
def test_predictions_have_one_name(kind: Kind, user: Named) -> None:
    names = score_columns.prediction_names(case(kind).target)
    assert user(*scored(kind)) == PREDICTED[kind] == PREDICTED[kind][: len(PREDICTED[kind]) - len(names)] + names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("user", [window_reads, shadow_reads, smoke_test_reads])
def test_what_was_written_is_read_back(kind: Kind, user: Read) -> None:
    _, _, scores = scored(kind)
    found = user(*scored(kind))
    assert found.shape == scores.shape == ((len(scores), 3) if kind == "multiclass" else (len(scores),))
    assert np.array_equal(found, scores)


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_card_and_realized_performance_read_the_same_scores(kind: Kind) -> None:
    use_case, rows, scores = scored(kind)
    told = metrics.evaluate(use_case, "0" * 64, "-", rows, scores)
    beside = rows.drop("_target").with_columns(
        score_columns.to_columns(score_columns.internal_names(use_case.target), scores)
    )
    judged = realized_performance.realized(
        use_case, beside.lazy(), tables()[2].lazy(), model_sha256="0" * 64, data_commit="-"
    )
    assert judged == told
    assert set(metrics.metric_expressions(use_case)) <= set(told.metrics)
    curve = model_card.card_evidence(use_case, rows, scores)["calibration"]
    likely = scores.max(axis=1) if kind == "multiclass" else scores
    mean = sum(each["said"] * each["rows"] for each in curve) / len(scores)
    assert mean == (0 if kind == "regression" else pytest.approx(likely.mean(dtype=float)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_answers_in_words_of_its_own(kind: Kind) -> None:
    words = {"binary": "probability", "multiclass": "probabilities", "regression": "prediction"}
    assert words[kind] in openapi._prediction([case(kind).target])["properties"]

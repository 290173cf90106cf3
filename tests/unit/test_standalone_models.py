"""Training on anybody's frame gives what our flows' fit gives on the same rows; scoring and SHAP values follow from it."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
import xgboost as xgb

from schemas.errors import NotEnoughEvidence, UsageError
from tasks.features.splitting import split_by_time
from tasks.standalone.evaluate import evaluate_scores
from tasks.standalone.explain import explain_model
from tasks.standalone.train import train_xgboost
from tasks.standalone.trained_model import TrainedModel, predict_frame
from tasks.training.fit import fit_booster
from tests import modelling_kit as kit
from tests.standalone_kit import DAYS, parcels

FEATURES = ["weight", "colour", "depot"]
PARAMS = {"max_depth": 3, "learning_rate": 0.3}


def trained(target: str = "late", rows: pl.DataFrame | None = None, **more: Any) -> TrainedModel:
    options = {"time": "at", "features": FEATURES, "params": PARAMS, "rounds": 30, **more}
    return train_xgboost(parcels() if rows is None else rows, target, **options)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_the_model_is_the_one_that_our_flows_fit_on_the_same_rows(kind: Any) -> None:
    case = kit.case(kind)
    rows = kit.frame(case)
    train, stopping, holdout = split_by_time(case, rows)
    ours = fit_booster(case, train, stopping)
    made = train_xgboost(
        rows.drop("_block"),
        "_target",
        time="at",
        key=case.key,
        features=list(case.features),
        holdout_days=case.split.holdout_days,
        stopping_days=case.split.stopping_days,
        params=case.training.params,
        rounds=case.training.rounds,
        stopping_rounds=case.training.stopping_rounds,
    )
    assert made.kind == kind
    assert made.model == ours.model
    assert made.importances == ours.importances
    assert made.rounds == ours.best_rounds
    assert made.split_rows == {"train": train.height, "stopping": stopping.height, "holdout": holdout.height}


@pytest.mark.parametrize(
    ("target", "kind", "classes", "scores"),
    [
        ("late", "binary", (), "probability"),
        ("when", "multiclass", ("early", "late", "on time"), {n: f"probability_{n}" for n in ("early", "late", "on time")}),
        ("delay", "regression", (), "prediction"),
    ],
)
def test_what_is_learned_is_told_by_the_targets_column(target: str, kind: str, classes: Any, scores: Any) -> None:
    made = trained(target)
    assert (made.kind, made.classes, made.scores) == (kind, classes, scores)
    assert made.holdout is not None
    assert made.evaluation == evaluate_scores(made.holdout, target, made.scores, time="at")
    skill = made.evaluation.metrics  # type: ignore[union-attr]
    assert skill["auc"] > 0.7 if kind != "regression" else skill["r2"] > 0.5
    assert sum(made.importances.values()) == pytest.approx(1)


def test_the_parts_follow_each_other_in_time_and_rows_without_an_outcome_are_in_none() -> None:
    rows = parcels().with_columns(late=pl.when(pl.col("number") % 10 != 0).then("late"))
    made = trained(rows=rows, holdout_days=10, stopping_days=5)
    known = rows.filter(pl.col("late").is_not_null())
    last = known["at"].max() - timedelta(days=10)
    assert made.holdout is not None
    assert made.holdout["at"].min() >= last.replace(hour=0, minute=0)
    assert made.holdout.drop("probability").sort("number").equals(known.filter(pl.col("at") >= made.holdout["at"].min()))
    assert sum(made.split_rows.values()) == known.height
    assert made.split_rows["stopping"] == pytest.approx(5 * 45, abs=10)


def test_without_a_time_the_shares_count() -> None:
    made = trained(time=None, holdout_share=0.3, stopping_share=0.2)
    total = sum(made.split_rows.values())
    assert total == parcels().height
    assert made.split_rows["holdout"] / total == pytest.approx(0.3, abs=0.03)
    assert made.split_rows["stopping"] / total == pytest.approx(0.2, abs=0.03)


def test_with_a_key_the_order_of_the_rows_does_not_matter() -> None:
    shuffled = parcels().sample(fraction=1, shuffle=True, seed=3)
    assert trained(key=["number"]).model == trained(rows=shuffled, key=["number"]).model
    assert trained().model == trained().model


def test_all_other_columns_are_features_where_none_are_named() -> None:
    rows = parcels().select("at", "number", "late", "weight", "colour")
    assert trained(rows=rows, features=None, key=["number"]).features == ("weight", "colour")


def test_a_calibrated_model_holds_the_curve_in_its_leaves() -> None:
    plain, made = trained(), trained(calibration="sigmoid")
    assert plain.calibration is None
    assert made.calibration is not None
    slope, intercept = made.calibration
    rows = parcels()[:50]
    p, q = (predict_frame(model, rows)["probability"].to_numpy().astype(float) for model in (plain, made))
    assert np.log(q / (1 - q)) == pytest.approx(slope * np.log(p / (1 - p)) + intercept, abs=1e-3)


def test_scores_are_those_of_the_bytes_and_an_unknown_category_is_missing() -> None:
    made = trained()
    rows = parcels()[:40].with_columns(colour=pl.lit("violet"))
    found = predict_frame(pickle.loads(pickle.dumps(made)), rows)
    missing = predict_frame(made, rows.with_columns(colour=pl.lit(None, pl.String)))
    assert found["probability"].to_list() == missing["probability"].to_list()
    booster = xgb.Booster(model_file=bytearray(made.model))
    known = (
        parcels()[:40]
        .select(*FEATURES)
        .cast({"colour": pl.Enum(["blue", "green", "red"]), "depot": pl.Enum(["north", "south"])})
    )
    assert predict_frame(made, parcels()[:40])["probability"].to_list() == booster.inplace_predict(known).tolist()
    assert found.drop("probability").equals(rows)


@pytest.mark.parametrize("target", ["late", "when", "delay"])
def test_contributions_sum_to_the_margin(target: str) -> None:
    made, rows = trained(target), parcels()[:60]
    found = explain_model(made, rows)
    sums = found.contributions.select(pl.sum_horizontal(*made.features, "_bias")).to_series().to_numpy()
    scores = predict_frame(made, rows).select(*([made.scores] if isinstance(made.scores, str) else made.scores.values()))
    values = scores.to_numpy().astype(float)
    if made.kind == "multiclass":
        shares = np.exp(sums.reshape(values.shape))
        assert shares / shares.sum(axis=1, keepdims=True) == pytest.approx(values, abs=1e-4)
        assert found.contributions["_class"].to_list()[:3] == list(made.classes)
        assert found.contributions["_row"].to_list()[:4] == [1, 1, 1, 2]
    else:
        margin = np.log(values / (1 - values)) if made.kind == "binary" else values
        assert sums == pytest.approx(margin[:, 0], abs=1e-4)
        assert found.contributions["_row"].to_list() == list(range(1, 61))
    sizes = found.contributions.select(pl.col(*made.features).abs().mean()).row(0, named=True)
    assert dict(found.importances) == pytest.approx(sizes, abs=1e-5)
    assert list(found.importances) == sorted(found.importances, key=lambda name: -found.importances[name])


def test_bytes_alone_are_explained_and_a_model_without_names_is_not() -> None:
    made = trained("when")
    found = explain_model(made.model, parcels()[:5])
    assert found.contributions["_class"].unique().sort().to_list() == ["0", "1", "2"]
    nameless = xgb.train({}, xgb.DMatrix(np.eye(3), np.arange(3.0)), 1)
    with pytest.raises(UsageError, match="have no names"):
        explain_model(bytes(nameless.save_raw("ubj")), parcels())


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"holdout_days": 70}, "no row falls into train and stopping"),
        ({"stopping_days": 50}, "no row falls into train"),
        ({"time": None, "holdout_share": 0.0}, "no row falls into holdout"),
        ({"rows": parcels().with_columns(late=True)}, "the training rows hold one class only"),
        ({"rows": parcels().with_columns(late=pl.lit(None, pl.Boolean))}, "none of 3,000 has an outcome in 'late'"),
    ],
)
def test_too_little_to_train_on_is_one_line(more: dict[str, Any], says: str) -> None:
    with pytest.raises(NotEnoughEvidence) as refused:
        trained(**more)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"params": {"max_depht": 3}}, "max_depht"),
        ({"params": {"seed": 3}}, "'seed' is set elsewhere"),
        ({"params": {"max_depth": -3}}, "max_depth"),
        ({"features": ["weight", "late"]}, "'late' is the target"),
        ({"features": []}, "no column to learn from"),
        ({"calibration": "isotonic"}, "calibration is 'isotonic'; it can be 'none', 'sigmoid'"),
        ({"holdout_share": 1.5}, "holdout_share is 1.5"),
        ({"rows": parcels().with_columns(weight=pl.lit(float("inf")))}, "inf"),
        (
            {"rows": parcels().with_columns(at=pl.when(pl.col("number") > 5).then("at"))},
            "the time 'at' is missing in 5 rows",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_line(more: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as refused:
        trained(**more)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_days_of_the_kit_are_there() -> None:
    assert parcels()["at"].dt.date().n_unique() == DAYS

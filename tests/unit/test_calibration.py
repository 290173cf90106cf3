"""A calibrated model is a booster like any other, and everything that scores with it agrees."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from schemas.errors import UsageError
from tasks.features.engineering import TARGET, feature_names, numeric_target
from tasks.features.splitting import split_by_time
from tasks.inference.online.row_predictor import Predictor
from tasks.models import calibration, explanations
from tasks.models.booster import load_booster, predict_scores
from tasks.registry.pyfunc_model import Predictor as Outsider
from tasks.training.fit import fit_booster, refit_booster
from tests.modelling_kit import case, frame

CLASSES = ("binary", "multiclass")


def asked(kind):
    made = case(kind)
    # Far too sure of itself: deep trees on little data.
    params = {**made.training.params, "max_depth": 8, "min_child_weight": 0, "learning_rate": 0.6}
    return replace(made, training=replace(made.training, params=params, calibration="sigmoid", stopping_rounds=40))


def log_loss(kind, scores, rows):
    y = numeric_target(kind, rows[TARGET]).astype(int)
    own = scores[np.arange(y.size), y] if kind == "multiclass" else np.where(y == 1, scores, 1 - scores)
    return -np.log(np.clip(own, 1e-9, 1)).mean()


def margins(model, rows, made):
    return load_booster(model).inplace_predict(rows.select(feature_names(made)), predict_type="margin")


@pytest.mark.parametrize("kind", CLASSES)
def test_the_leaves_hold_the_curve(kind):
    parts = split_by_time(case(kind), frame(case(kind)))
    plain = fit_booster(case(kind), parts.train, parts.stopping).model
    slope, intercept = (0.6, 0.0) if kind == "multiclass" else (0.6, -0.3)
    bent = calibration.calibrated(plain, (slope, intercept))
    before, after = (margins(model, parts.holdout, case(kind)) for model in (plain, bent))
    assert after == pytest.approx(slope * before + intercept, abs=1e-5)
    told = explanations.shap_contributions(load_booster(bent), parts.holdout[:50])
    assert told.sum(axis=-1) == pytest.approx(after[:50], abs=1e-4)


@pytest.mark.parametrize("kind", CLASSES)
def test_calibration_on_the_stopping_rows_lowers_the_loss_on_the_holdout(kind):
    made = asked(kind)
    parts = split_by_time(made, frame(made))
    sure = replace(made, training=replace(made.training, calibration="none"))
    plain = refit_booster(sure, parts.train, 40)
    coefficients = calibration.sigmoid(
        made, margins(plain.model, parts.stopping, made).astype(float), numeric_target(kind, parts.stopping[TARGET])
    )
    calm = refit_booster(made, parts.train, 40, calibration=coefficients)
    assert coefficients[0] < 0.9
    assert log_loss(kind, predict_scores(made, load_booster(calm.model), parts.holdout), parts.holdout) < log_loss(
        kind, predict_scores(made, load_booster(plain.model), parts.holdout), parts.holdout
    )


@pytest.mark.parametrize("kind", CLASSES)
def test_a_fit_says_its_coefficients_and_a_refit_takes_them(kind):
    made = asked(kind)
    parts = split_by_time(made, frame(made))
    fitted = fit_booster(made, parts.train, parts.stopping)
    assert fitted.calibration
    again = refit_booster(made, parts.train, fitted.best_rounds, calibration=fitted.calibration)
    assert again.model == fitted.model != refit_booster(made, parts.train, fitted.best_rounds).model


def test_a_planted_distortion_is_found():
    rng = np.random.default_rng(1)
    margin = rng.normal(size=40_000)
    y = (rng.uniform(size=margin.size) < 1 / (1 + np.exp(-(2 * margin + 0.5)))).astype(float)
    assert calibration.sigmoid(case(), margin, y) == pytest.approx((2, 0.5), abs=0.06)
    three = rng.normal(size=(40_000, 3))
    shares = np.exp(0.5 * three) / np.exp(0.5 * three).sum(axis=1, keepdims=True)
    drawn = (shares.cumsum(axis=1) < rng.uniform(size=(40_000, 1))).sum(axis=1)
    assert calibration.sigmoid(case("multiclass"), three, drawn)[0] == pytest.approx(0.5, abs=0.03)
    assert calibration.sigmoid(case(), margin, 1 - y) == (1.0, 0.0)  # never turned round


def test_batch_online_and_outsiders_agree_to_the_bit(tmp_path):
    made = asked("binary")
    parts = split_by_time(made, frame(made))
    model = fit_booster(made, parts.train, parts.stopping).model
    rows = parts.holdout[:40]
    batch = predict_scores(made, load_booster(model), rows)
    single = Predictor(load_booster(model), {name: rows.schema[name] for name in feature_names(made)})
    values = rows.select(feature_names(made)).rows()
    assert [np.float32(single.scores(row)[0]) for row in values] == list(batch)
    (tmp_path / "model.ubj").write_bytes(model)
    features = rows.select(feature_names(made))
    kinds = {name: list(dtype.categories) if isinstance(dtype, pl.Enum) else None for name, dtype in features.schema.items()}
    words = {"kind": "binary", "classes": ["on time", "late"], "threshold": 0.5}
    columns = [{"name": name, "categories": listed} for name, listed in kinds.items()]
    (tmp_path / "words.json").write_text(json.dumps({**words, "columns": columns}))
    told = Outsider(tmp_path).predict(features.to_pandas())
    assert list(told["probability"].astype("float32")) == list(batch)


def test_a_regression_has_nothing_to_calibrate():
    made = case("regression")
    made = replace(made, training=replace(made.training, calibration="sigmoid"))
    parts = split_by_time(made, frame(made))
    with pytest.raises(UsageError, match="calibration is for classes"):
        fit_booster(made, parts.train, parts.stopping)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_contributions_sum_to_the_margin_and_an_unseen_category_counts_as_missing(kind):
    made = case(kind)
    parts = split_by_time(made, frame(made))
    model = load_booster(fit_booster(made, parts.train, parts.stopping).model)
    odd = parts.holdout[:60].with_columns(pl.lit("violet").cast(pl.Enum(["violet", "red"])).alias("colour_of"))
    missing = odd.with_columns(pl.lit(None, dtype=parts.holdout.schema["colour_of"]).alias("colour_of"))
    told = explanations.shap_contributions(model, odd)
    assert np.array_equal(told, explanations.shap_contributions(model, missing))
    assert np.array_equal(predict_scores(made, model, odd), predict_scores(made, model, missing))
    expected = model.inplace_predict(missing.select(feature_names(made)), predict_type="margin")
    assert told.sum(axis=-1) == pytest.approx(expected, abs=1e-4)
    sizes = explanations.shap_importances(model, parts.train)
    assert list(sizes) == feature_names(made)
    assert max(sizes, key=sizes.get) == "size"
    assert set(explanations.shap_importances(model, parts.train.clear()).values()) == {0.0}

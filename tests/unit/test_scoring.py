"""From model bytes to predictions with receipts; the trial of a model in a child process."""

import dataclasses
import io
from datetime import UTC, datetime
from functools import cache

import numpy as np
import polars as pl
import pytest

from schemas.errors import IntegrityError, UsageError
from schemas.refs import DataRef, ModelRef
from tasks.features.splitting import split_by_time
from tasks.inference.prediction_rows import business_predictions, prediction_rows
from tasks.models.booster import golden_rows, load_booster, predict_scores
from tasks.models.smoke_test import run_smoke_test
from tasks.training.fit import fit_booster
from tests.modelling_kit import COLOURS, case, frame, shuffled

KINDS = ("binary", "multiclass", "regression")
MODEL = ModelRef(registry="sqlite:///x", name="orders", version=3, sha256="ab" * 32, run_id="r")
DATA = DataRef(store="file:///x", commit="c0ffee")
NOW = datetime(2024, 3, 1, tzinfo=UTC)


@cache
def model(kind="binary"):
    parts = split_by_time(case(kind), frame(case(kind)))
    return fit_booster(case(kind), parts.train, parts.stopping).model


def scored(kind, rows):
    return predict_scores(case(kind), load_booster(model(kind)), rows)


def receipt(rows, kind="binary", **change):
    told = {"model": MODEL, "data": DATA, "contract_version": "v1", "flow_run": "f", "scored_at": NOW, **change}
    return prediction_rows(case(kind), rows, scored(kind, rows), **told)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_do_not_depend_on_the_order_of_rows_or_columns(kind):
    rows = frame(case(kind)).with_row_index()
    scores = scored(kind, rows)
    assert scores.shape == ((rows.height, 3) if kind == "multiclass" else (rows.height,))
    other = shuffled(rows, 8).select(reversed(rows.columns))
    assert np.array_equal(scored(kind, other), scores[other["index"].to_numpy()])
    assert scored(kind, rows.clear()).shape[0] == 0
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="price"):
        scored(kind, rows.drop("price"))


@pytest.mark.parametrize("unseen", ["azure", "cyan", "mauve", "zinc"])  # before, between and after the known ones
def test_an_unseen_category_scores_as_a_missing_one(unseen):
    rows = frame(case()).head(50)
    missing = scored("binary", rows.with_columns(pl.lit(None, dtype=pl.Enum(COLOURS)).alias("colour_of")))
    others = [[unseen], [unseen, *COLOURS], [*COLOURS, unseen]]
    for values in others:
        made = rows.with_columns(pl.lit(unseen).cast(pl.Enum(values)).alias("colour_of"))
        assert np.array_equal(scored("binary", made), missing)
    assert not np.array_equal(scored("binary", rows), missing)


def test_a_model_of_other_features_is_refused():
    rows = frame(case())
    fewer = dataclasses.replace(case(), features={n: e for n, e in case().features.items() if n != "size"})
    with pytest.raises(UsageError, match="differ in size"):
        predict_scores(fewer, load_booster(model()), rows)
    turned = dataclasses.replace(case(), features=dict(reversed(case().features.items())))
    with pytest.raises(UsageError, match="their order"):
        predict_scores(turned, load_booster(model()), rows)


def test_business_words():
    assert business_predictions(case(), np.array([0.2, 0.5, 0.9])).to_dict(as_series=False) == {
        "category": ["on time", "late", "late"],
        "probability": [0.2, 0.5, 0.9],
    }
    many = business_predictions(case("multiclass"), np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]))
    assert many["category"].to_list() == ["on time", "late"]
    assert many.columns == ["category", "probability_early", "probability_on time", "probability_late"]
    assert business_predictions(case("regression"), np.array([1.5]))["prediction"].to_list() == [1.5]


def test_a_receipt_says_what_a_prediction_was_made_from():
    rows = frame(case()).head(4)
    told = receipt(rows)
    assert told.columns == [
        "prediction_id", "at", "shop", "number", "category", "probability", "model_name", "model_version",
        "model_sha256", "data_commit", "contract_version", "flow_run", "scored_at",
    ]  # fmt: skip
    assert told.row(0, named=True)["model_version"] == 3
    assert told["scored_at"].unique().to_list() == [NOW]
    assert receipt(rows.clear()).is_empty()


def test_prediction_ids_follow_from_model_commit_and_key():
    rows = frame(case()).head(300)
    ids = receipt(rows)["prediction_id"]
    assert ids.n_unique() == 300
    assert ids.str.len_chars().unique().to_list() == [32]
    again = receipt(shuffled(rows, 4), flow_run="g", scored_at=datetime(2025, 1, 1, tzinfo=UTC))
    assert set(again["prediction_id"]) == set(ids)
    for other in (
        {"model": MODEL.model_copy(update={"sha256": "cd" * 32})},
        {"data": DATA.model_copy(update={"commit": "b"})},
    ):
        assert not set(receipt(rows, **other)["prediction_id"]) & set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_model_passes_its_trial(kind):
    rows = frame(case(kind))
    golden = golden_rows(case(kind), load_booster(model(kind)), rows)
    table = pl.read_parquet(io.BytesIO(golden))
    assert 20 < table.height <= 33
    assert table.row(-1)[:4] == (None,) * 4  # what is missing has its own branch in every tree
    run_smoke_test(model(kind), golden, case(kind))


def spoilt(how):
    bytes_, golden = model(), golden_rows(case(), load_booster(model()), frame(case()))
    if how == "another model":
        return model("regression"), golden
    if how == "truncated":
        return bytes_[: len(bytes_) // 2], golden
    if how == "empty":
        return b"", golden
    if how == "golden":
        return bytes_, golden[:-20]
    return bytes_, golden


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("another model", "scores differ by up to"),
        ("truncated", "could not be|killed"),
        ("empty", r"could not be loaded or scored \(xgboost"),
        ("golden", "could not be"),
    ],
)
def test_a_damaged_model_or_table_fails_its_trial_and_nothing_else(how, said):
    bytes_, golden = spoilt(how)
    with pytest.raises(IntegrityError, match=said) as refusal:
        run_smoke_test(bytes_, golden, case())
    assert "\n" not in str(refusal.value)


def test_a_trial_that_takes_too_long_is_ended():
    with pytest.raises(IntegrityError, match="did not end in 0 s"):
        run_smoke_test(*spoilt("not"), case(), seconds=0.01)


def test_bytes_that_are_no_model_are_refused():
    with pytest.raises(IntegrityError, match="cannot load the model"):
        load_booster(b"{}")

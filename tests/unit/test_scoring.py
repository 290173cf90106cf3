from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from schemas.errors import IntegrityError, UsageError
from schemas.refs import DataRef, ModelRef
from tasks.scoring import booster, business, golden_rows, predict, receipts
from tasks.training import Fitted, fit, split_by_time
from tasks.trial import trial
from tests.unit.problems import BINARY, MULTICLASS, PROBLEMS, REGRESSION, designed, orders

MODEL = ModelRef(registry="sqlite://", name="orders", version=3, sha256="a" * 64, run_id="r")
DATA = DataRef(store="file:///x", commit="c" * 40)


@pytest.fixture(scope="module")
def fitted() -> tuple[Fitted, pl.DataFrame]:
    train, stopping, holdout = split_by_time(BINARY, designed(BINARY, orders()))
    return fit(BINARY, train, stopping), holdout


def test_columns_in_another_order_give_the_same_scores(fitted: tuple[Fitted, pl.DataFrame]) -> None:
    model, rows = booster(fitted[0].model), fitted[1]
    scores = predict(BINARY, model, rows)
    assert np.array_equal(predict(BINARY, model, rows.select(reversed(rows.columns))), scores)
    with pytest.raises((UsageError, pl.exceptions.ColumnNotFoundError), match="rent"):
        predict(BINARY, model, rows.drop("rent"))


def test_answers_are_in_the_words_of_the_business() -> None:
    binary = business(BINARY, np.array([0.49, 0.5, 0.9], dtype=np.float32))
    assert binary["category"].to_list() == ["unpaid", "paid", "paid"]
    many = business(MULTICLASS, np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]]))
    assert many["category"].to_list() == ["fair", "good"]
    assert many["probability_good"].to_list() == [0.3, 0.7]
    assert business(REGRESSION, np.array([1.5])).columns == ["prediction"]


def test_receipts_name_each_row_once_and_the_same_again(fitted: tuple[Fitted, pl.DataFrame]) -> None:
    rows = fitted[1]
    told = {"model": MODEL, "data": DATA, "contract_version": "v", "flow_run": "f", "scored_at": datetime.now(UTC)}
    scores = predict(BINARY, booster(fitted[0].model), rows)
    first = receipts(BINARY, rows, scores, **told)  # type: ignore[arg-type]
    assert first["prediction_id"].n_unique() == rows.height == first.height
    assert first["order"].to_list() == rows["order"].to_list()
    assert first.equals(receipts(BINARY, rows, scores, **told))  # type: ignore[arg-type]
    other = {**told, "model": MODEL.model_copy(update={"sha256": "b" * 64})}
    assert not set(receipts(BINARY, rows, scores, **other)["prediction_id"]) & set(first["prediction_id"])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_sound_model_passes_its_trial(kind: str) -> None:
    case = PROBLEMS[kind]
    train, stopping, _ = split_by_time(case, designed(case, orders()))
    model = fit(case, train, stopping).model
    trial(model, golden_rows(case, booster(model), train), case)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "another"])
def test_a_damaged_or_other_model_fails_its_trial_and_this_process_lives(
    fitted: tuple[Fitted, pl.DataFrame], damage: str
) -> None:
    model, rows = fitted[0].model, fitted[1]
    train, stopping, _ = split_by_time(BINARY, designed(BINARY, orders(seed=8)))
    damaged = {
        "truncated": model[: len(model) // 2],
        "garbage": bytes(range(256)) * 40,
        "empty": b"",
        "another": fit(BINARY, train, stopping).model,
    }[damage]
    with pytest.raises(IntegrityError, match="failed its trial"):
        trial(damaged, golden_rows(BINARY, booster(model), rows), BINARY)

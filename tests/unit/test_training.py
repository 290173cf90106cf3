"""Splits and fits: nothing of the holdout is older than what is fitted on, and the same rows give the same bytes."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from schemas.errors import NotEnoughEvidence, UsageError
from schemas.usecase import Training
from tasks.features.engineering import BLOCK, TARGET
from tasks.features.row_order import in_canonical_order
from tasks.features.splitting import split_by_time
from tasks.training.fit import fit_booster, refit_booster
from tests.modelling_kit import DAYS, START, case, frame, shuffled, timeless

KINDS = ("binary", "multiclass", "regression")
PROGRAM = """
import hashlib
from tasks.features import split_by_time
from tasks.training.fit import fit_booster
from tests.modelling_kit import case, frame
for kind in ("binary", "multiclass", "regression"):
    parts = split_by_time(case(kind), frame(case(kind), order=7))
    print(hashlib.sha256(fit_booster(case(kind), parts.train, parts.stopping, threads=3).model).hexdigest())
"""


def day(number):
    return START + timedelta(days=number)


def test_a_split_cuts_whole_blocks_of_labelled_rows_by_time():
    parts = split_by_time(case(), shuffled(frame(case()), 4))
    assert [part[BLOCK].n_unique() for part in parts] == [DAYS - 16, 8, 8]
    assert sum(part.height for part in parts) == frame(case())[TARGET].is_not_null().sum()
    bounds = [(part["at"].min(), part["at"].max()) for part in parts]
    assert bounds[0][1] < day(DAYS - 16) <= bounds[1][0] <= bounds[1][1] < day(DAYS - 8) <= bounds[2][0]
    assert all(part.equals(in_canonical_order(case(), part)) for part in parts)


def test_a_holdout_begins_after_what_a_champion_saw():
    seen = day(DAYS - 3)
    parts = split_by_time(case(), frame(case()), after=seen)
    assert parts.holdout["at"].min() > seen
    assert parts.holdout[BLOCK].n_unique() == 3
    assert parts.stopping["at"].max() <= seen


def test_blocks_that_overlap_in_time_are_cut_by_time_alone():
    made = replace(case(), block=pl.col("shop"))
    parts = split_by_time(made, frame(made))
    newest = frame(made).filter(pl.col(TARGET).is_not_null())["at"].max()
    assert parts.holdout["at"].min() > newest - timedelta(days=8) >= parts.stopping["at"].max()


def test_without_times_a_row_keeps_its_part_whatever_comes_later():
    rows = frame(timeless()).filter(pl.col(TARGET).is_not_null())
    whole = split_by_time(timeless(), rows)
    shares = [part.height / rows.height for part in whole]
    assert shares == pytest.approx([0.65, 0.15, 0.2], abs=0.04)
    some = split_by_time(timeless(), shuffled(rows, 9)[:700])
    for few, all_ in zip(some, whole, strict=True):
        assert few.join(all_, on=["at", "shop", "number"], how="anti").is_empty()


def test_a_frame_without_outcomes_splits_into_nothing():
    parts = split_by_time(case(), frame(case()).with_columns(pl.lit(None, dtype=pl.Boolean).alias(TARGET)))
    assert [part.height for part in parts] == [0, 0, 0]


def test_order_threads_and_processes_do_not_change_a_byte():
    told = []
    for kind in KINDS:
        parts = split_by_time(case(kind), frame(case(kind)))
        one = fit_booster(case(kind), parts.train, parts.stopping, threads=1)
        four = fit_booster(case(kind), shuffled(parts.train, 1), shuffled(parts.stopping, 2), threads=4)
        assert one.model == four.model
        told.append(hashlib.sha256(one.model).hexdigest())
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=200, check=True)
    assert run.stdout.split() == told


@pytest.mark.parametrize("kind", KINDS)
def test_early_stopping_ships_what_a_fit_of_so_many_rounds_would(kind):
    parts = split_by_time(case(kind), frame(case(kind)))
    fitted = fit_booster(case(kind), parts.train, parts.stopping)
    assert 1 < fitted.best_rounds < 60
    assert refit_booster(case(kind), parts.train, fitted.best_rounds).model == fitted.model
    assert sum(fitted.importances.values()) == pytest.approx(1)
    assert list(fitted.importances) == list(case().features)
    assert max(fitted.importances, key=fitted.importances.get) == "size"


def test_a_cut_model_still_knows_its_categories_by_name():
    from tasks.models.booster import load_booster, predict_scores

    parts = split_by_time(case(), frame(case()))
    model = load_booster(fit_booster(case(), parts.train, parts.stopping).model)
    turned = parts.holdout.with_columns(pl.col("colour_of").cast(pl.Enum(["red", "green", "blue"])))
    assert np.array_equal(predict_scores(case(), model, turned), predict_scores(case(), model, parts.holdout))


def test_a_refit_takes_all_labelled_rows():
    rows = frame(case())
    labelled = rows.filter(pl.col(TARGET).is_not_null())
    assert (
        refit_booster(case(), rows, 5).model
        == refit_booster(case(), labelled, 5).model
        != refit_booster(case(), labelled[:-200], 5).model
    )


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"subsample": 7}, "value 7 for Parameter subsample exceed bound"),
        ({"max_depht": 3}, '"max_depht" } are not used'),
        ({"booster": "gblinear"}, "'booster' is set elsewhere"),
        ({"objective": "binary:nonsense"}, "Unknown objective function"),
        ({"max_bin": 16}, None),
    ],
)
def test_a_parameter_out_of_range_is_one_line(params, said):
    made = replace(case(), training=Training(params=params, rounds=3))
    parts = split_by_time(made, frame(made))
    if said is None:
        assert fit_booster(made, parts.train, parts.stopping).best_rounds == 3
        return
    with pytest.raises(UsageError, match=said) as refusal:
        fit_booster(made, parts.train, parts.stopping)
    assert "\n" not in str(refusal.value)


def test_too_little_to_learn_from_is_said():
    parts = split_by_time(case(), frame(case()))
    for train, stopping, said in [
        (parts.train.clear(), parts.stopping, "no outcomes in the train rows"),
        (parts.train, parts.stopping.clear(), "no outcomes in the stopping rows"),
        (parts.train.filter(TARGET), parts.stopping, "one class only"),
    ]:
        with pytest.raises(NotEnoughEvidence, match=said):
            fit_booster(case(), train, stopping)

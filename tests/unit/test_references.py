"""References: exact counts, small documents, nothing that JSON cannot say."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UsageError
from schemas.usecases.flights import FLIGHTS
from tasks.features.profiles import (
    BINS,
    Categories,
    Numbers,
    read_profiles,
    reference_profile,
    summarize_column,
)

RNG = np.random.default_rng(5)


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.integers(0, 5).map(float), st.none()), max_size=400), st.integers(2, 50))
def test_bins_hold_every_value_once_and_part_no_ties(values: list[float | None], bins: int) -> None:
    found = summarize_column(pl.Series("x", values, pl.Float64), bins)
    held = np.sort([v for v in values if v is not None])
    assert isinstance(found, Numbers)
    assert (found.rows, found.values, found.distinct) == (len(values), len(held), len(set(held)))
    assert found.count.sum() == len(held)
    assert len(found.count) == found.distinct if found.distinct <= bins else len(found.count) <= 3 * bins + 50
    ends = np.searchsorted(held, found.upper, side="right")
    assert np.array_equal(ends, np.cumsum(found.count))
    parts = np.split(held, ends[:-1]) if len(held) else []
    assert np.allclose(found.means, [part.mean() for part in parts], rtol=1e-12, atol=1e-9)
    if len(held):
        assert found.std == pytest.approx(held.std(), abs=1e-9)


def test_bins_are_of_equal_count_and_finer_in_the_tails() -> None:
    found = summarize_column(pl.Series("x", RNG.pareto(2.2, 100_000)))
    assert isinstance(found, Numbers)
    assert found.count.max() <= 100_000 / BINS + 1
    assert found.count[0] == found.count[-1] == 1


def test_a_frequent_value_has_a_bin_of_its_own() -> None:
    values = np.where(RNG.random(50_000) < 0.3, 0.5, RNG.random(50_000))
    found = summarize_column(pl.Series("x", values))
    assert isinstance(found, Numbers)
    at = np.flatnonzero(found.upper == 0.5)
    assert found.count[at] == [(values == 0.5).sum()]
    assert found.means[at] == [0.5]


@pytest.mark.parametrize("odd", [None, float("nan"), float("inf"), -float("inf"), 1e200])
def test_what_has_no_finite_square_counts_as_null(odd: float | None) -> None:
    found = summarize_column(pl.Series("x", [1.0, odd, 2.0], pl.Float64))
    assert isinstance(found, Numbers)
    assert (found.nulls, found.mean) == (1, 1.5)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt64, pl.Int64, pl.Float32, pl.Decimal(10, 2)])
def test_every_kind_of_number_is_summarised(dtype: pl.DataType) -> None:
    found = summarize_column(pl.Series("x", [3, 1, 1, None]).cast(dtype))
    assert isinstance(found, Numbers)
    assert (found.upper.tolist(), found.count.tolist(), found.nulls) == ([1.0, 3.0], [2, 1], 1)


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["a", "b", "c"])])
def test_categories_are_counted_most_frequent_first(dtype: pl.DataType) -> None:
    assert summarize_column(pl.Series("x", ["b", "a", "b", None, "a", "c"]).cast(dtype)) == Categories(
        6, 1, {"a": 2, "b": 2, "c": 1}
    )


def test_rare_categories_beyond_the_limit_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.features.profiles.CATEGORIES", 2)
    designed = flights(7).with_columns(origin=pl.Series(list("aaabbcd")))
    assert read_profiles(reference_profile(FLIGHTS, designed))["origin"] == Categories(7, 0, {"a": 3, "b": 2}, other=2)


def test_a_column_without_a_marginal_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"'x' is Date: cast it"):
        summarize_column(pl.Series("x", [None], pl.Date))


def flights(rows: int) -> pl.DataFrame:
    columns = {name: RNG.normal(size=rows) for name in FLIGHTS.features}
    return pl.DataFrame(columns | {"origin": RNG.choice(["JFK", "LGA"], rows)})


def test_the_document_survives_strict_json_and_stays_small() -> None:
    designed = flights(20_000).with_columns(temp=pl.lit(None, pl.Float64))
    target, scores = pl.Series(RNG.random(20_000) < 0.2), RNG.random(20_000)
    document = reference_profile(FLIGHTS, designed, target, scores)
    text = json.dumps(document, allow_nan=False)
    assert len(text) < 1_000_000
    columns = read_profiles(json.loads(text))
    assert list(columns) == [*FLIGHTS.features, "_target", "_score"]
    assert columns["_target"] == Categories(20_000, 0, {"false": int((~target).sum()), "true": int(target.sum())})
    fresh = summarize_column(designed["distance"])
    assert all(np.array_equal(v, vars(columns["distance"])[k]) for k, v in vars(fresh).items())


def test_the_document_does_not_depend_on_the_order_of_rows() -> None:
    designed = flights(3_000)
    assert reference_profile(FLIGHTS, designed) == reference_profile(
        FLIGHTS, designed.sample(fraction=1, shuffle=True, seed=1)
    )


@pytest.mark.parametrize("version", [None, 2])
def test_an_unknown_format_is_refused(version: int | None) -> None:
    with pytest.raises(UsageError, match="this release reads 1"):
        read_profiles({"format_version": version, "columns": {}})


def test_a_missing_feature_is_refused() -> None:
    with pytest.raises(UsageError, match="no column dest; give designed rows"):
        reference_profile(FLIGHTS, flights(10).drop("dest"))

"""Compression: the marginals survive, and so do the distances between them."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from tasks.features.profiles import Categories, Numbers, summarize_column
from tasks.monitoring.drift_samples import ATOMS, atoms, balanced, frames, histogram, proportional

RNG = np.random.default_rng(11)
N = 100_000


def numbers(values: np.ndarray) -> Numbers:
    found = summarize_column(pl.Series("x", values))
    assert isinstance(found, Numbers)
    return found


def pareto(rows: int = N) -> np.ndarray:
    return RNG.pareto(2.2, rows) + 1


COLUMNS = {
    "normal, moved": (RNG.normal(size=N), RNG.normal(0.1, 1, N)),
    "normal, wider": (RNG.normal(size=N), RNG.normal(0, 1.2, N)),
    "heavy tail, same": (pareto(), pareto()),
    "heavy tail, scaled": (pareto(), 1.2 * pareto()),
    "heavy tail to the left": (-pareto(), -1.1 * pareto()),
    "heavier tail": (pareto(), RNG.pareto(1.8, N) + 1),
    "one outlier": (np.append(RNG.normal(size=N), 1e9), RNG.normal(size=N)),
    "ties": (RNG.poisson(3, N), RNG.poisson(3.3, N)),
    "two values": (RNG.integers(0, 2, N), RNG.random(N) < 0.45),
    "zeros and a heavy tail": (np.where(RNG.random(N) < 0.7, 0, pareto()), np.where(RNG.random(N) < 0.65, 0, pareto())),
    "small window": (pareto(), pareto(300)),
    "constant": (np.ones(N), np.ones(N)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_normed_distance_is_that_of_all_rows(name: str) -> None:
    before, after = (side.astype(float) for side in COLUMNS[name])
    norm = max(before.std(), 0.001)
    left, right = balanced(atoms(numbers(before)), atoms(numbers(after)), before.std())
    assert len(left) == len(right) <= 5000
    score = wasserstein_distance(left, right) / max(left.std(), 0.001)
    assert score == pytest.approx(wasserstein_distance(before, after) / norm, abs=0.003)


def test_bin_means_alone_would_miss_the_spread_of_a_heavy_tail() -> None:
    values = COLUMNS["heavy tail, same"][0]
    slices = atoms(numbers(values))
    assert slices.mean() == pytest.approx(values.mean())
    assert slices.std() < 0.98 * values.std()
    left, _ = balanced(slices, slices, values.std())
    assert left.std() == pytest.approx(values.std(), rel=1e-3)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60).filter(any), st.integers(1, 5000))
def test_largest_remainder_gives_each_its_share_to_within_a_row(counts: list[int], rows: int) -> None:
    found = proportional(np.array(counts), rows)
    assert found.sum() == rows
    assert np.all(np.abs(found - np.array(counts) * rows / sum(counts)) < 1 + 1e-6)


@settings(max_examples=60)
@given(st.lists(st.integers(-60, 60), min_size=1, max_size=300), st.lists(st.integers(-60, 60), min_size=1, max_size=300))
def test_the_bins_of_a_histogram_are_those_over_all_rows(before: list[int], after: list[int]) -> None:
    a, b = (np.array(side, float) / 7 for side in (before, after))
    labels, left, right = histogram(numbers(a), numbers(b))
    assert len(set(labels)) == len(left) == len(right)
    if len(set(before)) <= 20:
        values = np.union1d(a, b)
        expected = [[(side == v).sum() for v in values] for side in (a, b)]
    else:
        edges = np.histogram_bin_edges(np.concatenate([a, b]), bins="sturges")
        expected = [np.histogram(side, edges)[0].tolist() for side in (a, b)]
    assert [left.tolist(), right.tolist()] == expected


@pytest.mark.parametrize("name", COLUMNS)
def test_histograms_of_many_values_are_near_those_over_all_rows(name: str) -> None:
    before, after = (side.astype(float) for side in COLUMNS[name])
    if len(np.unique(before)) > 20:
        edges = np.histogram_bin_edges(np.concatenate([before, after]), bins="sturges")
        _, *found = histogram(numbers(before), numbers(after))
        for side, counts in zip((before, after), found, strict=True):
            assert np.abs(counts - np.histogram(side, edges)[0]).max() <= len(side) / 1000


def test_frames_are_plain_pandas_with_nulls_as_padding() -> None:
    rows = pl.DataFrame({"x": RNG.normal(size=8000), "c": ["a", "b", "b", None] * 2000, "y": [1.0, None] * 4000})
    sides = {name: summarize_column(rows[name]) for name in rows.columns}
    found = frames(sides, sides, "wasserstein")
    assert (found.numerical, found.categorical) == (("x", "y"), ("c",))
    assert found.window["c"].value_counts().to_dict() == {"b": 4000, "a": 2000}
    assert found.window["x"].notna().sum() in (ATOMS, ATOMS + 1)
    assert "Arrow" not in " ".join(type(array).__name__ for array in (found.window[c].array for c in found.window))
    assert found.window["c"].cat.categories.dtype == object
    assert frames(sides, sides, "psi").categorical == ("x", "c", "y")


def test_categories_of_either_side_are_there_with_their_shares() -> None:
    before, after = (
        summarize_column(pl.Series(["a"] * 900_000 + ["b"] * 100_000)),
        summarize_column(pl.Series(["b", "new", "new"])),
    )
    found = frames({"c": before}, {"c": after}, "wasserstein")
    assert found.reference["c"].value_counts().to_dict() == {"a": 45_000, "b": 5_000, "new": 0}
    assert found.window["c"].value_counts().to_dict() == {"new": 2, "b": 1, "a": 0}


def test_what_the_reference_does_not_list_is_compared_as_one_category() -> None:
    before, after = Categories(5, 0, {"a": 2, "b": 1}, other=2), summarize_column(pl.Series(["c", "d", "a"]))
    found = frames({"c": before}, {"c": after}, "psi")
    assert found.reference["c"].tolist() == ["a", "a", "b", "(all others)", "(all others)"]
    assert found.window["c"].value_counts().to_dict() == {"(all others)": 2, "a": 1, "b": 0}

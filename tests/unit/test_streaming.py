"""Large windows: counted in batches, as good as sorted whole, with the error stated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from schemas.errors import UsageError
from schemas.usecase import MonitorPolicy
from schemas.usecases.flights import FLIGHTS
from tasks.features.profiles import Categories, Numbers, read_profiles, reference_profile, summarize_columns
from tasks.monitoring import streaming_profiles
from tasks.monitoring.drift import measure_drift
from tasks.monitoring.streaming_profiles import SHARE, stream_marginals


def rows(moved: float, n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "normal": rng.normal(moved, 1, n),
            "pareto": (rng.pareto(2.2, n) + 1) * (1 + moved),
            "tied": rng.poisson(3 + moved, n),
            "mixed": np.where(rng.random(n) < 0.7 - moved, 0, rng.exponential(1, n)),
            "holes": np.where(rng.random(n) < 0.3, np.nan, rng.lognormal(moved, 1, n)),
            "city": rng.choice([f"c{i}" for i in range(40)], n),
            "yes": rng.random(n) < 0.3 + moved,
        }
    )
    return frame.with_columns(pl.col("holes").fill_nan(None))


N = 60_000
BEFORE, AFTER = rows(0.0, N, 1), rows(0.3, N, 2)
CASE = replace(FLIGHTS, features={name: pl.col(name) for name in BEFORE.columns}, monitor=MonitorPolicy())
STORED = reference_profile(CASE, BEFORE)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "window.parquet"
    AFTER.write_parquet(path, row_group_size=7000)
    return path


def test_counts_are_exact_and_the_rank_error_holds(file: Path) -> None:
    found, error = stream_marginals(pl.scan_parquet(file), read_profiles(STORED), AFTER.columns, batch=5000)
    exact = summarize_columns(AFTER, AFTER.columns)
    for name, truth in exact.items():
        mine = found[name]
        assert (mine.rows, mine.nulls) == (truth.rows, truth.nulls)
        if isinstance(mine, Categories):
            assert isinstance(truth, Categories)
            assert mine.counts == truth.counts
            continue
        assert isinstance(truth, Numbers)
        assert isinstance(mine, Numbers)
        assert (mine.mean, mine.std, mine.low) == pytest.approx((truth.mean, truth.std, truth.low))
        values = np.sort(AFTER[name].drop_nulls().to_numpy())
        assert np.array_equal(np.searchsorted(values, mine.upper, side="right"), np.cumsum(mine.count))
        wide = mine.means < mine.upper
        assert (mine.count[wide] <= error * mine.values + 1e-9).all()
    assert 0 < error < 10 / SHARE


def test_the_verdict_is_that_of_all_rows(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = measure_drift(CASE, STORED, AFTER)
    monkeypatch.setattr(streaming_profiles, "EXACT_ROWS", 1000)
    found = measure_drift(CASE, STORED, pl.scan_parquet(file))
    assert (found.status, found.rows, exact.rank_error) == ("drift", N, 0.0)
    assert 0 < found.rank_error < 10 / SHARE
    scores = {c.column: c.score for c in found.columns}
    assert scores == pytest.approx({c.column: c.score for c in exact.columns}, abs=0.003)


def test_values_beyond_the_reference_and_columns_it_never_saw_are_counted() -> None:
    far = pl.DataFrame(
        {"normal": np.concatenate([np.full(500, -1e6), np.linspace(50, 60, 9500)]), "new": np.arange(10_000.0)}
    )
    found, _ = stream_marginals(far.lazy(), read_profiles(STORED), far.columns, batch=999)
    normal, new = found["normal"], found["new"]
    assert isinstance(normal, Numbers)
    assert (normal.low, normal.upper[-1], normal.values) == (-1e6, 60.0, 10_000)
    assert isinstance(new, Numbers)
    assert new.mean == pytest.approx(4999.5)


@pytest.mark.parametrize(
    "column", [pl.Series("normal", [None, None], pl.Float64), pl.Series("normal", [float("nan"), float("inf")])]
)
def test_a_column_without_a_number_has_none(column: pl.Series) -> None:
    found, error = stream_marginals(pl.LazyFrame([column]), read_profiles(STORED), ["normal"])
    assert (found["normal"].rows, found["normal"].values, error) == (2, 0, 0.0)


def test_a_date_is_refused_as_in_a_small_window() -> None:
    with pytest.raises(UsageError, match="cast it to a number"):
        stream_marginals(pl.LazyFrame({"day": [None]}, schema={"day": pl.Date}), {}, ["day"])

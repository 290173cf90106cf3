"""Drift of a million rows: the verdict against Evidently on all rows, in time and in scores.

Prints seconds, their ratios within this one run, and the largest difference of a column's score; sampling is the baseline.
Ratios are given of wall-clock time and, for a machine that others use too, of processor time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl

from schemas.usecase import MonitorPolicy, UseCase
from schemas.usecases.flights import FLIGHTS
from tasks.features.profiles import reference_profile
from tasks.monitoring import drift

ROWS = 1_000_000
METHODS = ("wasserstein", "psi", "jensenshannon")


def rows(moved: float, n: int, rng: np.random.Generator) -> pl.DataFrame:
    """8 numeric columns (normal, heavy-tailed, tied, mixed, with nulls) and 4 categorical ones; `moved` shifts some."""

    def pareto(size: int) -> np.ndarray:
        return rng.pareto(2.2, size) + 1

    numbers = {
        "normal": rng.normal(0, 1, n),
        "normal, moved": rng.normal(moved, 1 + moved, n),
        "pareto": pareto(n),
        "pareto, moved": pareto(n) * (1 + moved),
        "tied": rng.poisson(3 + moved, n).astype(float),
        "two values": (rng.random(n) < 0.3 + moved).astype(float),
        "mixed": np.where(rng.random(n) < 0.7 - moved, 0, pareto(n)),
        "with nulls": np.where(rng.random(n) < 0.2 + moved / 2, np.nan, rng.lognormal(moved, 1, n)),
    }
    frame = pl.DataFrame(numbers).with_columns(pl.all().fill_nan(None))
    for k, power in ((4, 1.0), (20, 1.0), (104, 1.0), (104, 2.0)):
        weights = np.arange(1, k + 1) ** -power
        weights = weights ** (1 + moved / 4)
        labels = [f"category {i:03d}" for i in range(k)]
        codes = rng.choice(k, n, p=weights / weights.sum())
        column = pl.Series(f"{k} categories, power {power:g}", codes.astype(np.uint32))
        frame = frame.with_columns(pl.Series(column.name, np.array(labels)[codes]).cast(pl.Enum(labels)))
    return frame


def plain(frame: pl.DataFrame) -> pd.DataFrame:
    """A plain pandas frame, categories as text: what Evidently is commonly given."""
    return frame.with_columns(pl.col(pl.Enum).cast(pl.String)).to_pandas()


class Evidently:
    """Evidently by itself, on whatever rows it is given."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.numeric = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
        self.other = [name for name in frame.columns if name not in self.numeric]
        self.report, self.dataset, definition, self.value_drift = drift._evidently()
        self.roles = definition(numerical_columns=self.numeric, categorical_columns=self.other)

    def bare(self, before: pd.DataFrame, after: pd.DataFrame, method: str) -> Mapping[str, float]:
        """Scores of one ValueDrift a column."""
        found = self._run(
            [self.value_drift(column=n, method=self._method(n, method)) for n in before.columns], before, after
        )
        return {metric["config"]["column"]: float(metric["value"]) for metric in found["metrics"]}

    def preset(self, before: pd.DataFrame, after: pd.DataFrame) -> None:
        """Evidently's ready-made DataDriftPreset."""
        from evidently.presets import DataDriftPreset

        self._run([DataDriftPreset(num_method="wasserstein", cat_method="jensenshannon")], before, after)

    def _method(self, name: str, method: str) -> str:
        return drift.method_for(method, numeric=name in self.numeric)

    def _run(self, metrics: list[Any], before: pd.DataFrame, after: pd.DataFrame) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sides = (self.dataset.from_pandas(side, self.roles) for side in (after, before))
            return self.report(metrics).run(*sides).dict()


def timed(work: Callable[[], Any], repeats: int = 1) -> tuple[Seconds, Any]:
    """Median times and the last result."""
    taken = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    return Seconds(*(statistics.median(side) for side in zip(*taken, strict=True))), result


class Seconds(NamedTuple):
    """Wall-clock and processor time."""

    wall: float
    cpu: float

    def over(self, other: Seconds) -> str:
        """How many times as long as another."""
        return f"{self.wall / other.wall:.0f}x (processor {self.cpu / other.cpu:.0f}x)"


def case(frame: pl.DataFrame, method: str) -> UseCase:
    """A use case whose features are the columns."""
    return replace(FLIGHTS, features={name: pl.col(name) for name in frame.columns}, monitor=MonitorPolicy(method=method))


def differences(found: Mapping[str, float], truth: Mapping[str, float]) -> str:
    """The largest difference and its column."""
    name = max(truth, key=lambda n: abs(found[n] - truth[n]))
    return f"{abs(found[name] - truth[name]):.4f} ({name}: {found[name]:.4f} for {truth[name]:.4f})"


def main() -> None:
    """Print times, ratios and differences of scores."""
    rng = np.random.default_rng(2013)
    before, after = rows(0.0, ROWS, rng), rows(0.1, ROWS, rng)
    vendor, sides = Evidently(before), (plain(before), plain(after))
    few = (sides[0].head(1000), sides[1].head(1000))
    vendor.bare(*few, "wasserstein"), vendor.preset(*few)  # what is imported or built once does not count
    truth, seconds = {}, {}
    for method in METHODS:
        seconds[method], truth[method] = timed(lambda m=method: vendor.bare(*sides, m))
    whole, _ = timed(lambda: vendor.preset(*sides))
    print(f"{ROWS:,} rows x {before.width} columns against {ROWS:,}\n")
    print(f"Evidently on all rows: preset {whole.wall:.1f} s, bare column metrics {seconds['wasserstein'].wall:.1f} s")
    building, stored = timed(lambda: reference_profile(case(before, "wasserstein"), before), 3)
    print(f"reference (once a training): {building.wall:.2f} s\n")
    for method in METHODS:
        use_case = case(before, method)
        verdict, found = timed(lambda c=use_case: drift.measure_drift(c, stored, after), 5)
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder, "report.html")
            both, _ = timed(lambda c=use_case, p=page: drift.measure_drift(c, stored, after, report=p), 5)
        scores = {column.column: column.score for column in found.columns}
        print(f"{method}: verdict {verdict.wall:.2f} s, with HTML {both.wall:.2f} s")
        print(f"  bare metrics take {seconds[method].over(verdict)} the verdict's time, the preset {whole.over(verdict)}")
        print(f"  with HTML: bare metrics {seconds[method].over(both)}, the preset {whole.over(both)}")
        print(f"  largest difference {differences(scores, truth[method])}")
        sampled(vendor, sides, truth[method], method)


def sampled(vendor: Evidently, sides: tuple[pd.DataFrame, pd.DataFrame], truth: Mapping[str, float], method: str) -> None:
    """The baseline: Evidently on a sample of the rows."""
    for n in (5_000, 50_000):
        took, found = timed(lambda k=n: vendor.bare(*(side.sample(k, random_state=1) for side in sides), method))
        print(f"  sample of {n:,}: {took.wall:.2f} s, largest difference {differences(found, truth)}")


if __name__ == "__main__":
    main()

"""Fitting on January and February's flights: Penstock's way beside a plain polars and xgboost script with the same features.

Both run in a process of their own, read the same files and score the same holdout. Printed: AUC of each, and the ratios of
time and peak memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNS = 3

OURS = """
import json, polars as pl
from schemas.usecases.flights import FLIGHTS as case
from tasks import evaluation, features, models
from tasks.training.fit import fit_booster
from tasks.replay.nycflights13 import flights_of_the_year
year = flights_of_the_year()
first = pl.col("time_hour").dt.convert_time_zone("America/New_York").dt.month() <= 2
rows = features.design(case, year["flights"].lazy().filter(first), {"weather": year["weather"].lazy()})
known = features.with_labels(case, rows, year["labels"].lazy()).filter(pl.col("_target").is_not_null()).collect()
train, stopping, holdout = features.split_by_time(case, known)
fitted = fit_booster(case, train, stopping)
scores = models.predict_scores(case, models.load_booster(fitted.model), holdout)
metrics = evaluation.evaluate(case, "0" * 64, "-", holdout, scores).metrics
print(json.dumps({"auc": metrics["auc"], "rows": holdout.height}))
"""

PLAIN = """
import json, polars as pl, xgboost as xgb
from datetime import date, timedelta
from sklearn.metrics import roc_auc_score
from schemas.usecases.flights import AIRPORTS, CARRIERS, DESTINATIONS, FLIGHTS
from tasks.replay.nycflights13 import flights_of_the_year
year = flights_of_the_year()
f, w, l = year["flights"], year["weather"], year["labels"]
f = f.filter(pl.col("month") <= 2).with_columns(then=pl.col("time_hour") - timedelta(hours=3))
f = f.join(w.rename({"time_hour": "then"}), on=["origin", "then"], how="left", maintain_order="left")
f = f.join(l, on=["time_hour", "carrier", "flight"], how="left", maintain_order="left").drop_nulls("arr_delay")
dep = pl.col("hour") * 60 + pl.col("minute")
arr = pl.col("sched_arr_time") // 100 * 60 + pl.col("sched_arr_time") % 100
wind = pl.col("wind_dir").radians()
f = f.sort("time_hour", "carrier", "flight").with_columns(
    airline=pl.col("carrier").cast(pl.Enum(CARRIERS)), origin=pl.col("origin").cast(pl.Enum(AIRPORTS)),
    dest=pl.col("dest").cast(pl.Enum(DESTINATIONS)), departure_minute=dep, scheduled_minutes=(arr - dep) % 1440,
    day=pl.date("year", "month", "day"), dewp_spread=pl.col("temp") - pl.col("dewp"),
    wind_u=pl.col("wind_speed") * wind.sin(), wind_v=pl.col("wind_speed") * wind.cos(),
).with_columns(weekday=pl.col("day").dt.weekday())
X = ["airline", "origin", "dest", "distance", "departure_minute", "scheduled_minutes", "weekday", "dewp", "dewp_spread",
     "wind_u", "wind_v", "wind_gust", "precip", "visib"]
end, days = date(2013, 2, 28), FLIGHTS.split
cut = end - timedelta(days=days.holdout_days)
before = cut - timedelta(days=days.stopping_days)
day = pl.col("day")
parts = [f.filter(day <= before), f.filter((day > before) & (day <= cut)), f.filter(day > cut)]
y = [(p["arr_delay"] > 15).to_numpy() for p in parts]
bins = FLIGHTS.training.params["max_bin"]
m = [xgb.QuantileDMatrix(parts[0].select(X), label=y[0], enable_categorical=True, max_bin=bins)]
m.append(xgb.QuantileDMatrix(parts[1].select(X), label=y[1], enable_categorical=True, max_bin=bins, ref=m[0]))
params = {**FLIGHTS.training.params, "objective": "binary:logistic", "eval_metric": "logloss", "seed": FLIGHTS.training.seed}
b = xgb.train(params, m[0], FLIGHTS.training.rounds, evals=[(m[1], "stop")], early_stopping_rounds=20, verbose_eval=False)
s = b.predict(xgb.DMatrix(parts[2].select(X), enable_categorical=True), iteration_range=(0, b.best_iteration + 1))
print(json.dumps({"auc": roc_auc_score(y[2], s), "rows": parts[2].height}))
"""


def measured(program: str) -> dict[str, float]:
    """Best of some runs: wall seconds, peak MB, and what the program printed."""
    runs = []
    for _ in range(RUNS):
        started = time.perf_counter()
        with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            said = child.stdout.read() if child.stdout else ""
            _, status, usage = _reaped(child)
        if status:
            raise RuntimeError(f"the benchmark's program failed with {status}")
        runs.append({**json.loads(said), "seconds": time.perf_counter() - started, "mb": usage.ru_maxrss / 1024})
    return min(runs, key=lambda run: run["seconds"])


def _reaped(child: subprocess.Popen[str]) -> tuple[int, int, resource.struct_rusage]:
    import os

    pid, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return pid, child.returncode, usage


def main() -> None:
    """Print both and their ratios."""
    ours, plain = measured(OURS), measured(PLAIN)
    print(f"holdout AUC, {ours['rows']:,.0f} rows: penstock {ours['auc']:.4f}, plain script {plain['auc']:.4f}", end="")
    print(f" on {plain['rows']:,.0f}; difference {ours['auc'] - plain['auc']:+.4f}")
    print(f"time {ours['seconds']:.1f} s against {plain['seconds']:.1f} s: {ours['seconds'] / plain['seconds']:.2f}x")
    print(f"peak memory {ours['mb']:.0f} MB against {plain['mb']:.0f} MB: {ours['mb'] / plain['mb']:.2f}x")


if __name__ == "__main__":
    main()

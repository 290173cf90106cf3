"""Fitting at size: from a commit of 10M rows to a booster beside bare polars and xgboost, out of memory, and on two workers.

The commit holds 12 feature columns in Parquet files in the embedded store; the peer reads the very same files. Each
program runs in a process of its own. PENSTOCK_BENCH_ROWS takes fewer rows, PENSTOCK_BENCH_ALLOWED_MB
another amount of memory.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from schemas.settings import Settings
from schemas.usecase import UseCase
from tasks.versions.factory import open_store
from tests.benches._programs import measured
from tests.scale_kit import ROWS, WIDE, files

N = int(os.environ.get("PENSTOCK_BENCH_ROWS", "10_000_000"))
FILES = 20
ALLOWED = int(os.environ.get("PENSTOCK_BENCH_ALLOWED_MB", "1024")) << 20  # resident bytes of `external`

OURS = """
import json, sys
from schemas.refs import DataRef
from schemas.settings import Settings
from schemas.usecase import UseCase
from tasks import models, training
from tasks.versions import open_store
from tests import scale_kit
from tests.scale_kit import quality
if __name__ == "__main__":
    case = getattr(scale_kit, sys.argv[4])
    settings = Settings(home=sys.argv[1], spill=sys.argv[1], dask_workers=int(sys.argv[3]))
    with settings.active():
        url = settings.store_url(case.name)
        with training.split_rows(case, DataRef(store=url, commit=open_store(url).head()), sys.argv[2]) as parts:
            fitted = training.fit_split(case, parts, sys.argv[2], "cpu")
            scores = models.predict_scores(case, models.load_booster(fitted.model), parts.holdout)
            print(json.dumps(quality(scores, parts.holdout)))
"""

BARE = """
import glob, json, sys
from datetime import timedelta
import polars as pl, xgboost as xgb
from tests.scale_kit import ROWS as case, quality
X = list(case.features)
rows = pl.scan_parquet(sorted(glob.glob(sys.argv[1] + "/files/*.parquet")))
rows = rows.select("at", "y", **case.features).collect().sort("at")
last = rows["at"].max()
held, stop = pl.col("at") > last - timedelta(days=2), pl.col("at") > last - timedelta(days=4)
train, stopping, holdout = rows.filter(~stop), rows.filter(stop & ~held), rows.filter(held)
del rows
m = xgb.QuantileDMatrix(train.select(X), label=train["y"].to_numpy(), enable_categorical=True)
s = xgb.QuantileDMatrix(stopping.select(X), label=stopping["y"].to_numpy(), enable_categorical=True, ref=m)
told = {"objective": "binary:logistic", "eval_metric": "logloss", "seed": case.training.seed, **case.training.params}
b = xgb.train(told, m, case.training.rounds, evals=[(s, "stopping")], early_stopping_rounds=20, verbose_eval=False)
scores = b.inplace_predict(holdout.select(X), iteration_range=(0, b.best_iteration + 1))
print(json.dumps(quality(scores, holdout.rename({"y": "_target"}))))
"""


def lay(home: Path, case: UseCase, rows: int) -> None:
    """A commit of the embedded store that holds the rows."""
    (home / "files").mkdir(parents=True)
    store = open_store(Settings(home=home).store_url(case.name))
    store.create()
    store.branch("rows")
    for path in files(home / "files", rows, FILES, case):
        store.upload("rows", f"data/rows/all/{path.stem}.parquet", path)
    store.commit("rows", "rows", {})
    store.merge("rows", "main", "rows", {})


def beside_bare(home: str) -> dict[str, float]:
    """Commit to booster against a bare script."""
    ours, bare = measured(OURS, [home, "memory", "1", "ROWS"]), measured(BARE, [home])
    print(f"{N:,} rows x 12 columns, {ROWS.training.rounds} rounds, commit to booster and holdout scores")
    print(f"  penstock {ours['seconds']:.1f} s, {ours['mb']:.0f} MB, AUC {ours['auc']:.4f};", end=" ")
    print(f"bare polars and xgboost {bare['seconds']:.1f} s, {bare['mb']:.0f} MB, AUC {bare['auc']:.4f}")
    print(f"  time {ours['seconds'] / bare['seconds']:.2f}x, memory {ours['mb'] / bare['mb']:.2f}x", flush=True)
    return ours


def on_workers(home: str, memory: dict[str, float]) -> None:
    """Two Dask workers of one thread each against one."""
    one, two = (measured(OURS, [home, "dask", workers, "ROWS"]) for workers in ("1", "2"))
    print(f"  dask: one worker {one['seconds']:.1f} s, two {two['seconds']:.1f} s:", end=" ")
    print(f"{one['seconds'] / two['seconds']:.2f}x;", end=" ")
    print(f"log loss {two['log_loss'] - memory['log_loss']:+.5f} against memory's", flush=True)


def out_of_memory(home: str) -> None:
    """`external` on features that take three times the memory that its process may take, libraries and all."""
    width = len(WIDE.features)
    rows = 3 * ALLOWED // (4 * width)  # as the float32 that XGBoost takes
    lay(Path(home), WIDE, rows)
    small = measured(OURS, [home, "external", "1", "WIDE"], cap=ALLOWED)
    memory = measured(OURS, [home, "memory", "1", "WIDE"])
    print(f"{rows:,} rows x {width} columns of float32, {rows * width * 4 / 2**20:,.0f} MB, {WIDE.training.rounds} rounds")
    print(f"  external, {ALLOWED / 2**20:.0f} MB allowed: {small['seconds']:.1f} s, peak {small['mb']:.0f} MB;", end=" ")
    print(f"memory: {memory['seconds']:.1f} s, peak {memory['mb']:.0f} MB;", end=" ")
    print(f"AUC {small['auc']:.4f} against {memory['auc']:.4f}, off by {small['auc'] - memory['auc']:+.5f}", flush=True)


def main() -> None:
    """Print all three."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        out_of_memory(str(Path(folder) / "home"))
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        home = str(Path(folder) / "home")
        lay(Path(home), ROWS, N)
        memory = beside_bare(home)
        on_workers(home, memory)


if __name__ == "__main__":
    main()

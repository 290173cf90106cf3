"""Drift of 100 million rows in bounded memory: seconds beside one polars scan of the same columns, peak memory, linearity.

The window is one file of two million rows read fifty times over, through the same scan that a window of many files has.
Each run is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.benches.drift import rows

ROOT = Path(__file__).parents[2]
FILE_ROWS = 2_000_000
TIMES = (10, 50)

VERDICT = """
import json, sys, time, polars as pl
from tests.benches.drift import case
from tasks.monitoring.drift import measure_drift, _evidently
_evidently()
path, times = sys.argv[1], int(sys.argv[2])
stored = json.load(open(path + ".json"))
window = pl.scan_parquet([path] * times)
use_case = case(pl.read_parquet(path, n_rows=1), "wasserstein")
started = time.perf_counter()
found = measure_drift(use_case, stored, window)
print(json.dumps({"seconds": time.perf_counter() - started, "rows": found.rows, "error": found.rank_error,
                  "scores": {c.column: c.score for c in found.columns}}))
"""

SCAN = """
import json, sys, time, polars as pl
path, times = sys.argv[1], int(sys.argv[2])
window = pl.scan_parquet([path] * times)
started = time.perf_counter()
numbers = pl.selectors.numeric().sum()
window.with_columns(pl.col(pl.Enum).to_physical().cast(pl.UInt64)).select(numbers).collect()
print(json.dumps({"seconds": time.perf_counter() - started}))
"""

BASE = "from tests.benches.drift import case; from tasks.monitoring.drift import _evidently; _evidently(); print('{}')"


def measured(program: str, *arguments: str) -> dict[str, float]:
    """What a program printed, and its peak memory in MB."""
    with subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        said = child.stdout.read() if child.stdout else ""
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"the benchmark's program failed with {child.returncode}")
    return {**json.loads(said), "mb": usage.ru_maxrss / 1024}


def main() -> None:
    """Print times, ratios, memory and the error of scores against the file summarised whole."""
    from tests.benches.drift import case

    rng = np.random.default_rng(2013)
    before, after = rows(0.0, 1_000_000, rng), rows(0.1, FILE_ROWS, rng)
    from tasks.features.profiles import reference_profile
    from tasks.monitoring.drift import measure_drift

    use_case = case(before, "wasserstein")
    stored = reference_profile(use_case, before)
    truth = {c.column: c.score for c in measure_drift(use_case, stored, after).columns}
    base = measured(BASE)
    print(f"libraries alone: {base['mb']:.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "window.parquet")
        after.write_parquet(path, row_group_size=250_000)
        Path(f"{path}.json").write_text(json.dumps(stored))
        for times in TIMES:
            ours, scan = (measured(program, str(path), str(times)) for program in (VERDICT, SCAN))
            off = max(abs(ours["scores"][name] - value) for name, value in truth.items())  # type: ignore[index]
            told = f"{ours['rows']:,.0f} rows x {after.width} columns"
            print(f"{told}: verdict {ours['seconds']:.1f} s, {ours['mb']:.0f} MB at most;")
            print(f"  one polars scan {scan['seconds']:.1f} s: {ours['seconds'] / scan['seconds']:.1f}x", end="")
            print(f"; rank error {ours['error']:.5f}, largest difference of a score {off:.4f}")


if __name__ == "__main__":
    main()

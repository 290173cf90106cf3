"""The smoke test of a model: a child process loads its bytes and scores the golden rows again.

A damaged model can kill the process that loads it, or load and score wrong. Run as a program, this module is the child;
it knows XGBoost's Booster and nothing else, so no class that a file may name is imported.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import IntegrityError

if TYPE_CHECKING:
    from schemas.usecase import UseCase

TOLERANCE = 1e-6
DIFFERS = 3
KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")


def run_smoke_test(model: bytes, golden: bytes, use_case: UseCase, *, seconds: float = 120) -> None:
    """Score the golden rows in a child process.

    Args:
        model: Bytes of the model.
        golden: What `golden_rows` gave.
        use_case: The use case.
        seconds: Time that the child process may take.

    Raises:
        IntegrityError: The child dies, its scores differ, or it takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-trial-") as folder:
        files = [Path(folder) / "model.ubj", Path(folder) / "golden.parquet"]
        for file, content in zip(files, (model, golden), strict=True):
            file.write_bytes(content)
        root = Path(str(resources("tasks"))).parent  # as working directory: so that `tasks` is this one
        command = [sys.executable, "-m", "tasks.models.smoke_test", *map(str, files)]
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}  # no secrets for the child
        try:
            done = subprocess.run(
                command, cwd=root, env=environment, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise _refusal(use_case, f"did not end in {seconds:.0f} s") from None
    if done.returncode:
        raise _refusal(use_case, _reason(done.returncode, done.stderr))


def _refusal(use_case: UseCase, why: str) -> IntegrityError:
    return IntegrityError(f"the model of {use_case.name!r} failed its trial on the golden rows: it {why}; train it again")


def _reason(code: int, said: str) -> str:
    if code < 0:
        return f"killed its process ({signal.Signals(-code).name})"
    lines = [line for line in said.splitlines() if line and not line.startswith((" ", "Traceback"))] or [f"exit code {code}"]
    return lines[-1] if code == DIFFERS else f"could not be loaded or scored ({lines[0]})"


def _child(model: str, golden: str) -> int:
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # XGBoost would import it: two seconds for nothing
    _limit()
    import numpy as np
    import polars as pl
    import xgboost as xgb

    from schemas.score_columns import EXPECTED

    rows = pl.read_parquet(golden)
    booster = xgb.Booster(model_file=model)
    scores = booster.inplace_predict(rows.select(booster.feature_names or []))
    expected = rows.select(pl.col(f"^{EXPECTED}.*$")).to_numpy()
    actual = scores.reshape(expected.shape)
    worst = float(np.abs(actual - expected).max())
    if not worst <= TOLERANCE:  # NaN differs too
        print(f"scores differ by up to {worst:.6g}", file=sys.stderr)
        return DIFFERS
    return 0


def _limit() -> None:
    """No core dump, and no more than 8 GB of address space: what a damaged model asks for has no bound."""
    import resource

    for what, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, 8 << 30)):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard < 0 else min(most, hard), hard))


if __name__ == "__main__":
    sys.exit(_child(*sys.argv[1:]))

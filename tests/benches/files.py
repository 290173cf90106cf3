"""Anyone's files: whether `new` and `lifecycle` as first typed end in a champion, beside a plain script on the same rows.

    python -m tests.benches.files DIR             each file of DIR/files.csv (file,target), as a person would first type it
    python -m tests.benches.files DIR penguins    those whose name holds a word

The script is polars and XGBoost with its defaults on the columns as the declared reader read them (text as categories, dates
as days), on the newest fifth of the rows where there is an event time, else on random fifths, equal rows on one side; five
seeds. It has seen none of Penstock's features, splits or policies. A champion holds where its loss on the gate's holdout is
at most two standard deviations of the seeds above the script's mean; "no model beats the baseline" holds where the script
finds no more either.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xgboost as xgb

from deployments.scaffold.trial_audit import loaded
from schemas.usecase import UseCase
from tasks import parsing

SEEDS = 5
NAME = "thing"


def main(arguments: list[str] | None = None) -> None:
    """One line a file, then how many ended in a champion or an honest refusal."""
    folder, *words = arguments or sys.argv[1:] or [""]
    table = Path(folder, "files.csv")
    if not table.is_file():
        print(f"skipped: name a folder with files and files.csv (file,target): {table} is not there")
        return
    lines = [
        each | {"target": _typed_target(each["target"], Path(folder, each["file"]))}
        for each in csv.DictReader(table.open())
        if not words or any(word in each["file"] for word in words)
    ]
    print(f"{'file':<28} {'outcome':<34} {'holdout':>8} {'script':>8} {'sd':>7}  held")
    held = [_line(Path(folder), each["file"], each["target"]) for each in lines]
    print(f"{sum(held)} of {len(held)} held; wanted: 90%, at most one in ten of them without a champion")


def _typed_target(said: str, path: Path) -> str:
    """What a person types: the name, or the position in a file without a header ("outcome: the 23rd column")."""
    if position := re.search(r"the (\d+)\w* column", said):
        return position[1]
    if "the last column (no header)" in said:
        return str(path.read_text(errors="replace").split("\n", 1)[0].count(",") + 1)
    return re.sub(r" \(a blank at the end\)$", "", said)


def _line(folder: Path, file: str, target: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="penstock-files-") as home:
        outcome, loss, pairs = tried(folder / file, target, Path(home))
    script, gains = [each for each, _ in pairs], [constant - each for each, constant in pairs]
    mean, deviation = (float(np.mean(script)), float(np.std(script, ddof=1))) if script else (float("nan"),) * 2
    held = outcome == "champion" and loss is not None and loss <= mean + 2 * deviation
    held |= outcome == "no model beats the baseline" and float(np.mean(gains)) <= 2 * float(np.std(gains, ddof=1))
    print(
        f"{file:<28.28} {outcome:<34.34} {_figure(loss)} {_figure(mean)} {deviation:7.4f}  {'yes' if held else 'NO'}",
        flush=True,
    )
    return held


def _figure(value: float | None) -> str:
    return f"{value:8.4f}" if value is not None and np.isfinite(value) else f"{'':>8}"


def tried(path: Path, target: str, home: Path) -> tuple[str, float | None, list[tuple[float, float]]]:
    """What came of a file, the champion's loss on the gate's holdout, and for each seed the script's and a constant's."""
    drafted = _run(home, "new", NAME, "--from", str(path), "--target", target)
    if drafted.returncode:
        return drafted.stderr.strip().splitlines()[-1], None, []
    with loaded((home / f"{NAME}.py").read_text(), NAME.upper(), home) as case:
        script = losses(case, path, home)
    life = _run(home, "lifecycle", NAME, str(path), "--json")
    _run(home, "down")
    said = (life.stderr + life.stdout).strip()
    if "no model beats the baseline" in said:
        return "no model beats the baseline", None, script
    if life.returncode:
        return said.splitlines()[-1], None, script
    verdict: dict[str, Any] = json.loads(life.stdout)["trained"][-1]["verdict"]
    return "champion" if verdict["promoted"] else verdict["why"], verdict["challenger"], script


def _run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from deployments.cli import main; main()", *arguments]
    return subprocess.run(
        command, cwd=home, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"}
    )


def losses(case: UseCase, path: Path, scratch: Path) -> list[tuple[float, float]]:
    """The script's loss for each seed and that of a constant, in the gate's metric: log loss, or root mean squared error."""
    spec = case.inputs[0]
    parsed = parsing.parse_source(parsing.fingerprint(path), spec.delivered, scratch / "parsed", reader=spec.reader)
    frame = pl.concat([pl.read_parquet(part) for part in parsed.parts])
    frame = frame.with_columns(case.target.value.alias("_target")).drop_nulls("_target")
    frame = frame.sort(spec.time) if spec.time else frame
    return [_loss(case, frame, seed) for seed in range(SEEDS)]


def _loss(case: UseCase, frame: pl.DataFrame, seed: int) -> tuple[float, float]:
    known = [name for name in case.inputs[0].contract.known("at_prediction") if name in frame.columns]
    read = {root for expression in case.features.values() for root in expression.meta.root_names()}
    features = [_plain(frame[name]) for name in known if name in read]
    data, outcome = pl.DataFrame(features), _outcome(case, frame["_target"])
    fit, judged = _halves(frame.select(known), seed, in_order=bool(case.inputs[0].time))
    kind = {"binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"}[case.target.kind]
    params: dict[str, Any] = {"objective": kind, "seed": seed, "subsample": 0.8}
    if case.target.kind == "multiclass":
        params["num_class"] = len(case.target.classes)
    matrices = [xgb.DMatrix(data[rows].to_arrow(), label=outcome[rows], enable_categorical=True) for rows in (fit, judged)]
    scores = xgb.train(params, matrices[0], 100).predict(matrices[1])
    constant = np.broadcast_to(_constant(case, outcome[fit]), scores.shape)
    return _measure(case, scores, outcome[judged]), _measure(case, constant, outcome[judged])


def _halves(frame: pl.DataFrame, seed: int, *, in_order: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Positions of the rows to fit on and of those to judge by: the last fifth, or a random one of the different rows."""
    if in_order:
        cut = int(0.8 * frame.height)
        return np.arange(cut), np.arange(cut, frame.height)
    same = frame.hash_rows().rank("dense").to_numpy() - 1
    share = np.random.default_rng(seed).random(int(same.max()) + 1)[same]
    return np.flatnonzero(share >= 0.2), np.flatnonzero(share < 0.2)


def _constant(case: UseCase, outcome: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The mean of the outcome, or the share of each class."""
    if case.target.kind != "multiclass":
        return np.asarray(np.mean(outcome))
    return np.bincount(outcome.astype(int), minlength=len(case.target.classes)) / len(outcome)


def _plain(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        return column.cast(pl.Categorical).to_physical().cast(pl.Float32).alias(column.name)
    return column.to_physical().cast(pl.Float32)


def _outcome(case: UseCase, target: pl.Series) -> np.ndarray[Any, Any]:
    if case.target.kind == "multiclass":
        return target.cast(pl.Enum(case.target.classes)).to_physical().to_numpy()
    return target.cast(pl.Float64).to_numpy()


def _measure(case: UseCase, scores: np.ndarray[Any, Any], outcome: np.ndarray[Any, Any]) -> float:
    if case.target.kind == "regression":
        return float(np.sqrt(np.mean((scores - outcome) ** 2)))
    said = scores[np.arange(len(outcome)), outcome] if scores.ndim == 2 else np.where(outcome == 1, scores, 1 - scores)
    return float(-np.mean(np.log(np.clip(said, 1e-12, 1))))


if __name__ == "__main__":
    main()

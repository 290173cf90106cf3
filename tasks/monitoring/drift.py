"""Drift: how far a window lies from what the model was trained on. The one module that imports Evidently, and late (6 s)."""

from __future__ import annotations

import hashlib
import html
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from schemas.errors import PenstockError
from schemas.score_columns import is_internal
from schemas.usecase import MonitorPolicy, UseCase
from schemas.verdicts import ColumnDrift, DriftVerdict
from tasks.atomic_files import write_text_atomically
from tasks.features import TARGET, Categories, Marginal, read_profiles
from tasks.monitoring.drift_samples import Frames, frames
from tasks.monitoring.streaming_profiles import marginals

NOTE = 1 << 17  # bytes at the end of a page in which its note is looked for


def measure_drift(
    use_case: UseCase,
    reference: Mapping[str, Any] | None,
    window: pl.DataFrame | pl.LazyFrame,
    importances: Mapping[str, float] | None = None,
    *,
    report: Path | None = None,
    origin: str = "the model was trained on",
) -> DriftVerdict:
    """Distance of each column of a window from the reference, by Evidently, and its HTML at `report`.

    The window holds the features; `_target` and the scores (schemas.score_columns) are compared where they are there.
    `importances` are gains by feature, of any sum. Where a feature cannot be judged (missing, all null, of another type, one
    category only) or rows are too few, the verdict is "drift" if another column shows it and else "not enough evidence".
    A window of more than `streaming_profiles.EXACT_ROWS` is read in batches (given as a LazyFrame it is never in memory),
    and the verdict states the rank error reached.
    `origin` says in the page's heading what the reference is of. Raises UsageError for a reference of an unknown format.
    """
    height = window.lazy().select(pl.len()).collect().item()
    if not reference:
        return _undecided(height, "the model has no reference; train it again to store one")
    known, rows = read_profiles(reference), int(reference["rows"])
    for side, n in (("window", height), ("reference", rows)):
        if n < use_case.monitor.min_rows:
            return _undecided(height, f"the {side} has {n:,} rows, fewer than {use_case.monitor.min_rows:,}")
    present = window.lazy().collect_schema().names()
    wanted = [name for name in dict.fromkeys((*use_case.features, *_outcomes(known, present))) if name in present]
    current, error = marginals(window, known, wanted, height)
    current = {name: each for name, each in current.items() if name in use_case.features or each.values}
    unfit = {name: why for name in (*use_case.features, *current) if (why := _unfit(known.get(name), current.get(name)))}
    gains = _shares(use_case, importances or {})
    names = sorted((name for name in current if name not in unfit), key=lambda name: -gains.get(name, 0.0))
    if not names:
        return _verdict(height, (), unfit, None)
    pair = frames({name: known[name] for name in names}, {name: current[name] for name in names}, use_case.monitor.method)
    about = f"{use_case.name}: window of {height:,} rows against the {rows:,} {origin}"
    scores = _scores(pair, use_case.monitor, report, about)
    odd = {name: "its distance is not a number" for name in names if not math.isfinite(scores[name])}
    drifts = [_column(use_case, name, scores[name], gains, known[name], current[name]) for name in names if name not in odd]
    one = {c.column: "one category only" for c in drifts if not c.drifted and _single(known[c.column], current[c.column])}
    columns = tuple(c for c in drifts if c.column not in one)
    verdict = _verdict(height, columns, {**unfit, **odd, **one}, str(report) if report else None)
    return verdict.model_copy(update={"rank_error": error})


def method_for(method: str, *, numeric: bool) -> str:
    """Evidently's name of the distance: Wasserstein is for numbers, categories then take Jensen-Shannon."""
    return "jensenshannon" if method == "wasserstein" and not numeric else method


def _outcomes(known: Mapping[str, Marginal], columns: Sequence[str]) -> list[str]:
    """Target and scores, where the window has them."""
    return [name for name in known if name in columns and (name == TARGET or is_internal(name))]


def _unfit(reference: Marginal | None, current: Marginal | None) -> str | None:
    """Why a column cannot be compared, or None where it can."""
    if reference is None:
        return "not in the reference"
    if current is None:
        return "missing from the window"
    if not reference.values:
        return "all null in the reference"
    if not current.values:
        return "all null in the window"
    if type(reference) is not type(current):
        return f"{type(reference).__name__.lower()} in the reference, {type(current).__name__.lower()} in the window"
    return None


def _single(reference: Marginal, current: Marginal) -> bool:
    return any(isinstance(side, Categories) and len(side.counts) < 2 for side in (reference, current))


def _shares(use_case: UseCase, importances: Mapping[str, float]) -> dict[str, float]:
    gains = {name: max(importances.get(name, 0.0), 0.0) for name in use_case.features}
    total = sum(gains.values())
    return {name: gain / total for name, gain in gains.items()} if total else {}


def _column(
    use_case: UseCase, name: str, score: float, gains: Mapping[str, float], reference: Marginal, current: Marginal
) -> ColumnDrift:
    policy = use_case.monitor
    return ColumnDrift(
        column=name,
        method=method_for(policy.method, numeric=not isinstance(reference, Categories)),
        score=max(score, 0.0),
        threshold=policy.threshold,
        importance=gains.get(name, 0.0),
        null_share=current.nulls / current.rows,
        reference_null_share=reference.nulls / reference.rows,
    )


def _undecided(rows: int, why: str) -> DriftVerdict:
    return DriftVerdict(status="not enough evidence", why=why, rows=rows)


def _verdict(rows: int, columns: tuple[ColumnDrift, ...], unscored: Mapping[str, str], report: str | None) -> DriftVerdict:
    drifted = sorted((c for c in columns if c.drifted), key=lambda c: (-c.importance, -c.score))
    missing = "not judged: " + ", ".join(f"{name} ({why})" for name, why in unscored.items()) if unscored else ""
    verdict = DriftVerdict(status="drift", why="", rows=rows, columns=columns, unscored=unscored, report=report)
    if drifted:
        listed = ", ".join(_describe_column(c) for c in drifted[:3]) + (", ..." if len(drifted) > 3 else "")
        gain = f", with {verdict.impact:.0%} of the model's gain" if any(c.importance for c in columns) else ""
        why = f"{len(drifted)} of {len(columns)} columns drifted{gain}: {listed}"
        return verdict.model_copy(update={"why": "; ".join(filter(None, (why, missing)))})
    if unscored or not columns:
        return verdict.model_copy(update={"status": "not enough evidence", "why": missing or "no column to compare"})
    most = max(columns, key=lambda c: c.score)
    why = f"none of {len(columns)} columns drifted; the most moved is {_describe_column(most)}, below {most.threshold}"
    return verdict.model_copy(update={"status": "no drift", "why": why})


def _describe_column(column: ColumnDrift) -> str:
    nulls = abs(column.null_share - column.reference_null_share) >= column.threshold
    moved = f", null {column.null_share:.0%} instead of {column.reference_null_share:.0%}" if nulls else ""
    return f"{column.column} ({column.score:.2f}{moved})"


@cache
def _evidently() -> tuple[Any, Any, Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations in what Evidently imports
        from evidently import DataDefinition, Dataset, Report  # type: ignore[import-untyped]
        from evidently.metrics import ValueDrift  # type: ignore[import-untyped]
    return Report, Dataset, DataDefinition, ValueDrift


def _scores(pair: Frames, policy: MonitorPolicy, report: Path | None, about: str) -> dict[str, float]:
    """Evidently's score of each column; its warnings about the numbers are dropped, its errors are not.

    A window is looked at again when its labels come: a page that was made of the same frames is not drawn again.
    """
    digest = _digest(pair, policy, about) if report else ""
    if report and (cached := _cached_scores(report, digest)):
        return cached
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores, page = _report_scores(pair, policy) if report else (_distances(pair, policy.method), "")
    if lost := sorted(set(pair.reference.columns) - set(scores)):
        raise PenstockError(f"Evidently gave no score for {', '.join(lost)}; its version may not fit this one of Penstock")
    if report:
        write_text_atomically(report, _with_heading(page, about) + _note(digest, scores), durable=True)
    return scores


def _digest(pair: Frames, policy: MonitorPolicy, about: str) -> str:
    """What scores and page are made of."""
    inputs = [about, policy.method, policy.threshold, list(pair.numerical), list(pair.categorical)]
    sides = [side.to_json(orient="split", double_precision=15) for side in (pair.reference, pair.window)]
    return hashlib.sha256(json.dumps([*inputs, *sides]).encode()).hexdigest()


def _note(digest: str, scores: Mapping[str, float]) -> str:
    """The last line of a page: a comment that says what it was made of and the scores it shows."""
    document = json.dumps({"digest": digest, "scores": dict(scores)}).replace("--", "-\\u002d")
    return f"\n<!-- {document} -->\n"


def _cached_scores(report: Path, digest: str) -> dict[str, float] | None:
    """The scores of a page that was made of the same; None where there is no such page."""
    try:
        with report.open("rb") as file:
            file.seek(-min(NOTE, report.stat().st_size), os.SEEK_END)
            document = json.loads(file.read().splitlines()[-1].removeprefix(b"<!-- ").removesuffix(b" -->"))
    except (OSError, ValueError, IndexError):
        return None
    return dict(document["scores"]) if document.get("digest") == digest else None


def _distances(pair: Frames, method: str) -> dict[str, float]:
    """Evidently's statistics by themselves: a Report draws its charts in any case, in most of its time."""
    _evidently()
    from evidently.legacy.calculations.stattests import get_stattest  # type: ignore[import-untyped]
    from evidently.legacy.core import ColumnType  # type: ignore[import-untyped]

    scores = {}
    for name in pair.reference.columns:
        kind = ColumnType.Numerical if name in pair.numerical else ColumnType.Categorical
        before, after = pair.reference[name].dropna(), pair.window[name].dropna()
        statistic = get_stattest(before, after, kind, method_for(method, numeric=name in pair.numerical))
        scores[name] = float(statistic(before, after, kind, None).drift_score)
    return scores


def _report_scores(pair: Frames, policy: MonitorPolicy) -> tuple[dict[str, float], str]:
    """The same scores from a Report, and its page."""
    make_report, dataset, definition, value_drift = _evidently()
    roles = definition(numerical_columns=list(pair.numerical), categorical_columns=list(pair.categorical))
    metrics = [
        value_drift(
            column=name, method=method_for(policy.method, numeric=name in pair.numerical), threshold=policy.threshold
        )
        for name in pair.reference.columns
    ]
    snapshot = make_report(metrics).run(*(dataset.from_pandas(side, roles) for side in (pair.window, pair.reference)))
    scores = {metric["config"]["column"]: float(metric["value"]) for metric in snapshot.dict()["metrics"]}
    return scores, snapshot.get_html_str(as_iframe=False)


def _with_heading(page: str, about: str) -> str:
    """Evidently's page, with a line that says what was compared: its charts count the rows of compressed columns."""
    note = (
        f"{html.escape(about)}. Shares and distances are those of all rows; row counts in charts are of compressed columns."
    )
    line = f'<p style="font: 14px sans-serif; margin: 12px 24px">{note}</p>'
    return page.replace("<body>", f"<body>{line}", 1)

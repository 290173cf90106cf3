"""Model cards: what a version was made from, how good it was and on what, and where that ends. Markdown and HTML.

After Mitchell et al., Model cards for model reporting (2019). Everything in a card is read from what is stored with the
version; `evidence` is what has to be kept for it when the model is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from schemas.errors import IntegrityError
from schemas.refs import ModelRef
from schemas.score_columns import internal_names
from schemas.usecase import UseCase
from tasks import evaluation
from tasks.registry import MANIFEST, ModelRegistry, optional_document, use_case_of
from tasks.reporting.model_card_html import Section, html, markdown

FORMAT = 1
LEVEL = 0.95
BINS = 10


def card_evidence(case: UseCase, holdout: pl.DataFrame, scores: np.ndarray) -> dict[str, Any]:
    """What a card needs of an evaluation beyond its metrics: their intervals over blocks, and the calibration curve.

    Args:
        case: The use case.
        holdout: Designed rows that the model was not fitted on, with `_target` and `_block`.
        scores: Scores, shape (n,), or (n, classes) for several classes.

    Returns:
        Intervals by metric, and the points of the calibration curve; JSON can hold it.
    """
    rows = evaluation.with_scores(case, holdout, scores)
    return {"format_version": FORMAT, "intervals": _intervals(case, rows), "calibration": _curve(case, rows)}


def _intervals(case: UseCase, rows: pl.DataFrame) -> dict[str, list[float]]:
    """Per metric the mean over blocks and its two-sided 95% interval."""
    intervals = {}
    for name in evaluation.metric_expressions(case):
        blocks = evaluation.block_metric(case, rows, name).drop_nulls().filter(pl.col("value").is_finite())
        if blocks.height >= 2:
            weights, values = blocks["rows"].to_numpy().astype(np.float64), blocks["value"].to_numpy()
            low, high = evaluation.block_interval(weights, values, 1 - LEVEL, case.training.seed)
            intervals[name] = [float(np.average(values, weights=weights)), low, high]
    return intervals


def _curve(case: UseCase, rows: pl.DataFrame) -> list[dict[str, float]]:
    """Bins of equal count, by score: what was said and what happened; for several classes, of the most likely one."""
    if case.target.kind == "regression" or rows.is_empty():
        return []
    scores, happened = [pl.col(name) for name in internal_names(case.target)], pl.col("_y")
    said = scores[0]
    if case.target.kind == "multiclass":
        all_scores = pl.concat_list(scores)
        said, happened = all_scores.list.max(), (all_scores.list.arg_max() == happened).cast(pl.Float64)
    judged = rows.select(said=said, happened=happened).sort("said").with_row_index("n")
    bins = judged.group_by(pl.col("n") * BINS // rows.height).agg(pl.col("said", "happened").mean(), rows=pl.len())
    return bins.sort("said").select("said", "happened", "rows").to_dicts()


def attach_card(case: UseCase, registry: ModelRegistry, ref: ModelRef, *, anew: bool = False) -> None:
    """See that a version has its card, made again where the gate has spoken once more or the card is damaged.

    Args:
        case: The use case.
        registry: The model registry.
        ref: The version.
        anew: Whether a card that is there is made again.
    """
    if anew or not _carded(registry, ref):
        registry.attach_card(ref, render_card(case, registry, ref), case.question)


def _carded(registry: ModelRegistry, ref: ModelRef) -> bool:
    try:
        return registry.card(ref, "md") is not None
    except IntegrityError:
        return False


def render_card(case: UseCase, registry: ModelRegistry, ref: ModelRef) -> dict[str, bytes]:
    """The card of a version by suffix, `md` and `html`.

    Args:
        case: The use case.
        registry: The model registry.
        ref: The version.

    Returns:
        The bytes of the two files.
    """
    case, title = use_case_of(case, registry, ref), f"{case.name} v{ref.version}"
    sections = list(_sections(case, registry, ref))
    lead = f"{case.question} Answered as {_answer(case)}."
    return {
        "md": markdown(title, lead, sections).encode(),
        "html": html(title, lead, sections).encode(),
    }


def _answer(case: UseCase) -> str:
    target = case.target
    if target.kind == "regression":
        return f"a number{f' in {target.unit}' if target.unit else ''}"
    classes = " or ".join(f'"{name}"' for name in target.classes)
    return f"{classes}, each with its probability" if target.kind == "multiclass" else f"{classes}, with a probability"


def _sections(case: UseCase, registry: ModelRegistry, ref: ModelRef) -> Iterator[Section]:
    manifest, evaluated = registry.document(ref, "manifest"), registry.document(ref, "evaluation")
    evidence = _optional(registry, ref, "evidence")
    yield _data(manifest, evaluated)
    yield from _gate(_optional(registry, ref, "verdict"))
    yield from _leaks(_optional(registry, ref, "leakage"))
    yield _metrics(evaluated, evidence)
    yield from _slices(case, evaluated)
    yield from _calibration(evidence)
    yield from _importances(_optional(registry, ref, "importances"))
    yield _limits(case, manifest, evaluated)
    yield _lineage(manifest, registry.tags(ref), ref)


def _optional(registry: ModelRegistry, ref: ModelRef, name: str) -> dict[str, Any]:
    return dict(optional_document(registry, ref, name) or {})


def _data(manifest: Mapping[str, Any], evaluated: Mapping[str, Any]) -> Section:
    window = evaluated.get("window")
    rows = [
        ("fitted on", f"{manifest['rows']:,} rows" if "rows" in manifest else "rows not counted"),
        ("the newest of them", _moment(manifest.get("fitted_until"))),
        ("evaluated on", f"{evaluated['rows']:,} rows in {evaluated['blocks']} blocks"),
        ("from, to", f"{_moment(window[0])}, {_moment(window[1])}" if window else "no event times"),
        ("data commit", str(manifest.get("data_commit", ""))),
    ]
    return Section("Data", rows=rows)


def _gate(verdict: Mapping[str, Any]) -> Iterator[Section]:
    if verdict:
        checks = [("passed" if c["passed"] else "failed", c["name"], c["detail"]) for c in verdict.get("checks") or ()]
        yield Section("Gate", verdict["why"], ("", "check", "what it saw"), checks)


def _leaks(document: Mapping[str, Any]) -> Iterator[Section]:
    """Features that told the outcome too well when the version was fitted."""
    if found := document.get("leaks"):
        rows = [("to confirm" if leak["confirm"] else "warning", leak["column"], leak["why"]) for leak in found]
        text = "Features that tell the outcome so well that it was asked whether they are known before it."
        yield Section("Leaks", text, ("", "feature", "what gives it away"), rows)


def _metrics(evaluated: Mapping[str, Any], evidence: Mapping[str, Any]) -> Section:
    lines = [(name, f"{value:.4f}", *_interval(evidence, name)) for name, value in sorted(evaluated["metrics"].items())]
    text = "Blocks are the sample: rows of one block depend on each other, so the interval is that of the mean over blocks."
    return Section("Metrics", text, ("metric", "all rows", "mean over blocks", f"{LEVEL:.0%} interval"), lines)


def _interval(evidence: Mapping[str, Any], name: str) -> tuple[str, str]:
    mean, low, high = (evidence.get("intervals") or {}).get(name, (None, None, None))
    return ("", "") if mean is None else (f"{mean:.4f}", f"{low:.4f} to {high:.4f}")


def _slices(case: UseCase, evaluated: Mapping[str, Any]) -> Iterator[Section]:
    metric = case.gate.metric
    by_slice = {name: values for name, values in (evaluated.get("slices") or {}).items() if metric in values}
    if by_slice:
        ordered = sorted(by_slice.items(), key=lambda item: -item[1][metric])
        rows = [(name, f"{values['rows']:,.0f}", f"{values[metric]:.4f}") for name, values in ordered]
        text = f"Slices of at least {case.gate.min_slice_rows:,} rows, by {metric}."
        yield Section("Slices", text, ("slice", "rows", metric), rows)


def _calibration(evidence: Mapping[str, Any]) -> Iterator[Section]:
    if bins := evidence.get("calibration"):
        rows = [(f"{b['said']:.3f}", f"{b['happened']:.3f}", f"{b['rows']:,.0f}") for b in bins]
        text = "Rows in bins of equal count by probability: what was said, and how often it came true."
        points = [(float(b["said"]), float(b["happened"])) for b in bins]
        yield Section("Calibration", text, ("said", "came true", "rows"), rows, points=points)


def _importances(importances: Mapping[str, Any]) -> Iterator[Section]:
    """One table a kind of importance: shares of the gain, and what else is stored."""
    for kind, shares in importances.items():
        if isinstance(shares, Mapping) and shares:
            ordered = sorted(shares.items(), key=lambda item: -abs(item[1]))
            rows = [(name, f"{value:.1%}" if kind == "gain" else f"{value:.4g}") for name, value in ordered]
            bars = [abs(float(value)) for _, value in ordered]
            yield Section(f"Importance: {kind}", "", ("feature", kind), rows, bars=bars)


def _limits(case: UseCase, manifest: Mapping[str, Any], evaluated: Mapping[str, Any]) -> Section:
    window = evaluated.get("window")
    said = [f"The metrics hold for rows from {_moment(window[0])} to {_moment(window[1])}." if window else ""]
    if manifest.get("recipe_of"):
        said.append(
            f"These bytes were fitted with the recipe of v{manifest['recipe_of']} on all rows, the evaluated ones included:"
            " the metrics are that recipe's, on rows that it had not seen."
        )
    said += [
        f"Slices of fewer than {case.gate.min_slice_rows:,} rows were not judged.",
        "A category that was not seen in training counts as missing.",
        f"It asks to be replaced after {case.monitor.max_age_days} days, or when its loss rises by"
        f" {case.monitor.loss_tolerance:g}.",
    ]
    return Section("Limits", rows=[(text,) for text in said if text])


def _lineage(manifest: Mapping[str, Any], tags: Mapping[str, str], ref: ModelRef) -> Section:
    contracts = ", ".join(f"{name} {number}" for name, number in (manifest.get("contract_versions") or {}).items())
    parameters = ", ".join(f"{name}={value}" for name, value in (manifest.get("params") or {}).items())
    rows = [
        ("model SHA-256", ref.sha256),
        ("manifest SHA-256", tags.get(MANIFEST, "")),
        ("row digest", str(manifest.get("row_digest", ""))),
        ("data store", str(manifest.get("data_store", ""))),
        ("use case version", str(manifest.get("use_case_version", ""))),
        ("contracts", contracts),
        ("parameters", parameters),
        ("rounds, seed", f"{manifest.get('rounds', '')}, {manifest.get('seed', '')}"),
        ("penstock", str(manifest.get("code_version", ""))),
        ("MLflow run", ref.run_id),
    ]
    return Section("Lineage", rows=[(name, value) for name, value in rows if value])


def _moment(text: Any) -> str:
    return str(text)[:16].replace("T", " ") if text else "unknown"

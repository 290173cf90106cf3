"""Champion and challenger on the same served rows: what the shadow said, side by side with what was answered."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from schemas.score_columns import CATEGORY, prediction_names, to_scores
from schemas.usecase import UseCase
from schemas.verdicts import Comparison
from tasks import evaluation, features, inference
from tasks.versions import MAIN, VersionStore

SHADOWED = "_shadow"
DAYS = 28


def compare_shadow(use_case: UseCase, log: VersionStore, labels: pl.LazyFrame | None = None) -> list[Comparison]:
    """Every pair of versions that served and shadowed the same rows on the newest 28 days of answers, newest champion first.

    `labels` are rows of the label input. Rows are joined to them by key: where key columns are private, none is found.
    """
    paths = [stored.path for stored in log.objects(MAIN, inference.RECEIPTS_FOLDER)] if log.exists() else []
    if not paths:
        return []
    since = max(map(inference.segment_day, paths)) - timedelta(days=DAYS)
    recent = [log.scan(MAIN, [path]) for path in paths if inference.segment_day(path) > since]
    # Servers of other contracts took other columns: without them all receipts are alike.
    alike = [receipts.drop("inputs", "lookups", strict=False) for receipts in recent]
    receipts = pl.concat(alike, how="diagonal").collect()
    answered = receipts.filter(pl.col("role") == inference.CHAMPION)
    shadowed = receipts.filter(pl.col("role") == inference.SHADOW)
    both = answered.join(shadowed, on="prediction_id", suffix=SHADOWED, maintain_order="left")
    pairs = both.partition_by("model_version", f"model_version{SHADOWED}", as_dict=True, maintain_order=True)
    newest = sorted(pairs.items(), reverse=True)
    return [_comparison(use_case, int(versions[0]), int(versions[1]), rows, labels) for versions, rows in newest]


def _comparison(
    use_case: UseCase, champion: int, challenger: int, rows: pl.DataFrame, labels: pl.LazyFrame | None
) -> Comparison:
    mine = _scores(use_case, rows)
    names = [name for name in rows.columns if name.endswith(SHADOWED)]
    other = rows.select(pl.col(name).alias(name.removesuffix(SHADOWED)) for name in names)
    theirs = _scores(use_case, other)
    same = (rows[CATEGORY] == other[CATEGORY]).mean() if CATEGORY in rows.columns else None
    difference = abs(mine.reshape(len(rows), -1)[:, 0] - theirs.reshape(len(rows), -1)[:, 0]).mean()
    comparison = Comparison(
        champion=champion,
        challenger=challenger,
        rows=rows.height,
        same_category=same if isinstance(same, float) else None,
        mean_difference=float(difference),
    )
    if labels is None or not set(use_case.key) <= set(rows.columns):
        return comparison
    labelled = features.with_labels(use_case, rows.lazy(), labels).collect()
    known = [evaluation.with_scores(use_case, labelled, scores) for scores in (mine, theirs)]
    metric = use_case.gate.metric
    values = [each.select(evaluation.metric_expressions(use_case)[metric]).item() if each.height else None for each in known]
    realized = {"labelled": known[0].height, "metric": metric, "champion_metric": values[0], "challenger_metric": values[1]}
    return comparison.model_copy(update=realized)


def _scores(use_case: UseCase, rows: pl.DataFrame) -> np.ndarray:
    """Recorded scores as a booster gives them: shape (n,), or (n, classes)."""
    return to_scores(use_case.target, prediction_names(use_case.target), rows)

"""Why rows were predicted as they were: for each stored prediction the features that moved it most, by SHAP values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from schemas.errors import UsageError
from schemas.output_columns import INPUTS, PREFIX
from schemas.refs import CommitId, DataRef, ModelRef
from schemas.results import Scores
from schemas.usecase import UseCase
from tasks import datasets, features, models
from tasks.inference.batch import pieces
from tasks.inference.prediction_rows import prediction_ids
from tasks.inference.prediction_store import prediction_paths
from tasks.registry import open_registry, versioned
from tasks.versions import VersionStore, open_store

REASONS = 3  # of a row
Piece = tuple[pl.Series, pl.DataFrame]


def explain_predictions(declared: UseCase, scores: Scores, folder: Path) -> pl.LazyFrame:
    """The features that moved each prediction most, computed again from the rows by the version that predicted them.

    Args:
        declared: The use case as the code declares it.
        scores: A scoring with predictions.
        folder: An empty folder; the reasons lie in it as long as they are read.

    Returns:
        `prediction_id`, and `penstock_reason_1` to `penstock_reason_3`, texts like `visits = 2 (+1.31)`: the feature, its
            value, and its SHAP value: log-odds of the positive, of several classes log-odds of the predicted one, or the
            unit of the number. The strongest comes first; null where a model has fewer features.

    Raises:
        UsageError: The scoring has no predictions, or a feature reads a private column that they do not keep.

    References:
        Lundberg et al., From local explanations to global understanding with explainable AI for trees (2020).
    """
    if scores.predictions is None or scores.path is None or scores.model is None or scores.data is None:
        raise UsageError(f"this scoring made no predictions to explain ({scores.why})")
    log, commit = open_store(scores.predictions.store), scores.predictions.commit
    stored = [log.scan(commit, [path]) for path in prediction_paths(log, commit, scores.path)]
    registry = open_registry(scores.model.registry)
    name, version, data_commit = stored[0].select("model_name", "model_version", "data_commit").head(1).collect().row(0)
    model = registry.version(name, version)  # another than the champion's, where rows were scored before it came
    case, _ = versioned(declared, registry, model)
    booster = models.load_booster(registry.model_bytes(model))
    data = DataRef(store=scores.data.store, commit=data_commit)
    for number, (ids, designed) in enumerate(_designed(case, log, commit, stored, model, data)):
        found = strongest(models.shap_contributions(booster, designed), designed.select(booster.feature_names or []))
        found.insert_column(0, ids).write_parquet(folder / f"{number:06}.parquet")
    return pl.scan_parquet(folder / "*.parquet")


def _designed(
    case: UseCase, log: VersionStore, commit: CommitId, stored: list[pl.LazyFrame], model: ModelRef, data: DataRef
) -> Iterator[Piece]:
    """Ids and designed rows of each piece, as they were scored."""
    store = open_store(data.store)
    context = datasets.inputs_at(store, data.commit, case)
    if INPUTS in stored[0].collect_schema():
        yield from (_of_file(case, receipts, context) for receipts in stored)
        return
    dtypes = case.input(case.rows).contract.dtypes()
    paths = datasets.paths_added_by(store, log.get(commit).metadata["arrival"], case.rows)
    for rows in pieces(lambda path: store.scan(data.commit, [path], dtypes), paths):
        designed = features.design(case, rows, context).collect()
        yield prediction_ids(case, designed, model.sha256, data.commit), designed


def _of_file(case: UseCase, receipts: pl.LazyFrame, context: Mapping[str, pl.LazyFrame]) -> Piece:
    """A file's rows lie in no store, but for the inputs that their predictions keep."""
    held = receipts.select("prediction_id", INPUTS).collect()
    rows, contract = held.unnest(INPUTS), case.input(case.rows).contract
    gone = {*contract.private(), *contract.hashed()}
    expressions = [*case.features.values(), *(on for lookup in case.lookups for on in lookup.on.values())]
    if unread := sorted(gone & {name for expr in expressions for name in expr.meta.root_names()}):
        raise UsageError(
            f"the reasons need {', '.join(unread)}, which is private, so that predictions of a file do not keep it; "
            "ingest the file and score its rows, or leave the reasons out"
        )
    filled = [pl.lit(None, dtype=contract.dtypes()[name]).alias(name) for name in gone if name in contract.dtypes()]
    return held["prediction_id"], features.design(case, rows.with_columns(filled).lazy(), context).collect()


def strongest(contributions: np.ndarray, rows: pl.DataFrame) -> pl.DataFrame:
    """The features that moved each row most, in words.

    Args:
        contributions: SHAP values and, last, the bias: shape (n, features + 1), or (n, classes, features + 1).
        rows: The features, in the same order.

    Returns:
        One column a reason, the strongest first.
    """
    if contributions.ndim == 3:
        predicted = contributions.sum(axis=2).argmax(axis=1)
        contributions = contributions[np.arange(len(predicted)), predicted]
    sizes = contributions[:, :-1]
    order = np.argsort(-np.abs(sizes), axis=1, kind="stable")[:, :REASONS]
    none = pl.Series([None] * rows.height, dtype=pl.String)
    texts = [_worded(rows, order[:, place], sizes) if place < order.shape[1] else none for place in range(REASONS)]
    return pl.DataFrame({f"{PREFIX}reason_{place}": text for place, text in enumerate(texts, 1)})


def _worded(rows: pl.DataFrame, chosen: np.ndarray, sizes: np.ndarray) -> pl.Series:
    """`name = value (+size)` of the chosen feature of each row."""
    texts = np.full(rows.height, None, dtype=object)
    for at, name in enumerate(rows.columns):
        picked = np.flatnonzero(chosen == at)
        values = rows[name].gather(picked).cast(pl.String).fill_null("missing")
        texts[picked] = [f"{name} = {value} ({size:+.2f})" for value, size in zip(values, sizes[picked, at], strict=True)]
    return pl.Series(texts.tolist(), dtype=pl.String)

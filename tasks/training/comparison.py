"""What a challenger is compared with, and the scores of a version on rows that another design was made for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from schemas.errors import NotFound, UsageError
from schemas.fitting import Engine
from schemas.model_design import describe_design, design_digest, is_scored_alike
from schemas.refs import DataRef, ModelRef
from schemas.usecase import UseCase
from tasks import datasets, evaluation, features, models
from tasks.promotion import fitted_until
from tasks.registry import ModelRegistry, design_of, optional_document, recorded_design, versioned
from tasks.training.engines import split_rows


@dataclass(frozen=True)
class Reference:
    """The version that stands for the champion in the gate.

    Attributes:
        model: The champion, or the gated version that it is a refit of; None where there is no champion.
        after: Newest event time that `model` was fitted on: the holdout is newer.
        same_holdout: Whether the holdout is the one that `model` itself was gated on.
    """

    model: ModelRef | None
    after: datetime | None
    same_holdout: bool = False


def choose_reference(
    case: UseCase, registry: ModelRegistry, champion: ModelRef | None, data: DataRef, engine: Engine
) -> Reference:
    """What a training at a commit compares its challenger with.

    Args:
        case: The use case as the code declares it.
        registry: The model registry.
        champion: The champion, or None.
        data: Commit of the data, and the repository that it lies in.
        engine: Where the rows lie meanwhile: `memory`, `external` or `dask`.

    Returns:
        The champion on newer rows, where there are as many as the gate asks for; else, for a new design, the version that
            the champion is a refit of, on its own holdout.
    """
    on_newer_rows = Reference(champion, fitted_until(registry, champion) if champion else None)
    gated = _gated_reference(case, registry, champion)
    if gated is None or case.time is None:  # without event times a refit has not seen what is held out
        return on_newer_rows
    with split_rows(case, data, engine, on_newer_rows.after) as parts:
        return on_newer_rows if evaluation.is_enough(case, parts.holdout) else gated


def _gated_reference(case: UseCase, registry: ModelRegistry, champion: ModelRef | None) -> Reference | None:
    """The gated version that a champion is a refit of, where the use case has another design by now.

    A refit has seen all rows; the version that it was made after has not seen its own holdout. A new design can be compared
    with it there, without waiting for newer rows.
    """
    design = recorded_design(registry, champion) if champion else None
    if champion is None or design is None or is_scored_alike(case, design):
        return None
    gated = gated_version(registry, champion)
    return Reference(gated, fitted_until(registry, gated), same_holdout=True) if gated else None


def gated_version(registry: ModelRegistry, model: ModelRef) -> ModelRef | None:
    """The version that was gated in a refit's place.

    Args:
        registry: The model registry.
        model: The refit, or any version.

    Returns:
        The version; None where `model` is no refit, or that one is gone.
    """
    recipe = (optional_document(registry, model, "manifest") or {}).get("recipe_of")
    try:
        return registry.version(model.name, int(recipe)) if recipe is not None else None
    except NotFound:
        return None


def count_designs(case: UseCase, registry: ModelRegistry, reference: ModelRef, holdout: list[str] | None) -> int:
    """How many designs were compared on a version's own holdout: its own, those that came after, and that of the code.

    Args:
        case: The use case as the code declares it.
        registry: The model registry.
        reference: The version that was gated there.
        holdout: First and last event time of the holdout, in ISO 8601.

    Returns:
        The number, at least 2 where the code has another design.
    """
    designs = {design_digest(describe_design(case)), design_digest(design_of(case, registry, reference))}
    for model in registry.versions(case.name):
        manifest = registry.document(model, "manifest")
        if (manifest.get("split") or {}).get("holdout") == holdout and (digest := manifest.get("design_sha256")):
            designs.add(digest)
    return len(designs)


def version_scores(case: UseCase, registry: ModelRegistry, model: ModelRef, data: DataRef, rows: pl.DataFrame) -> np.ndarray:
    """Scores of a version for rows that were designed by the code's use case: by the version's own design.

    Args:
        case: The use case as the code declares it, by which the rows were designed.
        registry: The model registry.
        model: The version.
        data: Commit of the data that the rows lie in.
        rows: Designed rows; their keys say which rows are scored.

    Returns:
        float32, shape (n,), or (n, classes).

    Raises:
        UsageError: The version needs code that has changed or is gone.
    """
    own, design = versioned(case, registry, model)
    if not is_scored_alike(case, design):
        rows = _redesigned(own, data, rows)
    return models.predict_scores(own, models.load_booster(registry.model_bytes(model)), rows)


def _redesigned(case: UseCase, data: DataRef, rows: pl.DataFrame) -> pl.DataFrame:
    keys = list(case.key)
    designed = datasets.load_designed_rows(case, data).select(*keys, *features.feature_names(case))
    joined = rows.lazy().select(keys).join(designed, on=keys, how="left", maintain_order="left", validate="1:1").collect()
    if joined.height != rows.height:
        raise UsageError(f"{case.name}: rows of the holdout are not found again at commit {data.commit[:12]}")
    return joined

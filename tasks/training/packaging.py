"""A fitted model made ready for the registry, with all that is stored with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from schemas.model_design import DOCUMENT, describe_design
from schemas.refs import DataRef, ModelRef
from schemas.usecase import UseCase
from schemas.verdicts import Evaluation
from tasks import features, models
from tasks.registry import SEARCH, Candidate, ModelRegistry
from tasks.training import fit
from tasks.versions import open_store

FORMAT = 1


def record_candidate(registry: ModelRegistry, data: DataRef, candidate: Candidate) -> ModelRef:
    """Register a candidate, and tag the commit it was fitted on: what a model was made from is not garbage.

    Args:
        registry: The model registry.
        data: Commit of the data, and the repository that it lies in.
        candidate: What `build_candidate` gave.

    Returns:
        The version.
    """
    model = registry.record(candidate)
    open_store(data.store).tag(f"model/{model.name}/v{model.version}-{data.commit[:12]}", data.commit)
    return model


def build_candidate(
    case: UseCase,
    made_from: Mapping[str, Any],
    fitted: fit.Fitted,
    rows: pl.DataFrame,
    evaluated: Evaluation,
    documents: Mapping[str, Any] | None = None,
) -> Candidate:
    """A model fitted on `rows`, with its manifest, golden rows, reference and tags, ready to be recorded.

    Args:
        case: The use case.
        made_from: The manifest.
        fitted: The fitted model.
        rows: Designed rows that it was fitted on, with `_target`.
        evaluated: Its evaluation.
        documents: Further documents to store, by name.

    Returns:
        The candidate.
    """
    booster = models.load_booster(fitted.model)
    scores = models.predict_scores(case, booster, rows)
    dtypes = {name: rows.schema[name] for name in features.feature_names(case)}
    importances = {"gain": fitted.importances, "shap": models.shap_importances(booster, rows)}
    tagged = {name: made_from[name] for name in ("data_commit", "use_case_version", "code_version", "fitted_until")}
    return Candidate(
        name=case.name,
        model=fitted.model,
        manifest=made_from,
        evaluation=evaluated,
        golden=models.golden_rows(case, booster, rows),
        params={**case.training.params, "rounds": fitted.best_rounds, "seed": case.training.seed},
        tags={name: str(value) for name, value in {**tagged, SEARCH: _trials(made_from)}.items()},
        documents={
            "reference": features.reference_profile(case, rows, rows[features.TARGET], scores),
            DOCUMENT: describe_design(case),
            "importances": {"format_version": FORMAT, **importances},
            **(documents or {}),
        },
        input_dtypes={name: str(dtype.base_type()) for name, dtype in dtypes.items()},
        categories={name: list(dtype.categories) for name, dtype in dtypes.items() if isinstance(dtype, pl.Enum)},
        kind=case.target.kind,
        classes=case.target.classes,
        threshold=case.target.threshold,
        description=case.question,
    )


def _trials(made_from: Mapping[str, Any]) -> int:
    return int((made_from["search"] or {}).get("trials", 0))

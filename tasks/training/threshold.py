"""The champion with another threshold: the same scores, other words, as a version of its own."""

from __future__ import annotations

import io

import polars as pl

from schemas.digests import sha256
from schemas.errors import UsageError
from schemas.model_design import DOCUMENT, design_digest
from schemas.refs import ModelRef
from schemas.score_columns import EXPECTED
from schemas.usecase import UseCase
from schemas.verdicts import Evaluation
from tasks import models
from tasks.registry import Candidate, ModelRegistry, design_of, present_documents

KEPT = ("reference", "importances", "evidence", "estimator")


def rethreshold(case: UseCase, registry: ModelRegistry, model: ModelRef, threshold: float) -> Candidate:
    """A version with another threshold, ready to be recorded; the threshold stands in its bytes, so that they differ.

    Args:
        case: The use case as the version has it.
        registry: The model registry.
        model: The version.
        threshold: Probability of the positive from which a row gets its word, above 0 and below 1.

    Returns:
        The candidate: model, golden rows and documents of the version, with the threshold in its design.

    Raises:
        UsageError: The target is not binary, the threshold is no probability, or it is the version's already.
    """
    if case.target.kind != "binary":
        raise UsageError(f"{case.name}: a {case.target.kind} target has no threshold")
    if not 0 < threshold < 1:
        raise UsageError(f"{case.name}: the threshold {threshold:g} is no probability: give a number above 0 and below 1")
    if threshold == case.target.threshold:
        raise UsageError(f"{case.name} v{model.version} has the threshold {threshold:g} already")
    payload = models.with_threshold(registry.model_bytes(model), threshold)
    design = design_of(case, registry, model)
    design = {**design, "target": {**design["target"], "threshold": threshold}}
    evaluated = Evaluation.model_validate(registry.document(model, "evaluation"))
    golden = registry.golden(model)
    dtypes = pl.read_parquet(io.BytesIO(golden)).select(pl.exclude(f"^{EXPECTED}.*$")).schema
    manifest = registry.document(model, "manifest")
    made_from = {
        **manifest,
        "model_sha256": sha256(payload),
        "design_sha256": design_digest(design),
        "threshold": threshold,
        "threshold_of": model.version,
    }
    tagged = {name: str(made_from[name]) for name in ("data_commit", "use_case_version", "code_version", "fitted_until")}
    return Candidate(
        name=case.name,
        model=payload,
        manifest=made_from,
        evaluation=evaluated.model_copy(update={"model_sha256": sha256(payload)}),
        golden=golden,
        params={**made_from["params"], "rounds": made_from["rounds"], "seed": made_from["seed"]},
        tags=tagged,
        documents={**present_documents(registry, model, KEPT), DOCUMENT: design},
        input_dtypes={name: str(dtype.base_type()) for name, dtype in dtypes.items()},
        categories={name: list(dtype.categories) for name, dtype in dtypes.items() if isinstance(dtype, pl.Enum)},
        kind=case.target.kind,
        classes=case.target.classes,
        threshold=threshold,
        description=case.question,
    )

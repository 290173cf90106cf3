"""The leak guard of a training: features that tell the outcome too well, before anything is fitted with them.

A training may use such a feature, and a promotion stops on it until a person has said that its columns are known in time:
`column(known="at_prediction")` in the contract. Features that the champion has were asked about before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from schemas.model_design import describe_design, design_digest
from schemas.refs import ModelRef
from schemas.usecase import UseCase
from schemas.verdicts import Leak
from tasks import evaluation, features
from tasks.registry import ModelRegistry, optional_document, recorded_design

DOCUMENT, FORMAT = "leakage", 1
ROWS = "rows"


def find_design_leaks(
    case: UseCase, registry: ModelRegistry, champion: ModelRef | None, fitted: pl.DataFrame, held: pl.DataFrame
) -> tuple[Leak, ...]:
    """Features of a design that tell the outcome too well, and rows that are both fitted on and held out.

    Args:
        case: The use case.
        registry: The model registry.
        champion: The champion, whose features are not asked about again; None for none.
        fitted: Designed rows with `_target` that a model is fitted on.
        held: Designed rows with `_target` that the gate judges.

    Returns:
        The findings, in the order of the features.
    """
    names = features.feature_names(case)
    columns = [*names, features.TARGET]
    rows = pl.concat([fitted.select(columns), held.select(columns)])  # all, as a scaffold was drafted from
    found = evaluation.find_leaks(rows, features.TARGET, case.target.kind, ordered=False)
    design = recorded_design(registry, champion) if champion else None
    asked, ours = _digests(design or {}), _digests(describe_design(case))
    new = {name for name in names if asked.get(name) != ours[name]}
    named = [_renamed(case, leak) for leak in [*_unconfirmed(case), *found] if leak.column in new]
    leaks = {leak.column: leak for leak in reversed(named)}
    return (*(leaks[name] for name in names if name in leaks), *_shared_rows(names, fitted, held))


def open_leaks(case: UseCase, leaks: Sequence[Leak]) -> tuple[Leak, ...]:
    """The findings as they stand now: what a person has said since is no longer to be confirmed.

    Args:
        case: The use case, with its contracts of today.
        leaks: Findings.

    Returns:
        The same findings.
    """
    return tuple(
        leak.model_copy(update={"confirm": False, "why": f"{leak.why}; said to be known at the prediction"})
        if leak.confirm and _is_stated(case, leak.column)
        else leak
        for leak in leaks
    )


def recorded_leaks(registry: ModelRegistry, model: ModelRef) -> tuple[Leak, ...]:
    """The findings that are stored with a version.

    Args:
        registry: The model registry.
        model: The version.

    Returns:
        The findings; none for a version that has none, or of an earlier release.
    """
    document = optional_document(registry, model, DOCUMENT) or {}
    return tuple(Leak.model_validate(leak) for leak in document.get("leaks", ()))


def leak_document(leaks: Sequence[Leak]) -> dict[str, Any]:
    """Findings as documents of a version: none where there is nothing to say.

    Args:
        leaks: Findings.

    Returns:
        Documents by name.
    """
    if not leaks:
        return {}
    return {DOCUMENT: {"format_version": FORMAT, "leaks": [leak.model_dump(mode="json") for leak in leaks]}}


def is_settled(case: UseCase, registry: ModelRegistry, model: ModelRef) -> bool:
    """Whether a version stopped on columns that a person has since said are known.

    Args:
        case: The use case.
        registry: The model registry.
        model: The version.

    Returns:
        Whether each of them is.
    """
    recorded = [leak for leak in recorded_leaks(registry, model) if leak.confirm]
    return bool(recorded) and not any(leak.confirm for leak in open_leaks(case, recorded))


def _digests(design: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the features of a design, recorded or not, by name."""
    return {name: design_digest({"feature": feature}) for name, feature in design.get("features", ())}


def _unconfirmed(case: UseCase) -> list[Leak]:
    """Features that read a column of which the contract itself asks whether it is known."""
    return [
        Leak(column=name, confirm=True, why=f"reads {column}, which the contract has yet to confirm")
        for name in case.features
        for spec, column in _columns(case, name)
        if column in case.input(spec).contract.known("confirm")
    ]


def _is_stated(case: UseCase, name: str) -> bool:
    columns = _columns(case, name)
    return bool(columns) and all(column in case.input(spec).contract.stated() for spec, column in columns)


def _columns(case: UseCase, name: str) -> list[tuple[str, str]]:
    """Inputs and columns that a feature reads."""
    if name not in case.features:
        return []
    looked_up = {new: (lookup.input, old) for lookup in case.lookups for new, old in lookup.columns.items()}
    return [looked_up.get(root, (case.rows, root)) for root in case.features[name].meta.root_names()]


def _renamed(case: UseCase, leak: Leak) -> Leak:
    """The finding in the target's own name."""
    return leak.model_copy(update={"why": leak.why.replace(features.TARGET, case.target.name)})


def _shared_rows(names: Sequence[str], fitted: pl.DataFrame, held: pl.DataFrame) -> tuple[Leak, ...]:
    """A warning where many rows that the gate judges are equal to rows that the model was fitted on."""
    columns = [*names, features.TARGET]
    share = evaluation.shared_rows(fitted.select(columns), held.select(columns))
    why = f"{share:.0%} of the rows held out equal a row that was fitted on: the gate's figures may be too good"
    return (Leak(column=ROWS, confirm=False, why=why),) if share >= evaluation.MOST_REPEATED else ()

"""A version's own design: the use case as it was when the version was trained."""

from __future__ import annotations

from schemas.model_design import (
    DOCUMENT,
    Design,
    describe_design,
    needed_columns,
    other_use_case,
    restore_design,
    with_columns,
)
from schemas.refs import ModelRef
from schemas.usecase import Input, UseCase
from tasks.registry.documents import optional_document
from tasks.registry.protocol import ModelRegistry


def recorded_design(registry: ModelRegistry, model: ModelRef) -> Design | None:
    """The design that a version carries.

    Args:
        registry: The model registry.
        model: The version.

    Returns:
        The document that `describe_design` gave, or None: versions of earlier releases have none.

    Raises:
        IntegrityError: It is not as it was recorded.
    """
    design: Design | None = optional_document(registry, model, DOCUMENT)
    return design


def design_of(case: UseCase, registry: ModelRegistry, model: ModelRef) -> Design:
    """The design that a version carries, or that of the code for a version of an earlier release.

    Args:
        case: The use case as the code declares it.
        registry: The model registry.
        model: The version.

    Returns:
        The document that `describe_design` gave.
    """
    return recorded_design(registry, model) or describe_design(case)


def wanted_input(case: UseCase, input: str, registry: ModelRegistry) -> Input:
    """An input with the columns that the champion or the challenger needs and the code's contract no longer has.

    They stay wanted until no living version needs them: a source may bring them, and may lack them.

    Args:
        case: The use case as the code declares it.
        input: Name of the input.
        registry: The model registry.

    Returns:
        The input, its contract widened where a version needs more.
    """
    spec = case.input(input)
    for model in (registry.champion(case.name), registry.challenger(case.name)):
        design = recorded_design(registry, model) if model else None
        if design and not other_use_case(case, design):
            spec = with_columns(spec, needed_columns(design, outcome=True).get(input, {}))
    return spec


def use_case_of(case: UseCase, registry: ModelRegistry, model: ModelRef) -> UseCase:
    """The use case as a version has it: by this it is scored, monitored, explained and made again.

    Args:
        case: The use case as the code declares it.
        registry: The model registry.
        model: The version.

    Returns:
        The use case with the version's features, lookups, target and columns; that of the code for a version of an earlier
            release, which carries no design.

    Raises:
        UsageError: The version needs code that has changed or is gone, or belongs to another use case by now.
        IntegrityError: The design is not as it was recorded.
    """
    return versioned(case, registry, model)[0]


def versioned(case: UseCase, registry: ModelRegistry, model: ModelRef) -> tuple[UseCase, Design]:
    """The use case as a version has it, and the version's design: what `use_case_of` and `design_of` give, read once.

    Args:
        case: The use case as the code declares it.
        registry: The model registry.
        model: The version.

    Returns:
        The use case, and the document that `describe_design` gave.

    Raises:
        UsageError: The version needs code that has changed or is gone, or belongs to another use case by now.
        IntegrityError: The design is not as it was recorded.
    """
    design = recorded_design(registry, model)
    if design is None:
        return case, describe_design(case)
    return restore_design(case, design, f"{model.name} v{model.version}"), design

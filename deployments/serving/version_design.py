"""The use case as a server takes rows for it, and as each version that it serves has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from schemas.errors import UsageError
from schemas.model_design import (
    ColumnSpec,
    Design,
    needed_columns,
    other_use_case,
    restore_design,
    with_columns,
)
from schemas.usecase import Input, UseCase
from tasks.inference.online import predictable
from tasks.registry import ModelRegistry, recorded_design


def living_designs(use_case: UseCase, registry: ModelRegistry, *, with_challenger: bool) -> list[Design]:
    """The designs of the versions that a server is to serve; versions of earlier releases have none.

    Args:
        use_case: The use case as the code declares it.
        registry: The model registry.
        with_challenger: Whether the challenger is served as well.

    Returns:
        What the versions carry, the champion's first.
    """
    models = [registry.champion(use_case.name), registry.challenger(use_case.name) if with_challenger else None]
    return [design for model in models if model and (design := recorded_design(registry, model))]


def request_case(use_case: UseCase, designs: Sequence[Design]) -> tuple[UseCase, frozenset[str]]:
    """The use case that also takes the columns which some versions need and the code no longer has.

    Args:
        use_case: The use case as the code declares it.
        designs: Designs of the versions.

    Returns:
        The use case with a rows input of all these columns, and those of them that a request must not leave out.
    """
    spec, declared, wanted = use_case.input(use_case.rows), use_case.input(use_case.rows).contract.dtypes(), set[str]()
    for design in designs:
        if not other_use_case(use_case, design):
            needed = request_columns(design)
            wanted |= {name for name, each in needed.items() if each["required"] and name not in declared}
            spec = with_columns(spec, needed)
    return with_input(use_case, spec), frozenset(wanted)


def request_columns(design: Mapping[str, Any]) -> dict[str, ColumnSpec]:
    """Columns of a request that a design reads, by name; key columns are not among them.

    Args:
        design: A design.

    Returns:
        The columns as the design describes them.
    """
    needed = needed_columns(design)[design["rows"]]
    return {name: each for name, each in needed.items() if each["known"] == "at_prediction"}


def version_case(case: UseCase, design: Design | None, whose: str) -> UseCase:
    """The use case as a version has it, for the rows that a server takes.

    Slices and block are left out: they judge models, and may read columns that no request brings.

    Args:
        case: The use case with the rows input that the server takes.
        design: The version's design; None for a version of an earlier release, which has that of the code.
        whose: The version, for errors, as "flights v3".

    Returns:
        The use case with the version's features, lookups and target, and the rows input of `case`.

    Raises:
        UsageError: The version needs a column that the server does not take, or code that has changed or is gone.
    """
    own = restore_design(case, design, whose) if design else case
    rows = case.input(case.rows)
    absent = sorted(request_columns(design).keys() - predictable(rows.contract).keys()) if design else []
    if absent:
        columns = f"the column {absent[0]}" if len(absent) == 1 else f"the columns {', '.join(absent)}"
        raise UsageError(f"{whose} needs {columns}, which this server does not take: start it again")
    return replace(with_input(own, rows), block=None, slices=())


def with_input(case: UseCase, spec: Input) -> UseCase:
    """A use case with another declaration of one of its inputs.

    Args:
        case: The use case.
        spec: The input, by the name of the one that it replaces.

    Returns:
        The use case.
    """
    return replace(case, inputs=tuple(spec if each.name == spec.name else each for each in case.inputs))

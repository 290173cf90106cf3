"""The columns that Penstock adds beside a use case's own, and the refusal of a use case whose columns bear their names.

In a file that `penstock score --out` writes, all begin with `penstock_` but for the category and the scores. In the log of
predictions they keep the names that they were first stored under.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.errors import UsageError
from schemas.score_columns import CATEGORY, prediction_names

if TYPE_CHECKING:
    from schemas.usecase import UseCase

PREFIX = "penstock_"
INPUTS = "inputs"
RECEIPT = (
    "prediction_id",
    "row_key",
    "model_name",
    "model_version",
    "model_sha256",
    "data_commit",
    "contract_version",
    "flow_run",
    "scored_at",
    INPUTS,
)
"""What a stored prediction holds beside the row's key and time, its category and its scores."""


def refuse_clashes(use_case: UseCase) -> None:
    """Refuse a use case one of whose columns bears a name of ours.

    Names that begin with `penstock_` are ours in every contract; the names of a prediction only where the rows' key or
    event time, which stand beside it, would bear them: a feature may be called `category`.

    Args:
        use_case: The use case.

    Raises:
        UsageError: A column is named so.
    """
    for spec in use_case.inputs:
        if ours := sorted(name for name in spec.delivered.dtypes() if name.startswith(PREFIX)):
            raise UsageError(
                f"use case {use_case.name!r}: the input {spec.name} has the column {ours[0]}, and names that begin with "
                f"{PREFIX} are Penstock's own; rename it"
            )
    rows = use_case.input(use_case.rows)
    taken = {CATEGORY, *prediction_names(use_case.target), *RECEIPT}
    if clashes := sorted(taken & {*rows.key, *([rows.time] if rows.time else [])}):
        raise UsageError(
            f"use case {use_case.name!r}: {clashes[0]} is its key or event time and the name of a column of its "
            "predictions; rename it"
        )

"""Whether scores are what they are said to be, before anything is computed of them."""

from __future__ import annotations

import numpy as np

from schemas.usecase import UseCase


def score_flaw(use_case: UseCase, rows: int, scores: np.ndarray | None, who: str) -> str | None:
    """What is wrong with the scores of so many rows, in a sentence, or None: shape, type, finite, probabilities.

    Args:
        use_case: The use case.
        rows: How many rows there are.
        scores: Scores, shape (n,), or (n, classes) for several classes.
        who: Whose scores they are, for the sentence.

    Returns:
        The sentence, or None.
    """
    kind, classes = use_case.target.kind, len(use_case.target.classes)
    if scores is None:
        return f"the scores of the {who} are missing"
    values = np.asarray(scores)
    wanted = (rows, classes) if kind == "multiclass" else (rows,)
    if values.shape != wanted or not np.issubdtype(values.dtype, np.number):
        return f"the scores of the {who} have shape {values.shape}, the holdout asks for {wanted} numbers"
    if bad := int((~np.isfinite(values)).sum()):
        return f"{bad:,} scores of the {who} are not finite"
    if kind != "regression" and (values.min(initial=0) < 0 or values.max(initial=0) > 1):
        return f"scores of the {who} are no probabilities"
    if kind == "multiclass" and np.abs(values.sum(axis=1) - 1).max(initial=0) > 1e-3:
        return f"probabilities of the {who} do not sum to 1"
    return None

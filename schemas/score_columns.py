"""The names of the columns that hold a model's scores, and the way from scores to columns and back.

    internal      beside designed rows, in profiles and metrics: `_score`; of several classes `_score_<class>` each
    predictions   in the words of the business: `probability` (of the positive), `probability_<class>` each, or `prediction`
    golden        rows stored with a model, with what it has to answer: `_expected_0`, `_expected_1`, ... in order

All three are stored: in profiles, in the log of predictions and with each version, so that they never change.
`registry/pyfunc_model.py` spells the predictions' names again, since it runs where Penstock is not installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from schemas.verdicts import Kind

if TYPE_CHECKING:
    import numpy as np

SCORE, CATEGORY, EXPECTED = "_score", "category", "_expected_"


class Predicted(Protocol):
    """What is predicted, as a use case's target or a candidate's model says it."""

    @property
    def kind(self) -> Kind:
        """Kind of target."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in order; none for a regression."""
        ...


def internal_names(target: Predicted) -> list[str]:
    """Names of the score columns beside designed rows, one for each column of the scores."""
    return [f"{SCORE}_{label}" for label in target.classes] if target.kind == "multiclass" else [SCORE]


def is_internal(name: str) -> bool:
    """Whether a column holds scores, whatever the target: names of ours begin with an underscore, a team's do not."""
    return name.startswith(SCORE)


def prediction_names(target: Predicted) -> list[str]:
    """Names of the score columns of predictions, one for each column of the scores; the category stands beside them."""
    if target.kind == "multiclass":
        return [f"probability_{label}" for label in target.classes]
    return ["probability" if target.kind == "binary" else "prediction"]


def golden_names(count: int) -> list[str]:
    """Names of the columns of golden rows that hold what a model has to answer."""
    return [f"{EXPECTED}{i}" for i in range(count)]


def to_columns(names: Sequence[str], scores: np.ndarray, dtype: Any = None) -> list[pl.Series]:
    """Scores as named columns.

    Args:
        names: One name for each column of the scores.
        scores: Shape (n,), or (n, columns).
        dtype: The columns' NumPy type; None for that of the scores.
    """
    values = scores if dtype is None else scores.astype(dtype)
    columns = values.T if values.ndim == 2 else values[None]
    return [pl.Series(name, column) for name, column in zip(names, columns, strict=True)]


def to_scores(target: Predicted, names: Sequence[str], frame: pl.DataFrame) -> np.ndarray:
    """Named columns as a booster gives them: shape (n,); of several classes (n, classes)."""
    return frame.select(names).to_numpy() if target.kind == "multiclass" else frame[names[0]].to_numpy()

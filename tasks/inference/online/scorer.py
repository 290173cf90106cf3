"""One verified model of a use case, ready to answer: from a JSON body to scores, by the fast way or the careful one.

Both ways give the same bits. What the compiled evaluator cannot say of a use case (an expression outside its vocabulary)
or of a row takes the frame path: `tasks.features.design` and `tasks.models.predict_scores`, as in batch.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from schemas.errors import IntegrityError
from schemas.usecase import UseCase
from tasks import features, models
from tasks.inference.online.expression_operators import Declined, NotInVocabulary, bits, physical, restored
from tasks.inference.online.feature_compiler import Designer
from tasks.inference.online.lookup_tables import Tables
from tasks.inference.online.request_decoding import Reader, Values, predictable
from tasks.inference.online.request_validation import RequestValidator, ValidatedRequest
from tasks.inference.online.row_predictor import Predictor


@dataclass(frozen=True)
class Prepared:
    """A use case compiled as far as possible.

    `rows_outside` and `features_outside` say why rows or features take the frame path, where they do; `wanted` are columns
    that a caller may send as null and may not leave out.
    """

    use_case: UseCase
    judge: RequestValidator
    reader: Reader | None
    designer: Designer | None
    rows_outside: str = ""
    features_outside: str = ""
    wanted: frozenset[str] = frozenset()

    @property
    def outside(self) -> str:
        """Why rows or features take the frame path, where they do."""
        parts = {"rows": self.rows_outside, "features": self.features_outside}
        return "; ".join(f"{part}: {why}" for part, why in parts.items() if why)

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """What a caller may send."""
        return predictable(self.use_case.input(self.use_case.rows).contract)

    def read(self, body: bytes) -> Values | None:
        """The row of a body by the fast way, or None."""
        return self.reader.one(body) if self.reader else None

    def judged(self, body: bytes, most: int) -> ValidatedRequest:
        """The rows of a body, or its problems."""
        return self.judge.validate(body, most)


def prepare(use_case: UseCase, wanted: Collection[str] = ()) -> Prepared:
    """Compile what a use case's rows and features allow.

    Args:
        use_case: The use case.
        wanted: Columns that a caller may send as null and may not leave out.

    Returns:
        The compiled use case: which rows and features go without a frame.

    Raises:
        UsageError: The contract cannot be audited.
    """
    contract = use_case.input(use_case.rows).contract
    reader, outside = None, ""
    try:
        reader = Reader(contract, wanted)
    except NotInVocabulary as why:
        outside = str(why)
    rows = Prepared(
        use_case, RequestValidator(contract, wanted), reader, None, rows_outside=outside, wanted=frozenset(wanted)
    )
    return prepare_version(rows, use_case)


def prepare_version(prepared: Prepared, use_case: UseCase) -> Prepared:
    """Compile the features of a version for rows that are read as before.

    Args:
        prepared: How rows are read and judged.
        use_case: The use case as the version has it, with the rows input of `prepared`.

    Returns:
        The version's use case, compiled for the same rows.
    """
    designer, outside = None, ""
    try:
        designer = Designer(use_case)
    except NotInVocabulary as why:
        outside = str(why)
    return replace(prepared, use_case=use_case, designer=designer, features_outside=outside)


def frame_of(prepared: Prepared, rows: Sequence[Values]) -> pl.DataFrame:
    """Rows of physical values as a frame of the contract's columns.

    Args:
        prepared: The compiled use case.
        rows: Physical values of each row, in the order of the columns.

    Returns:
        The rows.
    """
    columns = zip(*rows, strict=True) if rows else [() for _ in prepared.columns]
    by_column = zip(prepared.columns.items(), columns, strict=True)
    return pl.DataFrame([restored(name, list(values), dtype) for (name, dtype), values in by_column])


def rows_of(frame: pl.DataFrame) -> list[Values]:
    """The physical values of a frame, row by row.

    Args:
        frame: The rows.

    Returns:
        Physical values of each row: dates and times as whole numbers, categories as text.
    """
    return [list(values) for values in zip(*(physical(column) for column in frame), strict=True)]


class Scorer:
    """Scores rows with one model. `scores` belongs to one thread; the other methods may run in any."""

    def __init__(self, prepared: Prepared, model: bytes) -> None:
        self.prepared = prepared
        self.booster = models.load_booster(model)
        self.booster.set_param({"nthread": 1})
        self.why = prepared.outside  # why single rows take the frame path, where they do
        self._predictor = self._fast()

    def _fast(self) -> Predictor | None:
        if self.prepared.designer is None:
            return None
        try:
            return Predictor(self.booster, self.prepared.designer.dtypes)
        except NotInVocabulary as why:
            self.why = str(why)
            return None

    @property
    def fast(self) -> bool:
        """Whether single rows take the fast way."""
        return self._predictor is not None

    def scores(self, values: Values, tables: Tables) -> list[float]:
        """Scores of one row: one number, or one for each class."""
        if self._predictor is not None and self.prepared.designer is not None:
            try:
                return self._predictor.scores(self.prepared.designer.features(values, tables))
            except Declined:
                pass
        return self.scores_by_frame([values], tables)[0]

    def scores_by_frame(self, rows: Sequence[Values], tables: Tables) -> list[list[float]]:
        """Scores of rows through polars, as in batch."""
        scores = models.predict_scores(self.prepared.use_case, self.booster, self.designed(rows, tables))
        return [[float(score) for score in row] for row in scores.reshape(len(rows), -1)]

    def designed(self, rows: Sequence[Values], tables: Tables) -> pl.DataFrame:
        """Designed rows, as in batch."""
        context = {name: table.frame.lazy() for name, table in tables.items()}
        return features.design(self.prepared.use_case, frame_of(self.prepared, rows).lazy(), context).collect()

    def contributions(self, rows: Sequence[Values], tables: Tables) -> np.ndarray:
        """SHAP values of each feature and the bias, last: shape (n, features + 1), or (n, classes, features + 1)."""
        return models.shap_contributions(self.booster, self.designed(rows, tables))

    def check(self, golden: bytes, sample: pl.DataFrame, tables: Tables) -> None:
        """Compare the fast way with the frame path on golden rows and on a sample of rows; leave it where they differ.

        Raises IntegrityError where the features of a row depend on the rows beside it: then no single row can be served.
        """
        rows = rows_of(sample.select(*self.prepared.columns))
        designed = self.designed(rows, tables).select(list(self.prepared.use_case.features))
        for at in {0, len(rows) - 1} if rows else ():
            if not self.designed(rows[at : at + 1], tables).select(designed.columns).equals(designed[at]):
                name = self.prepared.use_case.name
                raise IntegrityError(f"the features of {name!r} depend on the rows beside them: they cannot be served")
        if self._predictor is None:
            return
        frame = pl.read_parquet(io.BytesIO(golden)).select(designed.columns)
        if differs := self._other_scores(self._predictor, frame) or self._other_features(rows, designed, tables):
            self._predictor, self.why = None, differs

    def _other_scores(self, predictor: Predictor, frame: pl.DataFrame) -> str:
        expected = models.predict_scores(self.prepared.use_case, self.booster, frame).reshape(frame.height, -1)
        for at, row in enumerate(rows_of(frame)):
            with suppress(Declined):
                if np.array(predictor.scores(row), dtype=np.float32).tobytes() != expected[at].tobytes():
                    return f"golden row {at} has another score"
        return ""

    def _other_features(self, rows: Sequence[Values], designed: pl.DataFrame, tables: Tables) -> str:
        designer = self.prepared.designer
        for values, expected in zip(rows, rows_of(designed), strict=True) if designer else ():
            with suppress(Declined):
                others = designer.features(values, tables)  # type: ignore[union-attr]
                if list(map(bits, others)) != list(map(bits, expected)):
                    return "a row of the sample has other features"
        return ""

"""Predictions for rows that a caller holds: a pandas or polars frame in, one of the same kind out."""

from __future__ import annotations

import polars as pl

from schemas.errors import UsageError
from schemas.model_design import absent_columns
from schemas.refs import DataRef, ModelRef
from schemas.usecase import UseCase
from tasks import datasets, features, parsing
from tasks.inference.batch import Job, contract_version_of, predictor, receipts_of
from tasks.parsing import Frame, as_polars
from tasks.registry import open_registry, versioned
from tasks.versions import open_store


def predict_frame(case: UseCase, model: ModelRef, data: DataRef, frame: Frame) -> Frame:
    """Predictions for rows of the contract that lie in no repository; other inputs are looked up as of `data`.

    Args:
        case: The use case.
        model: The version.
        data: Commit of the data, and the repository that it lies in.
        frame: Rows with the contract's columns that are known at the prediction, as pandas or polars holds them, in the
            contract's types or in what holds the same values, such as text.

    Returns:
        One prediction a row, in the rows' order, with its receipt; a frame of the caller's kind, with a pandas index.

    Raises:
        UsageError: The frame lacks a column, or a value cannot be what the contract says.
    """
    given, back = as_polars(frame, "frame")
    store, contract_version = open_store(data.store), contract_version_of(case)
    case, design = versioned(case, open_registry(model.registry), model)
    job = Job(case, model, data, store, cause="", contract_version=contract_version)
    if absent := sorted(absent_columns(design, case.rows, given.columns)):
        raise UsageError(f"cannot predict with v{model.version}: the frame lacks {', '.join(absent)}; add what it needs")
    typed = _in_contract_types(case, given)
    rows = features.design(case, typed.lazy(), datasets.inputs_at(store, data.commit, case)).collect()
    made: Frame = back(receipts_of(job)(rows, predictor(job)(rows)))
    return made


def _in_contract_types(case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with each column that the contract knows in its type. Raises UsageError for a value that has no such type."""
    contract = case.input(case.rows).contract
    private = {*contract.private(), *contract.hashed()}
    for name, wanted in contract.dtypes().items():
        if name in rows.columns and rows.schema[name] != wanted:
            rows = rows.with_columns(_in_type(rows, name, wanted, name in private))
    return rows


def _in_type(rows: pl.DataFrame, name: str, wanted: pl.DataType, is_private: bool) -> pl.Series:
    given = rows.schema[name]
    converted = parsing.conversion(name, given, wanted)
    if converted is None and given == pl.String:
        converted = parsing.from_text(name, wanted)
    if converted is None:
        raise UsageError(
            f"cannot predict: the frame's column {name} is {given}, and the contract wants {wanted}; convert it"
        )
    made = rows.select(converted.value.alias(name), converted.text.alias("text"))
    if (lost := made["text"].is_not_null()).any():
        row = int(lost.arg_true()[0])
        value = "a value that is private" if is_private else repr(made["text"][row])
        raise UsageError(f"cannot predict: {name} is {value} in row {row + 1}, which is no {wanted}; mend it")
    return made[name]

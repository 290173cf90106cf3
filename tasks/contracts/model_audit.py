"""A frame judged by any Pandera polars model: accepted rows, rejected rows with reasons, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from schemas.pandera_models import PanderaModel, name_of
from schemas.usecase import Input
from schemas.verdicts import AuditVerdict
from tasks.contracts.audit import split, verdict_of
from tasks.contracts.conform import conform
from tasks.contracts.failures import CHECKS, REASONS
from tasks.parsing import ROW, UNTYPED


@dataclass(frozen=True)
class FrameAudit:
    """What a Pandera model said about the rows of a frame or a file: `accepted` and `rejected` hold each row once.

    accepted   in the model's types and defaults, in the order in which they came
    rejected   as they came, and `_row` (UInt64, from 1), `_untyped` (column and text of each value that could not be
               cast), `_checks` (list of text: what failed) and `_reasons` (text: what failed, and for which value)
    verdict    the counts, the reasons with examples, and whether so many rejected rows may be
    """

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    verdict: AuditVerdict


def audit_rows(
    frame: pl.DataFrame, model: PanderaModel, max_rejected_share: float, untyped: pl.Series | None = None
) -> FrameAudit:
    """Judge every row of a frame by a Pandera model.

    Args:
        frame: The rows.
        model: A class derived from `pandera.polars.DataFrameModel`, or a `DataFrameSchema`.
        max_rejected_share: Share of the rows, 0 to 1, that may be rejected before the verdict is no.
        untyped: Of a parsed file: for each row what could not be typed.

    Returns:
        The rows in two frames, and the verdict.

    Raises:
        UsageError: Where columns or types do not fit the model, or the model asks for what an audit does not do.
        Refused: Where a check of the model cannot be evaluated.
    """
    conformed = conform(frame, model, untyped)
    audited = split(conformed.rows, conformed.contract, conformed.untyped)
    whys = audited.rejected.select(ROW, UNTYPED, CHECKS, REASONS)
    rejected = pl.concat([frame[(whys[ROW] - 1).cast(pl.Int64)], whys], how="horizontal")
    spec = Input(name=name_of(model), contract=conformed.contract, max_rejected_share=max_rejected_share)
    verdict = verdict_of(spec, frame.height, audited.accepted.height, rejected.height, 0, audited.reasons)
    return FrameAudit(audited.accepted, rejected, verdict)

"""Audit a frame or a file against any Pandera polars model: every row accepted or rejected, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from prefect import task

from schemas.errors import NotEnoughEvidence
from tasks.contracts import FrameAudit, audit_rows
from tasks.parsing import ROW, UNTYPED, Limits, fingerprint, parse_source
from tasks.standalone.arguments import require_frame, require_share
from tasks.standalone.task_options import STANDALONE_TASK_OPTIONS
from tasks.temp_files import scratch

if TYPE_CHECKING:
    from schemas.pandera_models import PanderaModel


def audit_frame(frame: pl.DataFrame, model: PanderaModel, *, max_rejected_share: float = 0.05) -> FrameAudit:
    """Judge every row of a frame by a Pandera model, losing none.

    The model's options count as in Pandera: `strict`, `ordered`, `coerce`, `add_missing_columns`, defaults, patterns and
    types left open. A value that `coerce` cannot cast rejects its row. A check of the whole frame, such as one of a mean,
    rejects every row where it fails. Pandera's polars backend has no parsers, and neither has an audit.

    Args:
        frame: The rows, of any columns.
        model: A class derived from `pandera.polars.DataFrameModel` (a Penstock `Contract` is one), or a
            `pandera.polars.DataFrameSchema`.
        max_rejected_share: Share of the rows, 0 to 1, that may be rejected before `verdict.publishable` is False.

    Returns:
        `accepted`: the rows that pass, in the model's types. `rejected`: the others as they came, with `_row` (UInt64, from
        1), `_untyped`, `_checks` and `_reasons`. `verdict`: counts, reasons with examples, `publishable`, and `why` in a
        sentence. accepted + rejected == rows, always.

    Raises:
        UsageError: For a column that is missing, not known, or of a wrong type that the model does not coerce; for a model
            that is none; for more than one joint key.
        Refused: Where a check of the model cannot be evaluated.
        NotEnoughEvidence: For a frame without rows.
    """
    require_share("max_rejected_share", max_rejected_share)
    return audit_rows(require_frame(frame, "frame"), model, max_rejected_share)


def audit_file(
    path: str | Path,
    model: PanderaModel,
    *,
    max_rejected_share: float = 0.05,
    memory_mb: int = 4096,
    seconds: int = 600,
) -> FrameAudit:
    """Read a file as a Pandera model's columns and judge every row of it.

    A child process with limits reads the file. A value that cannot be typed as the model's column, and a record that cannot
    be split into columns, reject their row and are told by their text. Columns that the model does not name are left out
    where its `strict` is not True. The rows are held in memory.

    Args:
        path: A file whose name tells its format: .csv, .jsonl or .parquet, and .gz, .zst or .zip behind the first two.
        model: As for `audit_frame`, with a type for every column.
        max_rejected_share: Share of the rows, 0 to 1, that may be rejected before `verdict.publishable` is False.
        memory_mb: Memory that the reading process may take, in MiB.
        seconds: Time that it may take, in s.

    Returns:
        As `audit_frame`; `_untyped` lists column and original text of each value that could not be typed.

    Raises:
        UsageError: Where there is no such file, or the model does not say how to read one.
        Refused: For a file that cannot be read as the model's columns within the limits, or a check that cannot be
            evaluated.
        NotEnoughEvidence: For a file without rows.
    """
    from schemas.pandera_models import contract_to_read

    require_share("max_rejected_share", max_rejected_share)
    with scratch("penstock-audit-") as folder:
        source = fingerprint(Path(path))
        parsed = parse_source(source, contract_to_read(model), folder, Limits(memory_mb, seconds))
        if not parsed.rows:
            raise NotEnoughEvidence(f"cannot audit {source.name!r}: the file has no rows")
        rows = pl.concat([pl.read_parquet(part) for part in parsed.parts])
    return audit_rows(rows.drop(ROW, UNTYPED), model, max_rejected_share, rows[UNTYPED])


audit_frame_task = task(**STANDALONE_TASK_OPTIONS)(audit_frame)
audit_file_task = task(**STANDALONE_TASK_OPTIONS)(audit_file)

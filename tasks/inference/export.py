"""Predictions as a file for a person: CSV, Parquet or JSON Lines, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from schemas.errors import UsageError
from schemas.output_columns import PREFIX, RECEIPT
from schemas.score_columns import CATEGORY
from tasks.atomic_files import write_atomically

KEPT = {"row_key": f"{PREFIX}row_key", "prediction_id": f"{PREFIX}prediction_id", "model_version": f"{PREFIX}model_version"}
FORMATS: dict[str, Callable[[pl.LazyFrame, Path], None]] = {
    ".csv": lambda rows, path: rows.sink_csv(path),
    ".parquet": lambda rows, path: rows.sink_parquet(path),
    ".jsonl": lambda rows, path: rows.sink_ndjson(path),
}


def check_destination(path: Path, source: str | None = None) -> None:
    """Refuse a file that predictions could not be written to, before anything is done.

    Args:
        path: Where the predictions are to lie.
        source: The file that is scored, which must not be overwritten; None where it is none.

    Raises:
        UsageError: The name claims no known format, the folder is missing or takes no file, or the path is a folder or the
            source.
    """
    tried = f"cannot write predictions to {path}"
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{tried}: the name ends in none of {', '.join(FORMATS)}, which say the format; choose one")
    if path.is_dir():
        raise UsageError(f"{tried}: it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{tried}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{tried}: the folder {path.parent.resolve()} takes no file; mend its permissions or name another")
    if source and path.exists() and Path(source).exists() and path.samefile(source):
        raise UsageError(f"{tried}: it is the file that is scored; name another")


def write_predictions(predictions: pl.LazyFrame, path: Path, reasons: pl.LazyFrame | None = None) -> None:
    """Write stored predictions as a person wants them.

    The rows' key and event time, `category` (a regression has none), the scores, and, beginning with `penstock_`, the
    prediction's id, the model's version and the reasons. In the order in which they were scored.

    Args:
        predictions: One row a prediction, as stored in the log.
        path: Where to; the name's end says the format.
        reasons: `prediction_id` and columns to add by it; None for none.

    Raises:
        UsageError: As `check_destination`, and where the file cannot be written.
    """
    check_destination(path)
    rows = _joined(predictions, reasons).select(_columns(predictions, reasons))
    try:
        write_atomically(path, lambda unfinished: FORMATS[path.suffix.lower()](rows, unfinished))
    except OSError as error:
        raise UsageError(f"cannot write predictions to {path}: {error.strerror or error}") from None


def _joined(predictions: pl.LazyFrame, reasons: pl.LazyFrame | None) -> pl.LazyFrame:
    if reasons is None:
        return predictions
    return predictions.join(reasons, on="prediction_id", how="left", maintain_order="left")


def _columns(predictions: pl.LazyFrame, reasons: pl.LazyFrame | None) -> Sequence[pl.Expr]:
    """Key and time as they are called, then what was predicted, then what is ours."""
    schema = predictions.collect_schema()
    own = [name for name in schema.names() if name not in RECEIPT]
    texts = [pl.col(name).cast(pl.String) if name == CATEGORY else pl.col(name) for name in own]
    kept = [pl.col(name).alias(shown) for name, shown in KEPT.items() if name in schema]
    more = [name for name in reasons.collect_schema().names() if name != "prediction_id"] if reasons is not None else []
    return [*texts, *kept, *(pl.col(name) for name in more)]

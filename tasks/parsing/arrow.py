"""Arrow IPC, as a file or as a stream, batch by batch. Extension types are never resolved, and batches are validated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from schemas.errors import Refused
from tasks.parsing.native_columns import NativeColumns, check_size

FILE = b"ARROW1"
EXTENSION = b"ARROW:extension:name"


def schema_of(path: Path) -> dict[str, pl.DataType]:
    """The file's columns and their types; that of an extension type is unknown."""
    return {field.name: _dtype(field) for field in _opened(path).schema}


def _opened(path: Path) -> Any:
    import pyarrow as pa  # type: ignore[import-untyped]

    with path.open("rb") as file:
        is_file = file.read(len(FILE)) == FILE
    return pa.ipc.open_file(pa.OSFile(str(path))) if is_file else pa.ipc.open_stream(pa.OSFile(str(path)))


def _dtype(field: Any) -> pl.DataType:
    import pyarrow as pa

    if isinstance(field.type, pa.BaseExtensionType) or EXTENSION in (field.metadata or {}):
        return pl.Unknown()
    return pl.Series(pl.from_arrow(pa.array([], field.type))).dtype


def frames(path: Path, name: str, columns: NativeColumns, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The named columns, batch by batch.

    Args:
        path: Where the file lies.
        name: The file's name, for messages.
        columns: Its columns.
        names: The contract's names of those that are read.

    Yields:
        Rows in order.

    Raises:
        Refused: The file grows beyond all measure, or a batch is damaged.
    """
    import pyarrow as pa

    own, rows, size = columns.own(names), 0, path.stat().st_size
    try:
        for batch in _record_batches(_opened(path)):
            rows += batch.num_rows
            check_size(name, rows, len(names), size)
            chosen = batch.select(own)
            chosen.validate(full=True)
            yield pl.DataFrame(pl.from_arrow(chosen)).select(columns.select(names))
    except pa.ArrowException as error:
        raise Refused(f"{name!r} cannot be read ({str(error).splitlines()[0][:200]}); is it complete?") from None


def _record_batches(opened: Any) -> Iterator[Any]:
    if hasattr(opened, "num_record_batches"):
        return (opened.get_batch(number) for number in range(opened.num_record_batches))
    return iter(opened)

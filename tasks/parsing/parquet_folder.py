"""A folder of Parquet files as one source. Folders on the way that are called `year=2024` are columns, as Hive has them.

A value that a folder's name says is text, and becomes the contract's type as in CSV. Files are read in the order of their
paths; names that begin with a dot or an underscore are no data, as Spark has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from schemas.errors import UsageError
from schemas.reader import Reader
from tasks.parsing import parquet
from tasks.parsing.column_formats import from_written
from tasks.parsing.native_columns import NativeColumns, conversions, native_columns, typed_frames
from tasks.parsing.type_conversion import ROW, UNTYPED, Conversion

ENDINGS = (".parquet", ".pq")
NOTHING = "__HIVE_DEFAULT_PARTITION__"


def is_parquet_folder(path: Path) -> bool:
    """Whether a folder is named like a Parquet file, as Spark names what it writes.

    Args:
        path: A path.

    Returns:
        Whether it is one.
    """
    return path.name.lower().endswith(ENDINGS) and path.is_dir()


def folder_files(folder: Path) -> list[Path]:
    """The files of a folder of Parquet files, sorted by their path in it.

    Args:
        folder: The folder.

    Returns:
        Paths below the folder.

    Raises:
        UsageError: It holds none, or other files, or one that leads out of it.
    """
    root, files = folder.resolve(), []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in sorted(name for name in names if not name.startswith((".", "_"))):
            path = Path(place, name)
            if not name.lower().endswith(ENDINGS):  # at once: it may be anyone's folder, of any size
                raise _no_source(folder, f"holds {path.relative_to(folder).as_posix()!r}, which is no Parquet file")
            files.append(path)
    if not files:
        raise _no_source(folder, "holds no Parquet file")
    if outside := [path for path in files if not path.resolve().is_relative_to(root)]:
        raise UsageError(f"cannot read the folder {str(folder)!r}: {outside[0].name!r} leads out of it")
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def _no_source(folder: Path, what: str) -> UsageError:
    example = f"{str(folder).rstrip('/')}/*.csv"
    return UsageError(
        f"cannot read the folder {str(folder)!r} as one source: it {what}; name single files, like '{example}'"
    )


@dataclass(frozen=True)
class FolderPart:
    """One file of a folder: its columns, and the values that the folders on its way say."""

    path: Path
    name: str
    columns: NativeColumns
    values: Mapping[str, str | None]

    def names(self) -> list[str]:
        """The contract's names of its columns."""
        return [*self.columns.types, *self.values]


def folder_parts(folder: Path, name: str, wanted: Mapping[str, pl.DataType], reader: Reader) -> Iterator[FolderPart]:
    """The files of a folder with their columns.

    Args:
        folder: The folder.
        name: Its name, for messages.
        wanted: The contract's columns and their types.
        reader: How the input's files are written.

    Yields:
        A file, in the order of their paths.
    """
    for path in folder_files(folder):
        within = path.relative_to(folder)
        part_name = f"{name}/{within.as_posix()}"
        columns = native_columns(parquet.schema_of(path), part_name, wanted, reader)
        by_folder = partition_values(within)
        named = {clean: by_folder[own] for own, clean in reader.contract_names(by_folder).items()}
        values = {clean: value for clean, value in named.items() if clean not in columns.types}
        yield FolderPart(path, part_name, columns, values)


def partition_values(path: Path) -> dict[str, str | None]:
    """What the folders of a path say: `{"year": "2024"}` for `year=2024/part-0.parquet`."""
    values: dict[str, str | None] = {}
    for folder in path.parts[:-1]:
        key, is_value, text = folder.partition("=")
        if is_value and key:
            values[unquote(key)] = None if text == NOTHING else unquote(text)
    return values


def typed_part(
    part: FolderPart, wanted: Mapping[str, pl.DataType], present: list[str], reader: Reader, before: int
) -> Iterator[pl.DataFrame]:
    """One file's rows as the contract has them; a column that others of the folder have, and it has not, is null.

    Args:
        part: The file.
        wanted: The contract's columns and their types.
        present: The contract's columns that the folder has.
        reader: How the input's files are written.
        before: Number of the rows before it.

    Yields:
        Frames of the present columns, `_row` and `_untyped`.

    Raises:
        Refused: A column cannot become the contract's.
    """
    native = conversions(part.name, part.columns.types, wanted, reader)
    said = {column: _said(column, dtype, reader) for column, dtype in wanted.items() if column in part.values}
    values = [pl.lit(part.values[column], dtype=pl.String).alias(column) for column in said]
    rows = (frame.with_columns(values) for frame in parquet.frames(part.path, part.name, part.columns, list(native)))
    missing = [pl.lit(None, dtype=wanted[column]).alias(column) for column in present if column not in {*native, *said}]
    for frame in typed_frames(rows, {**native, **said}, before):
        yield frame.with_columns(missing).select(*present, ROW, UNTYPED)


def _said(column: str, dtype: pl.DataType, reader: Reader) -> Conversion:
    written = from_written(column, dtype, reader)
    if written is None:
        nothing = pl.lit(None, dtype=dtype)
        return Conversion(nothing, pl.col(column))
    return written

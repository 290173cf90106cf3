"""The first rows of a file, read within bounds: what a use case is drafted from.

CSV stays text, so that a code like 007 is not taken for a number; JSON Lines and Parquet bring types of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import polars as pl

from schemas.errors import Refused, UsageError
from tasks import parsing

MAX_ROWS = 1_000_000
MAX_CELLS = 50_000_000
MAX_BYTES = 256 * 2**20
MAX_COLUMNS = 2_000
RESERVED = "_"


@dataclass(frozen=True)
class Sample:
    """The first rows of a file. `whole`: these are all of them. `form` tells what a text in it may stand for."""

    frame: pl.DataFrame
    whole: bool
    form: Literal["csv", "jsonl", "parquet"]


def read(path: Path) -> Sample:
    """The first rows of a CSV or JSON Lines file (plain or compressed), or of a Parquet file.

    Raises UsageError, one line, for a file that is not there, cannot be read, holds no rows, or whose header cannot be
    used: a name that is empty, twice there, or kept for Penstock's own columns.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise UsageError(f"{path}: {what}; name one CSV, JSON Lines or Parquet file")
    try:
        form, compression = parsing.format_of(path.name)
        sample = READERS[form](path, compression)
    except Refused as refusal:
        raise UsageError(str(refusal)) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        why = str(error).strip().split("\n")[0][:200]
        raise UsageError(f"{path.name!r} cannot be read ({why}); is it complete?") from None
    if sample.frame.is_empty():
        raise UsageError(f"{path.name!r} holds no rows; a use case is drafted from rows, a few hundred or more")
    return sample


def check_names(names: list[str], source: str) -> None:
    """Raise UsageError, one line, for column names that no contract can hold."""
    if len(names) > MAX_COLUMNS:
        raise UsageError(f"{source!r} has {len(names):,} columns; a contract that people read has at most {MAX_COLUMNS:,}")
    for position, name in enumerate(names, 1):
        if why := _wrong(name):
            raise UsageError(f"{source!r}: column {position} {why}; rename it in the export")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"{source!r}: the header repeats {', '.join(map(repr, twice[:5]))}; rename them in the export")


def _wrong(name: str) -> str:
    if not name.strip():
        return "has no name (pandas writes its index so; index=False leaves it out)"
    if name != name.strip() or not name.isprintable():
        return f"{name!r} has spaces around it or characters that do not print"
    if name.startswith(RESERVED):
        return f"{name!r} begins with an underscore, which Penstock keeps for columns of its own"
    if name.startswith("^") and name.endswith("$"):
        return f"{name!r} reads as a regular expression (^...$)"
    return f"{name!r} stands for all columns" if name == "*" else ""


def _csv(path: Path, compression: str) -> Sample:
    batches = parsing.csv_batches(parsing.pieces(path, path.name, "csv", compression), path.name)
    first = next(batches, None)
    if first is None:
        raise UsageError(f"{path.name!r} is empty; the first line of a CSV file names its columns")
    names = first.frame.columns[:-1]
    _check_separator(names, path.name)
    check_names(names, path.name)
    frames, rows = [first.frame], 0
    for batch in batches:
        frames.append(batch.frame)
        rows += batch.frame.height
        if rows > _rows(len(names)):
            break
    return _cut(pl.concat(frames).drop("_row"), True, "csv")


def _check_separator(names: list[str], source: str) -> None:
    for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(names) == 1 and separator in names[0]:
            raise UsageError(f"{source!r}: its fields are separated by {word}, not commas; export it with commas")


def _jsonl(path: Path, compression: str) -> Sample:
    blocks = parsing.blocks(parsing.pieces(path, path.name, "jsonl", compression), path.name, dialect=None)
    kept, size = [], 0
    for block in blocks:
        size += len(block)
        if size > MAX_BYTES:
            break
        kept.append(block)
    text = b"".join(kept)
    if not text.strip():
        raise UsageError(f"{path.name!r} is empty; a JSON Lines file holds one object a line")
    frame = pl.read_ndjson(BytesIO(text), infer_schema_length=None)
    check_names(frame.columns, path.name)
    return _cut(frame, size <= MAX_BYTES, "jsonl")


def _parquet(path: Path, _: str) -> Sample:
    lazy = pl.scan_parquet(path, glob=False)
    names = lazy.collect_schema().names()
    check_names(names, path.name)
    return _cut(lazy.head(_rows(len(names)) + 1).collect(), True, "parquet")


def _rows(columns: int) -> int:
    return min(MAX_ROWS, MAX_CELLS // max(columns, 1))


def _cut(frame: pl.DataFrame, whole: bool, form: Literal["csv", "jsonl", "parquet"]) -> Sample:
    rows = _rows(frame.width)
    return Sample(frame.head(rows), whole and frame.height <= rows, form)


READERS: dict[str, Callable[[Path, str], Sample]] = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}

"""Names that a contract can hold, and columns that are none: an index, a counter of the rows, a column of nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from schemas.reader import Reader
from tasks.parsing import numbered_names

RESERVED = ("_", "penstock_")
COUNTERS = re.compile(
    r"(?i)^(unnamed[: _]*\d+|column_\d+|row_?names?|row_?(nr|no|num|number|id|index)?|index|idx|no\.?|nr\.?|#|seq|"
    r"sequence|obs\.?|sno|s\.?no\.?|sr\.?( ?no\.?)?|x|x\.?1|rowid|n\.?|level_0|__index_level_\d+__|counter)$"
)
NAMELESS = re.compile(r"^(unnamed_\d+|__index_level_\d+__|Unnamed: \d+(_level_\d+)?)$")


def find_names(names: Sequence[str], reader: Reader, stated: frozenset[str]) -> Reader:
    """The reader with a clean name for each column whose own name no contract can hold."""
    if reader.header == 0 and not stated & {"names"}:
        return reader
    rename, taken = dict(reader.rename), set(names)
    for own in numbered_names(list(names)):
        if own in rename or own in reader.omit:
            continue
        clean = _clean(own, names)
        if clean == own:
            continue
        while clean in taken:
            clean += "_"
        taken.add(clean)
        rename[own] = clean
    return replace(reader, rename=rename)


def _clean(name: str, names: Sequence[str]) -> str:
    if name not in names:  # an empty or a repeated one, numbered
        return re.sub(r"unnamed_(\d+)", r"column_\1", name) if name.startswith("unnamed_") else _twice(name)
    clean = "".join(c if c.isprintable() else " " for c in name.replace("\u00a0", " "))
    clean = re.sub(r"\s+", " ", clean).strip()
    if clean.startswith("^") and clean.endswith("$"):
        clean = clean.strip("^$")
    for begin in RESERVED:
        clean = clean.removeprefix(begin).lstrip("_") if clean.startswith(begin) else clean
    return clean if clean not in ("", "*") else f"column_{list(names).index(name) + 1}"


def _twice(name: str) -> str:
    return re.sub(r" \((\d+)\)$", r"_\1", name.strip())


def clean_columns(
    frame: pl.DataFrame, reader: Reader, stated: frozenset[str]
) -> tuple[pl.DataFrame, Reader, Mapping[str, str]]:
    """A frame without the columns that are none, the reader that leaves them out, and why, by the file's name."""
    own = {name: name for name in frame.columns} | {clean: name for name, clean in reader.rename.items()}
    left_out: dict[str, str] = {}
    for column in frame.get_columns():
        if "omit" not in stated and (why := _why_left_out(column, own[column.name])):
            left_out[own[column.name]] = why
    gone = {clean for clean, name in own.items() if name in left_out}
    reader = replace(
        reader,
        omit=(*reader.omit, *(name for name in left_out if name not in reader.omit)),
        rename={name: clean for name, clean in reader.rename.items() if name not in left_out},
    )
    return frame.drop([name for name in gone if name in frame.columns]), reader, left_out


def _why_left_out(column: pl.Series, own: str) -> str:
    """Why a column of the file is left out of the table, or ''."""
    if column.dtype.is_nested() or column.dtype in (pl.Duration, pl.Binary, pl.Object):
        return f"holds {column.dtype}, not one value a cell"
    nameless = bool(NAMELESS.match(own))
    text = column.str.strip_chars() if column.dtype == pl.String else column
    values = text.replace("", None) if text.dtype == pl.String else text
    if nameless and values.null_count() == len(values):
        return "nothing stands in it, not even a name"
    if not (nameless or COUNTERS.match(own.strip())):
        return ""
    numbers = values.cast(pl.Int64, strict=False)
    if numbers.null_count() or numbers.n_unique() != len(numbers) or len(numbers) < 2:
        return ""
    low, high = int(numbers.min()), int(numbers.max())  # type: ignore[arg-type]
    steps = low in (0, 1) and high - low == len(numbers) - 1
    if nameless or (steps and numbers.is_sorted()) or (low >= 0 and numbers.is_sorted() and own.lower() == "index"):
        return "it counts the rows of this file, which says nothing of another"
    return ""

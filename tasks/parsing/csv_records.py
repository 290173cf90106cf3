"""CSV as RFC 4180 has it, read as text: exact rows, or a rejection that says where.

Records are told apart here and not by the CSV reader, which takes UTF-16, NUL bytes, short rows and repeated headers
without a word. A record with too few or too many fields is rejected by itself; where the records cannot be told apart
(stray and open quotes) or the bytes are not UTF-8 text, the file is refused.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from schemas.errors import Refused

CHUNK = 1 << 23
LONGEST_RECORD = 1 << 24
BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
NEWLINE, RETURN, QUOTE, COMMA = 10, 13, 34, 44

Indices = np.ndarray[tuple[int], np.dtype[np.intp]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


@dataclass(frozen=True)
class Batch:
    """Records in order: `frame` holds text columns and `_row`; `broken` the rows and texts of records that do not fit."""

    frame: pl.DataFrame
    broken: dict[int, str]


@dataclass(frozen=True)
class Scan:
    """Where a chunk's records end and how many commas each holds, quotes taken into account."""

    ends: Indices
    commas: Indices
    open_quote: bool


def blocks(stream: Iterator[bytes], name: str, *, quotes: bool = True) -> Iterator[bytes]:
    """Whole records, some megabytes at a time, without a byte order mark; `quotes` may hold newlines.

    Args:
        stream: The file's bytes, in pieces.
        name: The file's name, for messages.
        quotes: Whether quotes may hold newlines.

    Yields:
        Blocks of whole records.

    Raises:
        Refused: The text is UTF-16, or a record has no end.
    """
    held, first = b"", True
    for piece in _small(stream):
        held += piece
        if first and len(held) < len(BOM):
            continue
        if first:
            held, first = _without_mark(held, name), False
        if len(held) < CHUNK:
            continue
        end = _last_end(held, quotes)
        if end:
            yield held[:end]
            held = held[end:]
        elif len(held) > LONGEST_RECORD:
            raise Refused(f"{name!r} holds a record of more than {LONGEST_RECORD >> 20} MiB: is a quote left open?")
    held = _without_mark(held, name) if first else held
    if held:
        yield held


def _small(stream: Iterator[bytes]) -> Iterator[bytes]:
    for piece in stream:
        for at in range(0, len(piece), CHUNK):
            yield piece[at : at + CHUNK]


def _without_mark(head: bytes, name: str) -> bytes:
    if head.startswith(UTF16):
        raise Refused(f"{name!r} is UTF-16; write it as UTF-8")
    return head.removeprefix(BOM)


def _last_end(held: bytes, quotes: bool) -> int:
    """Length of the whole records at the start: up to the last newline, outside quotes."""
    if not quotes or QUOTE not in held:
        return held.rfind(b"\n") + 1
    ends = scan(held).ends
    return int(ends[-1]) + 1 if len(ends) else 0


def scan(chunk: bytes) -> Scan:
    """Find record ends and commas outside quotes."""
    data: Bytes = np.frombuffer(chunk, np.uint8)
    newlines, commas = data == NEWLINE, data == COMMA
    if QUOTE not in chunk:
        return _scanned(newlines, commas, open_quote=False)
    inside = np.cumsum(data == QUOTE, dtype=np.uint8) & 1 == 1
    return _scanned(newlines & ~inside, commas & ~inside, open_quote=bool(inside[-1]))


def _scanned(newlines: Flags, commas: Flags, *, open_quote: bool) -> Scan:
    ends = np.flatnonzero(newlines)
    return Scan(ends, np.diff(np.searchsorted(np.flatnonzero(commas), ends), prepend=0), open_quote)


def header(block: bytes, name: str) -> tuple[list[str], int]:
    """Column names and the length of the header record. Raises Refused for repeated and empty names."""
    ends = scan(block + b"\n").ends
    length = int(ends[0]) + 1 if len(ends) else len(block)
    check_text(block[:length], name, 0)
    text = block[:length].decode().rstrip("\r\n")
    try:
        names = next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
    except csv.Error as error:
        raise Refused(f"{name!r}: the header cannot be read ({error})") from None
    if repeated := sorted({n for n in names if names.count(n) > 1}):
        raise Refused(f"{name!r}: the header repeats {', '.join(map(repr, repeated))}")
    return names, length


def csv_batches(stream: Iterator[bytes], name: str, columns: list[str] | None = None) -> Iterator[Batch]:
    """Records as text, numbered from 1 after the header; the first batch, maybe empty, has the header's columns.

    Args:
        stream: The file's bytes, in pieces.
        name: The file's name, for messages.
        columns: Names in place of the header; None for the header.

    Yields:
        Columns of text, and which records could not be split.

    Raises:
        Refused: The file cannot be read as CSV.
    """
    row = 0
    for block in blocks(stream, name):
        if columns is None:
            columns, length = header(block, name)
            yield Batch(_empty(columns), {})
            block = block[length:]
        if block:
            batch, count = _batch(block, columns, name, row)
            row += count
            yield batch


def _batch(block: bytes, columns: list[str], name: str, row: int) -> tuple[Batch, int]:
    check_text(block, name, row)
    if not block.endswith(b"\n"):
        block += b"\n"
    scanned = scan(block)
    _check_quotes(block, scanned, name, row)
    starts = np.concatenate(([0], scanned.ends[:-1] + 1))
    lengths = scanned.ends - starts
    data: Bytes = np.frombuffer(block, np.uint8)
    blank = (lengths == 0) | ((lengths == 1) & (data[starts] == RETURN))
    if len(columns) == 1:
        blank = np.zeros_like(blank)  # a row whose only field is empty
    numbers = row + np.cumsum(~blank)
    wrong = (scanned.commas != len(columns) - 1) & ~blank
    broken = {int(numbers[i]): _record(block, starts[i], scanned.ends[i]) for i in np.flatnonzero(wrong)}
    kept = ~(wrong | blank)
    frame = _frame(_only(block, starts, scanned.ends, kept), columns, int(kept.sum()), name)
    return Batch(frame.with_columns(pl.Series("_row", numbers[kept], dtype=pl.UInt64)), broken), int((~blank).sum())


def _record(block: bytes, start: int, end: int) -> str:
    return block[start:end].decode().rstrip("\r")


def _only(block: bytes, starts: Indices, ends: Indices, kept: Flags) -> bytes:
    if kept.all():
        return block
    turns = np.flatnonzero(np.diff(kept, prepend=False, append=False))
    runs = zip(turns[::2], turns[1::2], strict=True)
    return b"".join(block[starts[first] : ends[last - 1] + 1] for first, last in runs)


def _frame(records: bytes, columns: list[str], count: int, name: str) -> pl.DataFrame:
    if not count:
        return _empty(columns).drop("_row")
    if len(columns) == 1:  # the reader skips some of the lines that are empty fields
        fields = [row[0] if row else None for row in csv.reader(io.StringIO(records.decode(), newline=""), strict=True)]
        frame = pl.DataFrame({columns[0]: fields}, schema={columns[0]: pl.String})
    else:
        schema = dict.fromkeys(columns, pl.String())
        frame = pl.read_csv(records, has_header=False, schema=schema, infer_schema=False)
    if frame.height != count:
        raise Refused(f"{name!r}: the CSV reader finds {frame.height} records where {count} are")
    return frame


def _empty(columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame(schema={**dict.fromkeys(columns, pl.String()), "_row": pl.UInt64()})


def check_text(block: bytes, name: str, row: int) -> None:
    """Raises Refused that names the first row that is not UTF-8 or holds NUL."""
    nul = block.find(b"\0")
    if nul >= 0:
        near = row + block.count(b"\n", 0, nul) + 1
        raise Refused(f"{name!r} holds a NUL byte near row {near}: is it UTF-16, or damaged?")
    try:
        block.decode()
    except UnicodeDecodeError as error:
        near = row + block.count(b"\n", 0, error.start) + 1
        raise Refused(f"{name!r} is not UTF-8 near row {near} (byte {block[error.start]:#04x}); write it as UTF-8") from None


def _check_quotes(block: bytes, scanned: Scan, name: str, row: int) -> None:
    """Refuse a quote that opens inside a field, one that closes before its end, and one that stays open."""
    if QUOTE not in block:
        return
    data: Bytes = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(data == QUOTE)
    opening, closing = quotes[::2], quotes[1::2]
    before = np.where(opening > 0, data[opening - 1], NEWLINE)
    after = data[np.minimum(closing + 1, len(data) - 1)]
    returned = (after == RETURN) & (data[np.minimum(closing + 2, len(data) - 1)] == NEWLINE)
    stray = np.concatenate(
        (opening[~np.isin(before, (COMMA, NEWLINE, QUOTE))], closing[~(np.isin(after, (COMMA, NEWLINE, QUOTE)) | returned)])
    )
    if scanned.open_quote:
        stray = np.append(stray, quotes[-1])
    if len(stray):
        near = row + int(np.searchsorted(scanned.ends, stray.min())) + 1
        raise Refused(
            f"{name!r}: a quote in or near row {near} is stray or never closed; double quotes inside quoted fields"
        )

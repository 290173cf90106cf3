"""Delimited text, read as text: exact rows, or a rejection that says where. The plain reader is CSV as RFC 4180 has it.

Records are told apart here and not by the CSV reader, which takes UTF-16, NUL bytes, short rows and repeated headers
without a word. A record with too few or too many fields is rejected by itself; where the records cannot be told apart
(stray and open quotes) or the bytes are not text in the declared encoding, the file is refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from schemas.errors import Refused
from schemas.reader import PLAIN, Reader
from tasks.parsing.refusals import StrayQuote
from tasks.parsing.text_stream import prepared, single_separator, with_single_separators

CHUNK = 1 << 23
LONGEST_RECORD = 1 << 24
SHORT = 1 << 16
AT_ONCE = 20_000  # records
BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
NEWLINE, RETURN = 10, 13

Indices = np.ndarray[tuple[int], np.dtype[np.intp]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


@dataclass(frozen=True)
class Batch:
    """Records in order: text columns, the number of each row, and row and text of the records that do not fit."""

    frame: pl.DataFrame
    rows: pl.Series
    broken: dict[int, str]


@dataclass(frozen=True)
class Dialect:
    """The bytes that tell fields and records apart, once the separator is a single one; `quote` is None for none."""

    separator: int = ord(",")
    quote: int | None = ord('"')

    @classmethod
    def of(cls, reader: Reader) -> Dialect:
        """The dialect of a reader's text."""
        return cls(ord(single_separator(reader)), ord(reader.quote) if reader.quote else None)

    def quotes(self, chunk: bytes) -> bool:
        """Whether a chunk holds a quote."""
        return self.quote is not None and self.quote in chunk

    def split(self, text: str) -> list[str]:
        """The fields of one record. Raises csv.Error."""
        return next(self.rows(text), [])

    def rows(self, text: str) -> Iterator[list[str]]:
        """The fields of several records. Raises csv.Error."""
        marks: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if self.quote is None else {"quotechar": chr(self.quote)}
        return csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=chr(self.separator), **marks)


COMMAS = Dialect()


@dataclass(frozen=True)
class Scan:
    """Where a chunk's records end and how many separators each holds, quotes taken into account."""

    ends: Indices
    separators: Indices
    open_quote: bool


def blocks(stream: Iterator[bytes], name: str, *, dialect: Dialect | None = COMMAS) -> Iterator[bytes]:
    """Whole records, some megabytes at a time, without a byte order mark; quotes may hold newlines.

    Args:
        stream: The file's bytes, in pieces.
        name: The file's name, for messages.
        dialect: What quotes a field; None where each line is a record.

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
            held, first = without_mark(held, name), False
        if len(held) < CHUNK:
            continue
        end = _last_end(held, dialect)
        if end:
            yield held[:end]
            held = held[end:]
        elif len(held) > LONGEST_RECORD:
            raise Refused(f"{name!r} holds a record of more than {LONGEST_RECORD >> 20} MiB: is a quote left open?")
    held = without_mark(held, name) if first else held
    if held:
        yield held


def _small(stream: Iterator[bytes]) -> Iterator[bytes]:
    for piece in stream:
        for at in range(0, len(piece), CHUNK):
            yield piece[at : at + CHUNK]


def without_mark(head: bytes, name: str) -> bytes:
    """A text's first bytes without a byte order mark. Raises Refused for UTF-16."""
    if head.startswith(UTF16):
        raise Refused(f'{name!r} is UTF-16; write it as UTF-8, or let the input say reader=Reader(encoding="utf-16")')
    return head.removeprefix(BOM)


def _last_end(held: bytes, dialect: Dialect | None) -> int:
    """Length of the whole records at the start: up to the last newline, outside quotes."""
    if dialect is None or not dialect.quotes(held):
        return held.rfind(b"\n") + 1
    ends = scan(held, dialect).ends
    return int(ends[-1]) + 1 if len(ends) else 0


def scan(chunk: bytes, dialect: Dialect = COMMAS) -> Scan:
    """Find record ends and separators outside quotes."""
    data: Bytes = np.frombuffer(chunk, np.uint8)
    newlines, separators = data == NEWLINE, data == dialect.separator
    if not dialect.quotes(chunk):
        return _scanned(newlines, separators, open_quote=False)
    inside = np.cumsum(data == dialect.quote, dtype=np.uint8) & 1 == 1
    return _scanned(newlines & ~inside, separators & ~inside, open_quote=bool(inside[-1]))


def _scanned(newlines: Flags, separators: Flags, *, open_quote: bool) -> Scan:
    ends = np.flatnonzero(newlines)
    return Scan(ends, np.diff(np.searchsorted(np.flatnonzero(separators), ends), prepend=0), open_quote)


def header(block: bytes, name: str, reader: Reader = PLAIN) -> tuple[list[str], int]:
    """Column names and the length of the lines that hold them. Raises Refused for repeated and empty names."""
    if not reader.header:
        return list(reader.names), 0
    dialect = Dialect.of(reader)
    ends = scan(block if block.endswith(b"\n") else block + b"\n", dialect).ends
    length = 0
    lines: list[list[str]] = []
    for end in map(int, ends):
        record, length = block[length : end + 1], end + 1
        if _is_comment(record, reader):
            continue
        lines.append(_names(record, name, dialect))
        if len(lines) == reader.header:
            break
    return distinct_names(joined_names(lines, reader), name, reader), length


def _is_comment(record: bytes, reader: Reader) -> bool:
    return reader.comment is not None and record.startswith(reader.comment.encode())


def _names(record: bytes, name: str, dialect: Dialect) -> list[str]:
    check_text(record, name, 0)
    try:
        return dialect.split(record.decode().rstrip("\r\n"))
    except csv.Error as error:
        raise Refused(f"{name!r}: the header cannot be read ({error})") from None


def joined_names(lines: list[list[str]], reader: Reader) -> list[str]:
    """One name a column: the texts of its header lines, and an empty one for the field that the header lacks.

    Args:
        lines: The fields of each header line.
        reader: How the file is written.

    Returns:
        As many names as a row has fields.
    """
    if len(lines) == 1 and not reader.strip:
        names = lines[0]
    else:
        width = max(map(len, lines), default=0)
        texts = [[*(text.strip() for text in line), *[""] * (width - len(line))] for line in lines]
        names = [" ".join(filter(None, parts)) for parts in zip(*texts, strict=True)]
    return {"first": ["", *names], "last": [*names, ""], None: names}[reader.unnamed]


def distinct_names(names: list[str], name: str, reader: Reader) -> list[str]:
    """Names of which each stands there once. Raises Refused for a repeated one that the reader does not speak of."""
    known = {*reader.rename, *reader.omit}
    numbered = numbered_names(names)
    unknown = [(old, new) for old, new in zip(names, numbered, strict=True) if old != new and new not in known]
    if repeated := sorted({old for old, _ in unknown if names.count(old) > 1}):
        raise Refused(f"{name!r}: the header repeats {', '.join(map(repr, repeated))}")
    return [new if new in known else old for old, new in zip(names, numbered, strict=True)]


def numbered_names(names: list[str]) -> list[str]:
    """Names made distinct: `a (2)` for the second column called a, `unnamed_3` for the third column where it has no name.

    A name that another column has in the file is not given: of `a,a,a (2)` the second is `a (3)`.

    Args:
        names: The names in a file's header.

    Returns:
        As many names, each once.
    """
    seen, taken = Counter[str](), set(names)
    distinct = []
    for position, name in enumerate(names, 1):
        seen[name] += 1
        own = name or f"unnamed_{position}"
        number = seen[name] if name else 1
        while (new := own if number == 1 else f"{own} ({number})") in taken and not (name and number == 1):
            number += 1
        taken.add(new)
        distinct.append(new)
    return distinct


def csv_batches(stream: Iterator[bytes], name: str, reader: Reader = PLAIN) -> Iterator[Batch]:
    """Records as text, numbered from 1 after the header; the first batch, maybe empty, has the header's columns.

    Args:
        stream: The file's bytes, in pieces.
        name: The file's name, for messages.
        reader: How the file is written.

    Yields:
        Columns of text under the file's own names, and which records could not be split.

    Raises:
        Refused: The file cannot be read as the reader declares.
    """
    row = 0
    columns: list[str] | None = None
    for block, is_last in _with_last(_records(stream, name, reader)):
        if columns is None:
            columns, length = header(block, name, reader)
            yield Batch(_empty(columns), pl.Series(dtype=pl.UInt64), {})
            block = block[length:]
        if block:
            batch, count = _batch(block, columns, name, row, reader, is_last)
            row += count
            yield batch


def _records(stream: Iterator[bytes], name: str, reader: Reader) -> Iterator[bytes]:
    dialect = Dialect.of(reader)
    text = prepared(stream, name, reader)
    if reader.stray_quotes and reader.quote:
        text = _without_stray_quotes(text, dialect, name, reader.comment)
    for block in blocks(text, name, dialect=dialect):
        yield with_single_separators(block, name, reader)


def _without_stray_quotes(stream: Iterator[bytes], dialect: Dialect, name: str, comment: str | None) -> Iterator[bytes]:
    """The same records with fields enclosed, and quotes doubled, where they hold a quote: as a lenient reader takes them."""
    marks: dict[str, Any] = {"delimiter": chr(dialect.separator), "quotechar": chr(dialect.quote or 0)}
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n", **marks)
    try:
        lines = (line for line in _lines(stream) if not (comment and line.startswith(comment)))
        for number, record in enumerate(csv.reader(lines, strict=False, **marks), 1):
            writer.writerow(record)
            if number % AT_ONCE == 0:
                yield _taken(written)
    except csv.Error as error:
        raise Refused(f"{name!r} cannot be read ({error}): is a quote left open?") from None
    yield _taken(written)


def _lines(stream: Iterator[bytes]) -> Iterator[str]:
    held, first = b"", True
    for piece in stream:
        *whole, held = ((held + piece).removeprefix(BOM) if first else held + piece).split(b"\n")
        first = first and not whole
        for line in whole:
            yield f"{line.decode(errors='surrogateescape')}\n"
    if held:
        yield held.decode(errors="surrogateescape")


def _taken(written: io.StringIO) -> bytes:
    text = written.getvalue().encode(errors="surrogateescape")
    written.seek(0)
    written.truncate()
    return text


def _with_last(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each block, and whether it is the last. A short last one joins the one before, so that a footer is not cut in two."""
    held: bytes | None = None
    for block in blocks:
        if held is not None and len(block) < SHORT:
            held += block
            continue
        if held is not None:
            yield held, False
        held = block
    if held is not None:
        yield held, True


def _batch(
    block: bytes, columns: list[str], name: str, row: int, reader: Reader = PLAIN, is_last: bool = True
) -> tuple[Batch, int]:
    check_text(block, name, row)
    if not block.endswith(b"\n"):
        block += b"\n"
    dialect = Dialect.of(reader)
    if reader.strip and dialect.quotes(block):
        block = _without_blanks_at_quotes(block, dialect)
    scanned = scan(block, dialect)
    _check_quotes(block, scanned, name, row, dialect)
    starts = np.concatenate(([0], scanned.ends[:-1] + 1))
    blank = _left_out(block, starts, scanned.ends, len(columns), reader, is_last)
    numbers = row + np.cumsum(~blank)
    wrong = (scanned.separators != len(columns) - 1) & ~blank
    broken = {int(numbers[i]): _record(block, starts[i], scanned.ends[i]) for i in np.flatnonzero(wrong)}
    kept = ~(wrong | blank)
    frame = _frame(_only(block, starts, scanned.ends, kept), columns, int(kept.sum()), name, dialect)
    return Batch(frame, pl.Series(numbers[kept], dtype=pl.UInt64), broken), int((~blank).sum())


def _without_blanks_at_quotes(block: bytes, dialect: Dialect) -> bytes:
    """Enclosed fields without the blanks about them; what they enclose stays."""
    separator, quote = re.escape(bytes([dialect.separator])), re.escape(bytes([dialect.quote or 0]))
    blanks = rb"[ ]*" if dialect.separator == ord("\t") else rb"[ \t]*"
    field = rb"%b(?:[^%b]|%b%b)*%b" % (*[quote] * 5,)
    enclosed = rb"(^|%b)%b(%b)%b(?=%b|\r?\n|\Z)" % (separator, blanks, field, blanks, separator)
    return re.sub(enclosed, rb"\1\2", block, flags=re.MULTILINE)


def _left_out(block: bytes, starts: Indices, ends: Indices, width: int, reader: Reader, is_last: bool) -> Flags:
    """Which lines are no rows: blank ones, comments, the footer, and rows of nothing where the reader skips them."""
    data: Bytes = np.frombuffer(block, np.uint8)
    lengths = ends - starts
    blank: Flags = (lengths == 0) | ((lengths == 1) & (data[starts] == RETURN))
    if width == 1 and reader.blank_rows == "keep":
        blank = np.zeros_like(blank)  # a row whose only field is empty
    if reader.comment:
        first = np.flatnonzero(data[starts] == reader.comment.encode()[0])
        blank[[i for i in first if _is_comment(block[starts[i] : ends[i]], reader)]] = True
    if reader.blank_rows == "skip":
        dialect = Dialect.of(reader)
        marks = {*b" \t\r\n", dialect.separator, *([] if dialect.quote is None else [dialect.quote])}
        nothing = np.isin(data, np.frombuffer(bytes(marks), np.uint8))
        something = np.concatenate(([0], np.cumsum(~nothing)))
        blank |= something[ends] == something[starts]
    if reader.footer and is_last:
        footer = re.compile(reader.footer)
        for i in range(len(ends) - 1, -1, -1):
            if not blank[i] and not footer.match(_record(block, starts[i], ends[i])):
                break
            blank[i] = True
    return blank


def _record(block: bytes, start: int, end: int) -> str:
    return block[start:end].decode().rstrip("\r")


def _only(block: bytes, starts: Indices, ends: Indices, kept: Flags) -> bytes:
    if kept.all():
        return block
    turns = np.flatnonzero(np.diff(kept, prepend=False, append=False))
    runs = zip(turns[::2], turns[1::2], strict=True)
    return b"".join(block[starts[first] : ends[last - 1] + 1] for first, last in runs)


def _frame(records: bytes, columns: list[str], count: int, name: str, dialect: Dialect = COMMAS) -> pl.DataFrame:
    if not count:
        return _empty(columns)
    quote = None if dialect.quote is None else chr(dialect.quote)
    if len(columns) == 1:  # the reader skips some of the lines that are empty fields
        fields = [row[0] if row else None for row in dialect.rows(records.decode())]
        frame = pl.DataFrame({columns[0]: fields}, schema={columns[0]: pl.String})
    else:
        schema = dict.fromkeys(columns, pl.String())
        marks: dict[str, Any] = {"separator": chr(dialect.separator), "quote_char": quote}
        frame = pl.read_csv(records, has_header=False, schema=schema, infer_schema=False, **marks)
    if frame.height != count:
        raise Refused(f"{name!r}: the CSV reader finds {frame.height} records where {count} are")
    return frame


def _empty(columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.String()))


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
        mend = 'write it as UTF-8, or let the input say reader=Reader(encoding="cp1252") if it is that'
        raise Refused(f"{name!r} is not UTF-8 near row {near} (byte {block[error.start]:#04x}); {mend}") from None


def _check_quotes(block: bytes, scanned: Scan, name: str, row: int, dialect: Dialect = COMMAS) -> None:
    """Refuse a quote that opens inside a field, one that closes before its end, and one that stays open."""
    if not dialect.quotes(block):
        return
    data: Bytes = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(data == dialect.quote)
    opening, closing = quotes[::2], quotes[1::2]
    before = np.where(opening > 0, data[opening - 1], NEWLINE)
    after = data[np.minimum(closing + 1, len(data) - 1)]
    returned = (after == RETURN) & (data[np.minimum(closing + 2, len(data) - 1)] == NEWLINE)
    beside = (dialect.separator, NEWLINE, dialect.quote or 0)
    stray = np.concatenate((opening[~np.isin(before, beside)], closing[~(np.isin(after, beside) | returned)]))
    if scanned.open_quote:
        stray = np.append(stray, quotes[-1])
    if len(stray):
        near = row + int(np.searchsorted(scanned.ends, stray.min())) + 1
        raise StrayQuote(
            f"{name!r}: a quote in or near row {near} is stray or never closed; double quotes inside quoted fields", near
        )

"""A text file's bytes as UTF-8 with one line end and one separator of a single byte: what records are told apart in.

A plain reader's bytes pass through untouched.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from schemas.errors import Refused
from schemas.reader import WHITESPACE, Reader

UNIT_SEPARATOR = "\x1f"  # stands for a separator of several characters


def single_separator(reader: Reader) -> str:
    """The separator as one byte: its own, or what `prepared` puts in its place.

    Args:
        reader: How the file is written.

    Returns:
        One character of ASCII.
    """
    if reader.separator == WHITESPACE:
        return "\t"
    return reader.separator if len(reader.separator.encode()) == 1 else UNIT_SEPARATOR


def prepared(stream: Iterator[bytes], name: str, reader: Reader) -> Iterator[bytes]:
    """The bytes as UTF-8 without the lines before the header, lines ended by newlines.

    Args:
        stream: The file's bytes, in pieces.
        name: The file's name, for messages.
        reader: How the file is written.

    Yields:
        Pieces of bytes.

    Raises:
        Refused: They are not text in the declared encoding.
    """
    stream = decoded(stream, name, reader.encoding)
    if reader.line_end == "\r":
        stream = (piece.replace(b"\r", b"\n") for piece in stream)
    if reader.skip_lines:
        stream = _without_first_lines(stream, name, reader.skip_lines)
    return unescaped(stream, reader) if reader.backslash else stream


def with_single_separators(block: bytes, name: str, reader: Reader) -> bytes:
    """Whole records with the separator that `single_separator` names.

    Args:
        block: Whole records.
        name: The file's name, for messages.
        reader: How the file is written.

    Returns:
        The records.

    Raises:
        Refused: They hold the byte that would stand for the separator.
    """
    if reader.separator == WHITESPACE:
        quote = re.escape(reader.quote.encode()) if reader.quote else b""
        enclosed = b"%b[^%b]*%b|" % (quote, quote, quote) if quote else b""
        runs = re.sub(enclosed + rb"[ \t]+", _tab, block)
        return b"\n".join(line.strip(b"\t\r") for line in runs.split(b"\n"))
    written = reader.separator.encode()
    if len(written) == 1:
        return block
    if UNIT_SEPARATOR.encode() in block:
        raise Refused(f"{name!r} holds the byte 0x1f, which no text has; is it damaged?")
    if reader.quote is None or reader.quote.encode() not in block:
        return block.replace(written, UNIT_SEPARATOR.encode())
    quote = re.escape(reader.quote.encode())
    parts = re.compile(rb"%b[^%b]*%b|%b" % (quote, quote, quote, re.escape(written)))
    return parts.sub(lambda match: UNIT_SEPARATOR.encode() if match[0] == written else match[0], block)


def _tab(match: re.Match[bytes]) -> bytes:
    return b"\t" if match[0][0] in b" \t" else match[0]


def unescaped(stream: Iterator[bytes], reader: Reader) -> Iterator[bytes]:
    """The enclosing quote after a backslash becomes a doubled one, a doubled backslash a single one, other quotes plain.

    Args:
        stream: Text, in pieces.
        reader: How the file is written.

    Yields:
        Pieces of the same text with doubled quotes.
    """
    quote = (reader.quote or "\0").encode()
    escaped, held = re.compile(rb"""\\(["'\\])"""), b""
    for piece in stream:
        piece = held + piece
        held = b"\\" if (len(piece) - len(piece.rstrip(b"\\"))) % 2 else b""
        yield escaped.sub(lambda match: match[1] * (2 if match[1] == quote else 1), piece.removesuffix(held))
    yield held


def decoded(stream: Iterator[bytes], name: str, encoding: str) -> Iterator[bytes]:
    """The bytes as UTF-8.

    Args:
        stream: The file's bytes, in pieces.
        name: The file's name, for messages.
        encoding: Encoding of the text; UTF-8 passes through unread.

    Returns:
        Pieces of bytes; reading them raises Refused where they are no text in that encoding.
    """
    return stream if codecs.lookup(encoding).name == "utf-8" else _decoded(stream, name, encoding)


def _decoded(stream: Iterator[bytes], name: str, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    lines = 0
    try:
        for piece in stream:
            text = decoder.decode(piece)
            lines += text.count("\n")
            yield text.encode()
        yield decoder.decode(b"", final=True).encode()
    except (UnicodeError, ValueError) as error:
        why = getattr(error, "reason", str(error))
        raise Refused(f"{name!r} is not {encoding} after line {lines} ({why}); its reader declares that encoding") from None


def _without_first_lines(stream: Iterator[bytes], name: str, lines: int) -> Iterator[bytes]:
    for piece in stream:
        while lines:
            end = piece.find(b"\n")
            if end < 0:
                break
            piece, lines = piece[end + 1 :], lines - 1
        if not lines:
            yield piece
    if lines:
        raise Refused(f"{name!r} ends within the {lines} more lines that its reader skips before the header")

"""The encoding and the line ends of a text file, from all of its bytes: the last line may hold the one odd character."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from schemas.errors import UsageError

MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
HEAD = 1 << 20
TAIL = 1 << 16


@dataclass(frozen=True)
class TextParts:
    """How a file's text is encoded, and its beginning and its end as text, lines ended by newlines."""

    encoding: str
    line_end: Literal["\n", "\r"]
    head: str
    tail: str
    whole: bool


def find_encoding(pieces: Iterable[bytes], source: str) -> TextParts:
    """Read all bytes once: UTF-8 where they are, else UTF-16 by its mark or its zeros, else Windows' Latin code page.

    Raises UsageError for bytes that are no text in any of these.
    """
    head, tail, size = bytearray(), b"", 0
    utf8, nul = codecs.getincrementaldecoder("utf-8")("strict"), False
    is_utf8 = True
    for piece in pieces:
        size += len(piece)
        head += piece[: max(0, HEAD - len(head))]
        tail = (tail + piece)[-TAIL:]
        nul = nul or b"\0" in piece
        is_utf8 = is_utf8 and _decodes(utf8, piece)
    encoding = _encoding(bytes(head), is_utf8 and not nul and _decodes(utf8, b"", final=True), nul, source)
    width = 2 if encoding.startswith("utf-16") else 1
    text = bytes(head).decode(encoding, errors="replace").removeprefix("\ufeff")
    end = tail[len(tail) % width :].decode(_without_mark(encoding, bytes(head)), errors="replace")
    line_end: Literal["\n", "\r"] = "\r" if "\r" in text and "\n" not in text else "\n"
    plain = [part.replace("\r\n", "\n").replace("\r", "\n") for part in (text, end)]
    return TextParts(encoding, line_end, plain[0], plain[1], whole=size <= len(head))


def _decodes(decoder: codecs.IncrementalDecoder, piece: bytes, final: bool = False) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


def _encoding(head: bytes, is_utf8: bool, nul: bool, source: str) -> str:
    if is_utf8:
        return "utf-8"
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    if nul:
        zeros = [head[first::2].count(0) / max(len(head[first::2]), 1) for first in (0, 1)]
        if max(zeros) < 0.3:
            raise UsageError(f"{source!r} holds NUL bytes: it is no text, or damaged; export it again as CSV in UTF-8")
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    try:
        head.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def _without_mark(encoding: str, head: bytes) -> str:
    """The encoding of bytes from the middle of a file, where no mark tells their order."""
    if encoding != "utf-16":
        return encoding
    return "utf-16-be" if head.startswith(codecs.BOM_UTF16_BE) else "utf-16-le"

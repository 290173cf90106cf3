"""JSON documents: an array of records, at the top or where the reader's path leads, read record by record.

The document is never held as a whole: what lies beside the path is passed over, and a record is decoded when its text is
complete. A record that names a key twice or is too deep is rejected by itself; a text that is no JSON is refused.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import islice
from json import JSONDecodeError
from typing import Any

from schemas.errors import Refused
from tasks.parsing.csv_records import LONGEST_RECORD, without_mark
from tasks.parsing.json_values import DECODER, Repeated, is_shallow
from tasks.parsing.refusals import RecordsElsewhere
from tasks.parsing.text_stream import decoded

BLANK = re.compile(r"[ \t\r\n]*")
STRUCTURE = re.compile(r'[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*(?:(?P<closed>")|\\?\Z)', re.DOTALL)
RECORDS = 20_000
SHOWN = 5  # names of keys in a message


class Scanner:
    """A text that comes in pieces: what was read is let go."""

    def __init__(self, pieces: Iterator[str], name: str) -> None:
        self._pieces, self._name = pieces, name
        self.text, self.at = "", 0
        self._passed = 0  # letters before `text`
        self._value = slice(0, 0)

    def more(self) -> bool:
        """Whether there was more to read."""
        piece = next(self._pieces, "")
        self._passed += self.at
        self.text, self.at = self.text[self.at :] + piece, 0
        return bool(piece)

    def peek(self) -> str:
        """The next letter that is no blank; empty at the end."""
        while True:
            self.at = BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def take(self, letter: str) -> bool:
        """Whether the next letter is this one, which is then read."""
        if self.peek() != letter:
            return False
        self.at += 1
        return True

    def expect(self, letter: str) -> None:
        """Read this letter. Raises Refused where it is another."""
        if not self.take(letter):
            raise self.wrong(f"{letter!r} is missing")

    def value(self) -> Any:
        """Decode the next value. Raises Refused where it is no JSON, Repeated or RecursionError where it is none of ours."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
            except JSONDecodeError as error:
                if len(self.text) - self.at > LONGEST_RECORD:
                    raise self._too_long() from None
                if not self.more():
                    raise self.wrong(error.msg, error.pos) from None
                continue
            if end == len(self.text) and self.more():  # a number may go on
                continue
            self._value = slice(self.at, end)
            self.at = end
            return value

    def value_text(self) -> str:
        """The text of the value that was decoded last, before anything else is read."""
        return self.text[self._value]

    def extent(self) -> str:
        """Read the next value as text."""
        text: list[str] = []
        for piece in self._until_its_end():
            text.append(piece)
            if sum(map(len, text)) > LONGEST_RECORD:
                raise self._too_long()
        return "".join(text)

    def skip(self) -> None:
        """Read over the next value."""
        for _ in self._until_its_end():
            pass

    def _until_its_end(self) -> Iterator[str]:
        """The next value's text in pieces; brackets are counted, and what is between them is not judged."""
        if self.peek() not in ("[", "{"):
            self.value()
            yield self.value_text()
            return
        depth = 0
        while True:
            start = end = self.at
            for match in STRUCTURE.finditer(self.text, self.at):
                if match[0][0] == '"':
                    if not match["closed"]:
                        break
                else:
                    depth += 1 if match[0] in "[{" else -1
                end = match.end()
                if not depth:
                    self.at = end
                    yield self.text[start:end]
                    return
            else:
                end = len(self.text)
            self.at = end
            yield self.text[start:end]
            if len(self.text) - end > LONGEST_RECORD or not self.more():
                raise self.wrong("a bracket or a quote is never closed")

    def _too_long(self) -> Refused:
        return Refused(f"{self._name!r} holds a record of more than {LONGEST_RECORD >> 20} MiB: is a quote left open?")

    def wrong(self, why: str, at: int | None = None) -> Refused:
        """What to say of a text that is no JSON."""
        return Refused(f"{self._name!r} is no JSON at letter {self._passed + (self.at if at is None else at) + 1} ({why})")


def document_records(stream: Iterator[bytes], name: str, encoding: str, path: str) -> Iterator[dict[str, Any] | str]:
    """The records of a JSON document in order.

    Args:
        stream: The file's bytes, in pieces.
        name: The file's name, for messages.
        encoding: Encoding of the text.
        path: Where the array of records lies: keys joined by dots, empty for the document itself.

    Yields:
        A record with its numbers as text, or the text of what is no record.

    Raises:
        Refused: It is no JSON, or holds no array there.
    """
    scanner = Scanner(_texts(stream, name, encoding), name)
    keys = path.split(".") if path else []
    for depth, key in enumerate(keys):
        _enter(scanner, key, ".".join(keys[:depth]) or "the document", name)
    if scanner.peek() != "[":
        raise _no_array(scanner, path, name)
    yield from _items(scanner)
    for key in reversed(keys):
        _leave(scanner, key, name)
    if scanner.peek():
        raise scanner.wrong("there is more after the document's end")


def document_entries(
    stream: Iterator[bytes], name: str, encoding: str = "utf-8", path: str = ""
) -> Iterator[list[dict[str, Any] | str]]:
    """The records of a JSON document, some thousand at a time; for arguments and errors see `document_records`.

    Yields:
        Records, and texts of what is none.
    """
    records = document_records(stream, name, encoding, path)
    while batch := list(islice(records, RECORDS)):
        yield batch


def _texts(stream: Iterator[bytes], name: str, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    first = True
    try:
        for piece in decoded(stream, name, encoding):
            if text := decoder.decode(without_mark(piece, name) if first else piece):
                yield text
            first = False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise Refused(f"{name!r} is not UTF-8 ({error.reason}); let the input say which encoding it has") from None


def _items(scanner: Scanner) -> Iterator[dict[str, Any] | str]:
    scanner.expect("[")
    if scanner.take("]"):
        return
    while True:
        yield _record(scanner)
        if not scanner.take(","):
            break
    scanner.expect("]")


def _record(scanner: Scanner) -> dict[str, Any] | str:
    scanner.peek()
    if scanner.text[scanner.at : scanner.at + 1] == "{":
        try:
            record = scanner.value()
        except (Repeated, RecursionError):
            return scanner.extent()
        return record if is_shallow(record, text := scanner.value_text()) else text
    return scanner.extent()


def _enter(scanner: Scanner, key: str, where: str, name: str) -> None:
    """Go to the value of a key of the object that comes next."""
    if not scanner.take("{"):
        raise Refused(f"{name!r}: {where} is no object, so there is no {key!r} in it; its reader's path says so")
    others: list[str] = []
    for each in _keys(scanner):
        if each == key:
            return
        others.append(each)
        scanner.skip()
    there = ", ".join(map(repr, others[:SHOWN])) or "nothing"
    raise Refused(f"{name!r}: {where} has no {key!r}, where its reader's path leads; there is {there}")


def _leave(scanner: Scanner, key: str, name: str) -> None:
    """Read the rest of the object that was entered."""
    if scanner.take("}"):
        return
    scanner.expect(",")
    for each in _keys(scanner):
        if each == key:
            raise Refused(f"{name!r} has {key!r} twice: which of them holds the records?")
        scanner.skip()


def _keys(scanner: Scanner) -> Iterator[str]:
    """The keys of an object whose bracket was read; whoever asks reads the value before the next one."""
    if scanner.take("}"):
        return
    while True:
        if scanner.peek() != '"':
            raise scanner.wrong("a key is missing")
        key = scanner.value()
        scanner.expect(":")
        yield key
        if not scanner.take(","):
            break
    scanner.expect("}")


def _no_array(scanner: Scanner, path: str, name: str) -> Refused:
    """What to say where no array lies: with the paths to those of the object that does, or that it is JSON Lines."""
    where = repr(path) if path else "its top"
    arrays: list[str] = []
    if scanner.take("{"):
        for key in _keys(scanner):
            if scanner.peek() == "[":
                arrays.append(f"{path}.{key}" if path else key)
            scanner.skip()
        if not path and scanner.peek() == "{":
            return Refused(f'{name!r} holds one object a line: let the input say reader=Reader(format="jsonl")')
    nowhere = f"{name!r} holds no array of records at {where}"
    if not arrays:
        return Refused(nowhere)
    return RecordsElsewhere(f"{nowhere}; let the input say reader=Reader(path={arrays[0]!r})", arrays[0])

"""The records of some lines under a reader that is tried on them: leniently, by the same marks as they are ingested by."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Literal

from schemas.errors import Refused
from schemas.reader import Reader
from tasks.parsing.text_stream import single_separator, unescaped, with_single_separators


def records_of_lines(lines: Sequence[str], reader: Reader) -> Iterator[tuple[int, list[str]]]:
    """Records as fields, as far as they can be told apart.

    Args:
        lines: Lines without their ends.
        reader: How they may be written; its comments and the lines before the header are not left out.

    Yields:
        The number of a record's first line, from 0, and its fields.
    """
    text = "\n".join(lines).encode(errors="replace")
    if reader.backslash:
        text = b"".join(unescaped(iter([text]), reader))
    try:
        text = with_single_separators(text, "", reader)
    except Refused:
        return
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if reader.quote else csv.QUOTE_NONE
    rows = csv.reader(
        (f"{line}\n" for line in text.decode().split("\n")),
        delimiter=single_separator(reader),
        quotechar=reader.quote,
        quoting=quoting,
        skipinitialspace=True,
    )
    first = 0
    try:
        for record in rows:
            yield first, record
            first = rows.line_num
    except csv.Error:
        return

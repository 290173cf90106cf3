"""How a text file lays out its table: separator and quotes, the lines before and after it, comments, and its header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from deployments.scaffold.type_inference import MISSING_WORDS, looks_typed
from schemas.reader import WHITESPACE, Reader
from tasks import parsing

SEPARATORS = ("::", "||", ",", ";", "\t", "|")
RARE_SEPARATORS = ("^", "~", ":")  # where none of the others is one: titles and clock times hold them, too
NAMES = {"\t": "tabs", ";": "semicolons", "|": "bars", WHITESPACE: "blanks", "::": "double colons", "||": "double bars"}
QUOTES = "\"'"
LINES, LAST_LINES = 2_000, 200
MOST_BEFORE = 60
MOST_AFTER = 10
COMMENTS = ("#", "%", "//", "--", "!", "*", "##")
DRAWN = re.compile(r"\+(-+\+)+|[|+]?[ :-]*-{2,}[ :-]*([|+][ :-]*-{2,}[ :-]*)+[|+]?")
SEP_LINE = re.compile(r'"?sep=(.)"?\s*')
CONSISTENT = 0.8

Record = list[str]


@dataclass(frozen=True)
class Layout:
    """A reader's facts that the layout tells, the file's own names of the columns, and what was seen, for the comment."""

    reader: Reader
    names: tuple[str, ...]
    seen: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class _Table:
    """Records under one separator: `records` by the line they begin in, how many fields most have, how many have that."""

    reader: Reader
    records: list[tuple[int, Record]]
    width: int
    share: float


def drawn_line(head: str) -> str:
    """A line of a table that is drawn for people to read: +---+---+ of mysql, |---|---| of Markdown; '' where none is."""
    return next((line.strip() for line in head.split("\n", MOST_BEFORE)[:MOST_BEFORE] if DRAWN.fullmatch(line.strip())), "")


def find_layout(head: str, tail: str, whole: bool, reader: Reader, stated: frozenset[str]) -> Layout:
    """The layout of a table in text, from its first and its last lines.

    `reader` holds what is known already (the encoding), `stated` names the facts that a person has said: they stay.
    """
    lines = head.split("\n")
    if not whole:
        lines = lines[:-1]  # the last one may be cut
    lines = lines[:LINES]
    seen: list[str] = []
    if "separator" not in stated and (match := SEP_LINE.fullmatch(lines[0].strip() if lines else "")):
        reader = replace(reader, separator=match[1])
        stated = stated | {"separator"}
    if "backslash" not in stated and re.search(r'\\"[^,;\t\n]', head):
        reader = replace(reader, backslash=True)
        seen.append("a backslash before quotes")
    table = _best_table(lines, reader, stated)
    table, before = _begin(table, lines, stated)
    seen += before
    layout = _header(table, stated)
    layout = _after(layout, table, tail.split("\n"), stated)
    return replace(layout, seen=(*seen, *layout.seen))


def _best_table(lines: Sequence[str], reader: Reader, stated: frozenset[str]) -> _Table:
    """Of all separators and quotes the one under which most records have the same number of fields, two or more."""
    separators = (reader.separator,) if "separator" in stated else SEPARATORS
    quotes = (reader.quote,) if "quote" in stated else tuple(QUOTES)
    tables = [_table(lines, replace(reader, separator=s, quote=q)) for s in separators for q in quotes if s != q]
    wide = _wide(tables)
    if not wide and "separator" not in stated:
        wide = _wide([_table(lines, replace(reader, separator=s, quote=q)) for s in RARE_SEPARATORS for q in quotes])
    if not wide and "separator" not in stated:
        blanks = _table(lines, replace(reader, separator=WHITESPACE))
        if blanks.width > 1 and blanks.share >= 0.95 and not any("," in line for line in lines[:50]):
            return blanks
    if not wide:
        return tables[0] if len(separators) == 1 else _table(lines, replace(reader, separator=","))
    return max(wide, key=lambda table: (-_before(table), round(table.share, 1), _is_quoted(table), min(table.width, 200)))


def _wide(tables: Sequence[_Table]) -> list[_Table]:
    return [table for table in tables if table.width > 1 and table.share >= CONSISTENT]


def _table(lines: Sequence[str], reader: Reader) -> _Table:
    records = list(parsing.records_of_lines(lines, reader))
    widths = Counter(len(record) for _, record in records if any(record))
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    return _Table(reader, records, width, count / max(widths.total(), 1))


def _before(table: _Table) -> int:
    """How many lines would stand before the table: under the right separator its header is as wide as its rows."""
    filled = [record for _, record in table.records[:MOST_BEFORE] if any(record)]
    return next((at for at, record in enumerate(filled) if _is_in_table(record, table)), MOST_BEFORE)


def _is_quoted(table: _Table) -> int:
    """1 where quotes stand about fields under this separator, -1 where they are left over within them."""
    left = any(field.strip()[:1] in QUOTES for _, record in table.records[:200] for field in record)
    return -1 if left else 0


def _begin(table: _Table, lines: Sequence[str], stated: frozenset[str]) -> tuple[_Table, list[str]]:
    """Where the table begins: behind comments, titles and blank lines."""
    if {"skip_lines", "comment"} & stated:
        skipped = table.reader.skip_lines
        return replace(table, records=[(at, record) for at, record in table.records if at >= skipped]), []
    first = next((at for at, record in table.records[:MOST_BEFORE] if _is_in_table(record, table)), 0)
    before = [line for line in lines[:first] if line.strip()]
    comment = _comment_mark(before, lines[first])
    everywhere = comment and not any(line.startswith(comment) for line in _table_lines(table, lines))
    if comment and (everywhere or len(before) == first):
        reader = replace(table.reader, comment=comment, skip_lines=0 if len(before) == first else first)
        kept = [(at, r) for at, r in table.records if at >= first and not (r and r[0].startswith(comment))]
        return replace(table, reader=reader, records=kept), [f"{len(before)} comment lines before the header"]
    if not first:
        return table, []
    reader = replace(table.reader, skip_lines=first)
    kept = [(at, record) for at, record in table.records if at >= first]
    what = f"{first} lines before the header" if before else f"{first} blank lines before the header"
    return replace(table, reader=reader, records=kept), [what]


def _comment_mark(before: Sequence[str], header: str) -> str | None:
    """What the lines before a header begin with, and the header does not: it may be `#name` below lines of `##`."""
    marks = (mark for mark in COMMENTS if all(line.startswith(mark) for line in before))
    return next((mark for mark in marks if before and not header.startswith(mark)), None)


def _table_lines(table: _Table, lines: Sequence[str]) -> list[str]:
    return [lines[at] for at, record in table.records if len(record) == table.width]


def _is_in_table(record: Record, table: _Table) -> bool:
    """Whether a record may be the header or the first row: as wide as the others, or one narrower with all names there."""
    if len(record) == table.width:
        return table.width == 1 or sum(map(bool, map(str.strip, record))) > 1
    return table.width > 2 and len(record) == table.width - 1 and all(map(str.strip, record))


def _header(table: _Table, stated: frozenset[str]) -> Layout:
    reader, rows = table.reader, [record for _, record in table.records if any(field.strip() for field in record)]
    if not rows:
        return Layout(reader, ())
    count = reader.header if "header" in stated else _header_lines(rows, table.width)
    seen = []
    if count == 0:
        numbered = reader.names if "names" in stated else tuple(f"column_{i}" for i in range(1, table.width + 1))
        return Layout(replace(reader, header=0, names=numbered), numbered, ("no header: the columns are numbered",))
    width, names = len(rows[0]), parsing.joined_names(rows[:count], replace(reader, unnamed=None))
    if width == table.width - 1 and len(rows) > count:
        last = all(not record[-1].strip() for record in rows[count:] if len(record) == table.width)
        reader = replace(reader, unnamed="last" if last else "first")
        names = [*names, ""] if last else ["", *names]
        seen.append("a separator at the end of each line" if last else "row names that the header does not name")
    if count > 1:
        reader = replace(reader, header=count)
        seen.append(f"{count} header lines")
    return Layout(reader, tuple(names), tuple(seen))


def _header_lines(rows: Sequence[Record], width: int) -> int:
    """0, 1 or 2: a line of names is one whose fields are unlike the values below them."""
    body = [row for row in rows[2:500] if len(row) == width]
    if not body:
        return 0 if len(rows) == 1 and any(looks_typed([field]) for field in rows[0]) else 1
    if len(rows[0]) == width and _votes(rows[0], [rows[1], *body] if len(rows[1]) == width else body) < 0:
        return 0
    columns = list(zip(*body, strict=True))
    typed = [at for at, column in enumerate(columns) if looks_typed([f for f in column if f.strip()])]
    second = rows[1]
    if len(second) != width or not typed:
        return 1
    words = [
        at
        for at in typed
        if second[at].strip() and second[at].strip() not in MISSING_WORDS and not looks_typed([second[at]])
    ]
    unnamed = any(not field.strip() for field in rows[0])
    return 2 if len(words) >= max(1 if unnamed else 2, 0.6 * len([at for at in typed if second[at].strip()])) else 1


def _votes(first: Record, body: Sequence[Record]) -> int:
    """Positive where a line names the columns below it, negative where it is a row like them."""
    votes, years = 0, _are_years(first)
    for name, column in zip(first, zip(*body, strict=True), strict=True):
        values = [value.strip() for value in column if value.strip() and value.strip() not in MISSING_WORDS]
        if not values or not name.strip():
            continue
        if looks_typed(values):
            votes += 0 if years else -1 if looks_typed([name.strip()]) or name.strip() in MISSING_WORDS else 1
        elif len(set(values)) * 2 <= len(values):
            votes += -1 if name.strip() in values else 1
    return votes


def _are_years(names: Record) -> bool:
    """Whether the numbers among some names follow each other, as the years of a wide table do."""
    numbers = [int(name) for name in map(str.strip, names) if re.fullmatch(r"[12]\d{3}", name)]
    return len(numbers) > 2 and all(later - one == 1 for one, later in pairwise(numbers))


def _after(layout: Layout, table: _Table, last: Sequence[str], stated: frozenset[str]) -> Layout:
    """What stands behind the table: a total, a source, rows of nothing."""
    reader, seen = layout.reader, list(layout.seen)
    ending = [record for _, record in parsing.records_of_lines(last[-LAST_LINES:], reader)]
    everything = [*(record for _, record in table.records), *ending]
    if "blank_rows" not in stated and any(len(r) > 1 and not any(f.strip() for f in r) for r in everything):
        reader = replace(reader, blank_rows="skip")
        seen.append("rows in which nothing stands")
    filled = [record for record in ending if any(field.strip() for field in record)]
    if "footer" not in stated and (footer := _footer(filled, table.width)):
        reader = replace(reader, footer=footer)
        seen.append("lines behind the table")
    if "strip" not in stated and (_has_blanks(layout.names) or any(map(_has_blanks, everything)) or _has_gaps(table, last)):
        reader = replace(reader, strip=True)
        seen.append("blanks about names or values")
    names = tuple(name.strip() for name in layout.names) if reader.strip else layout.names
    return replace(layout, reader=reader, names=names, seen=tuple(seen))


def _has_blanks(fields: Sequence[str]) -> bool:
    return any(field != field.strip() for field in fields)


def _has_gaps(table: _Table, lines: Sequence[str]) -> bool:
    separator = table.reader.separator
    return (
        separator not in (WHITESPACE, "\t")
        and any(f"{separator} " in line for line in lines)
        and any(len(line.split(f"{separator} ")) == table.width for line in lines)
    )


def _footer(records: Sequence[Record], width: int) -> str | None:
    """A regular expression of the last lines that are no rows: of another width, or a sum. None where there are none."""
    beginnings: list[str] = []
    for record in reversed(records[-MOST_AFTER:]):
        text = record[0].strip()
        is_total = re.match(r"(?i)(grand )?(total|sum|subtotal|average|mean)\b", text) and sum(map(bool, record)) < width
        word = re.match(r"[^\W\d_]+", text)
        if not (is_total or (len(record) != width and len(record) < width and word)):
            break
        beginnings.append(re.escape(word[0]) if word else "")
    kept = sorted(set(filter(None, beginnings)))
    return rf"\W*(?:{'|'.join(kept)})\b" if kept and len(beginnings) < len(records) else None

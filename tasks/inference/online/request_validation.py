"""The careful way in: a JSON body through the parser and the audit that files go through, with reasons in words.

It accepts what a file of the same rows would have accepted, and names for every refused row the field and what is
allowed. It costs milliseconds; the fast way spares it for rows that are good.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import polars as pl

from schemas.contract import Contract
from schemas.errors import Refused
from tasks import contracts, parsing
from tasks.inference.online import json_schema
from tasks.inference.online.request_decoding import compiled, predictable
from tasks.parsing import ROW, UNTYPED, Conversion, from_text

MOST_PROBLEMS = 20
SHOWN = 80


@dataclass(frozen=True)
class Problem:
    """Why a body is refused: which row (from 0), which field (None: the row or body as a whole), and what is allowed."""

    message: str
    row: int | None = None
    field: str | None = None
    allowed: dict[str, Any] | None = None


@dataclass(frozen=True)
class ValidatedRequest:
    """Rows as the contract types them, in order, or the problems that they have."""

    frame: pl.DataFrame | None
    problems: tuple[Problem, ...] = ()
    single: bool = True


class _Refusal(Exception):
    def __init__(self, *problems: Problem) -> None:
        self.problems = problems


class _NoNumber(str):
    __slots__ = ()


class RequestValidator:
    """Judges bodies of one contract; `wanted` columns may not be left out.

    Raises UsageError for a contract that cannot be compiled.
    """

    def __init__(self, contract: type[Contract], wanted: Collection[str] = ()) -> None:
        self._columns = predictable(contract)
        self._outcomes = set(contract.known("outcome"))
        self._schemas = json_schema.json_properties(contract)
        self._required = json_schema.required_fields(contract, wanted)
        self._checks = compiled(contract)
        self._words = {check.name: check.description for check in contract.to_schema().checks}
        conversions = {name: from_text(name, dtype) for name, dtype in self._columns.items()}
        self._conversions: dict[str, Conversion] = {
            name: convert for name, convert in conversions.items() if convert is not None
        }

    def validate(self, body: bytes, most: int) -> ValidatedRequest:
        """One row, or `{"rows": [...]}` of at most `most` rows."""
        try:
            rows, raws, single = _rows(body, most)
            _stop([problem for at, row in enumerate(rows) for problem in self._names(at, row)])
            frame = self._typed(raws)
            _stop([*self._untyped(frame), *self._broken(frame)])
        except _Refusal as refusal:
            return ValidatedRequest(None, refusal.problems[:MOST_PROBLEMS])
        except Refused as refused:
            return ValidatedRequest(None, (Problem(str(refused)),))
        return ValidatedRequest(frame.select(*self._columns), single=single)

    def _names(self, at: int, row: Any) -> Iterator[Problem]:
        if not isinstance(row, dict):
            yield Problem(f"a row is an object of the fields {', '.join(self._columns)}", at)
            return
        for name in row.keys() - self._columns.keys():
            yield self._unknown(at, name)
        for name in self._required:
            if name not in row:
                yield self._about(at, name, "is missing")
        for name, value in row.items():
            if name in self._columns and (odd := _odd(value)):
                yield self._about(at, name, odd)

    def _unknown(self, at: int, name: str) -> Problem:
        shown = name[:SHOWN].encode("ascii", "backslashreplace").decode()
        if name in self._outcomes:
            return Problem(f"{shown} is an outcome: it is known only afterwards; leave it out", at, shown)
        near = difflib.get_close_matches(name[:SHOWN], self._columns, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return Problem(f"{shown} is not a field of the contract{hint}", at, shown, {"fields": list(self._columns)})

    def _about(self, at: int, name: str, what: str) -> Problem:
        schema = self._schemas[name]
        return Problem(f"{name} {what}; allowed: {json_schema.in_words(schema)}", at, name, schema)

    def _typed(self, raws: Sequence[bytes]) -> pl.DataFrame:
        """The rows as the parser of JSON Lines types them."""
        lines = b"\n".join(raw.replace(b"\n", b" ").replace(b"\r", b" ") for raw in raws)
        frames = [frame for frame, _ in parsing.json_batches(iter([lines]), "the body", self._columns, self._conversions)]
        return pl.concat(frames)

    def _untyped(self, frame: pl.DataFrame) -> list[Problem]:
        untyped = frame.select(ROW, UNTYPED).explode(UNTYPED, empty_as_null=False).unnest(UNTYPED)
        return [
            self._about(row - 1, column, f"cannot be {text[:SHOWN]}")
            if column is not None
            else Problem(f"the row cannot be read: {_short(text)}", row - 1)
            for row, column, text in untyped.select(ROW, "column", "text").iter_rows()
        ]

    def _broken(self, frame: pl.DataFrame) -> list[Problem]:
        """Rules that rows break; a value that could not be typed has its problem already."""
        untyped = frame[UNTYPED].list.eval(pl.element().struct.field("column")).to_list()
        data = frame.select(*self._columns)
        broken = [
            self._rule(at, rule, data)
            for rule, at in self._failing(data)
            if not set(rule.shows) & set(untyped[at]) and None not in untyped[at]
        ]
        for check in self._checks.opaque:
            passed = contracts.run_opaque(check, data, "of the rows")
            broken += [self._rule(at, check, data) for at in range(data.height) if not passed[at]]
        return broken

    def _failing(self, data: pl.DataFrame, first: int = 0) -> Iterator[tuple[contracts.Rule, int]]:
        """Rules and the rows that break them; a rule that cannot be evaluated on a row counts as broken by it."""
        try:
            failing = list(self._checks.failing(data))
        except Refused:
            if data.height > 1:
                half = data.height // 2
                yield from self._failing(data[:half], first)
                yield from self._failing(data[half:], first + half)
                return
            failing = list(self._one_by_one(data))
        for rule, failed in failing:
            yield from ((rule, first + at) for at in failed.arg_true())

    def _one_by_one(self, data: pl.DataFrame) -> Iterator[tuple[contracts.Rule, pl.Series]]:
        for rule in self._checks.rules:
            try:
                yield from replace(self._checks, rules=(rule,)).failing(data)
            except Refused:
                yield rule, pl.Series([True])

    def _rule(self, at: int, rule: contracts.Rule | contracts.Opaque, data: pl.DataFrame) -> Problem:
        if rule.column is None:
            shown = ", ".join(f"{name}={_short(data[name][at])}" for name in rule.shows)
            words = (self._words.get(rule.check) or rule.check).strip()
            return Problem(f"{rule.check} fails for {shown}: {words}", at, ", ".join(rule.shows))
        value = data[rule.column][at]
        return self._about(at, rule.column, "must not be null" if value is None else f"cannot be {_short(value)}")


def _rows(body: bytes, most: int) -> tuple[list[Any], list[bytes], bool]:
    """The rows as Python values, for their names, and each one's own JSON text, for the parser; whether it is one."""
    document = _decoded(body)
    if isinstance(document, dict) and "rows" in document:
        rows = document["rows"]
        if set(document) != {"rows"} or not isinstance(rows, list) or not 0 < len(rows) <= most:
            allowed = {"type": "array", "minItems": 1, "maxItems": most}
            raise _Refusal(Problem(f"rows is a list of 1 to {most} rows and stands alone", field="rows", allowed=allowed))
        return rows, [bytes(raw) for raw in _raws(body)], False
    return [document], [body], True


def _decoded(body: bytes) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        decoded = dict(pairs)
        if len(decoded) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise _Refusal(Problem(f"{twice[:SHOWN]} is given twice", field=twice[:SHOWN]))
        return decoded

    try:
        text = body.decode("utf-8")
        return json.loads(text, parse_int=float, parse_float=float, parse_constant=_NoNumber, object_pairs_hook=once)
    except RecursionError:
        raise _Refusal(Problem("the body is nested too deeply: a row is a flat object")) from None
    except (ValueError, OverflowError) as error:
        raise _Refusal(Problem(f"the body is no JSON: {str(error)[:200]}")) from None


class _Raws(msgspec.Struct):
    rows: list[msgspec.Raw]


def _raws(body: bytes) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(body, type=_Raws).rows
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _Refusal(Problem(f"the body is no JSON: {str(error)[:200]}")) from None


def _odd(value: Any) -> str | None:
    """Why a value is none that any contract takes."""
    if isinstance(value, _NoNumber):
        return f"cannot be {value}, which is no number"
    if isinstance(value, (dict, list)):
        return f"cannot be an {'object' if isinstance(value, dict) else 'array'}"
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half a character (a lone surrogate)"
    return None


def _stop(problems: list[Problem]) -> None:
    if problems:
        raise _Refusal(*problems)


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."

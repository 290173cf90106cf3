"""The fast way in: a JSON body to rows of the contract, accepted only where the audit would accept them.

It never says no: what it does not accept (None) is looked at again by the careful way, which is the audit itself and
can say why. Types are checked while the JSON is decoded; the audit's own rules run compiled for one row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import msgspec
import polars as pl

from schemas.contract import Contract
from schemas.row_key import value_columns
from tasks import contracts
from tasks.inference.online.expression_compiler import Expressions
from tasks.inference.online.expression_operators import INTEGERS, Declined, Evaluate, NotInVocabulary, is_int

Values = list[Any]

# What the parser of files takes for a moment and for a day.
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
_NAIVE = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}[T ]{_CLOCK}", re.ASCII)
_ZONED = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}[T ]{_CLOCK}(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)", re.ASCII)
_EPOCH, _EPOCH_NAIVE, _EPOCH_DAY = datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1), date(1970, 1, 1).toordinal()  # noqa: DTZ001
_MICROSECOND = timedelta(microseconds=1)
# Text that casts to -0.0 where the decoder makes it 0.
_MINUS_ZERO = re.compile(rb"-0(?![.\d])")


def predictable(contract: type[Contract]) -> dict[str, pl.DataType]:
    """Columns known at the moment of a prediction, with their types: what a caller may send.

    Args:
        contract: The contract.

    Returns:
        Types, by column.
    """
    dtypes = contract.dtypes()
    return dict(pl.Schema({name: dtypes[name] for name in value_columns(contract)}))


def compiled(contract: type[Contract]) -> contracts.Compiled:
    """The contract's checks of single rows that read nothing but what is known at the moment of a prediction."""
    whole = contracts.compile_contract(contract)
    columns = predictable(contract)
    return contracts.Compiled(
        contract=contract,
        types=columns,
        rules=tuple(rule for rule in whole.rules if set(rule.passes.meta.root_names()) <= set(columns)),
        opaque=tuple(check for check in whole.opaque if check.by_row and set(check.shows) <= set(columns)),
        unique=(),
        first_stays=whole.first_stays,
    )


class Reader:
    """Reads bodies of one contract; `wanted` columns may not be left out.

    Raises NotInVocabulary where the contract needs the careful way for every row.
    """

    def __init__(self, contract: type[Contract], wanted: Collection[str] = ()) -> None:
        self.columns = predictable(contract)
        specs = contract.to_schema().columns
        nullable = {name: specs[name].nullable for name in self.columns}
        self._one, self._many = _decoders(self.columns, nullable, wanted)
        self._texts = [at for at, dtype in enumerate(self.columns.values()) if json_type(dtype) is str]
        self._colons = [1 + name.count(":") for name in self.columns]
        self._convert = [(at, convert) for at, dtype in enumerate(self.columns.values()) if (convert := _conversion(dtype))]
        self._rules = self._compiled_rules(contract)

    def _compiled_rules(self, contract: type[Contract]) -> list[Evaluate]:
        checks = compiled(contract)
        if checks.opaque:
            raise NotInVocabulary(f"the check {checks.opaque[0].check}")
        expressions = Expressions(self.columns)
        return [expressions.compile(rule.passes).evaluate for rule in checks.rules]

    def one(self, body: bytes) -> Values | None:
        """The physical values of the one row that a body holds, or None where the careful way has to look."""
        try:
            values = list(msgspec.structs.astuple(self._one.decode(body)))
            return self._accepted(values) if self._keys_differ(body, [values], 0) else None
        except (msgspec.MsgspecError, UnicodeError, RecursionError, Declined):
            return None

    def many(self, body: bytes, most: int) -> list[Values] | None:
        """The same for `{"rows": [...]}`, of at most `most` rows."""
        try:
            decoded = self._many.decode(body).rows
            if not 0 < len(decoded) <= most:
                return None
            rows = [list(msgspec.structs.astuple(row)) for row in decoded]
            if not self._keys_differ(body, rows, 1):
                return None
            accepted = [self._accepted(values) for values in rows]
        except (msgspec.MsgspecError, UnicodeError, RecursionError, Declined):
            return None
        kept = [values for values in accepted if values is not None]
        return kept if len(kept) == len(accepted) else None

    def _keys_differ(self, body: bytes, rows: list[Values], around: int) -> bool:
        """No object names a key twice, which the decoder would not notice: every colon is accounted for."""
        expected = around
        for values in rows:
            for colons, value in zip(self._colons, values, strict=True):
                if value is not msgspec.UNSET:
                    expected += colons
            for at in self._texts:
                if type(values[at]) is str:
                    expected += values[at].count(":")
        return body.count(b":") == expected and not (b"-0" in body and _MINUS_ZERO.search(body))

    def _accepted(self, values: Values) -> Values | None:
        for at, convert in self._convert:
            if values[at] is not None and values[at] is not msgspec.UNSET:
                values[at] = convert(values[at])
        row = [None if value is msgspec.UNSET else value for value in values]
        for passes in self._rules:
            if passes(row) is not True:
                return None
        return row


def json_type(dtype: pl.DataType) -> type:
    """The JSON type a value is written in. Raises NotInVocabulary for types that only the parser of files knows."""
    if is_int(dtype):
        return int
    if dtype in (pl.Float64, pl.Boolean):
        return float if dtype == pl.Float64 else bool
    if dtype in (pl.String, pl.Date, pl.Enum) or (isinstance(dtype, pl.Datetime) and dtype.time_unit == "us"):
        return str
    raise NotInVocabulary(f"values of {dtype}")


def _decoders(columns: Mapping[str, pl.DataType], nullable: Mapping[str, bool], wanted: Collection[str]) -> tuple[Any, Any]:
    fields: list[Any] = []
    for at, (name, dtype) in enumerate(columns.items()):
        kind: Any = json_type(dtype)
        if is_int(dtype):
            low, high = INTEGERS[dtype.base_type()]
            kind = Annotated[int, msgspec.Meta(ge=low, le=high)]
        if nullable[name] and name in wanted:
            fields.append((f"c{at}", kind | None, msgspec.field(name=name)))
        elif nullable[name]:
            fields.append((f"c{at}", kind | None | msgspec.UnsetType, msgspec.field(name=name, default=msgspec.UNSET)))
        else:
            fields.append((f"c{at}", kind, msgspec.field(name=name)))
    row = msgspec.defstruct("Row", fields, kw_only=True, forbid_unknown_fields=True)
    rows = msgspec.defstruct("Rows", [("rows", list[row])], forbid_unknown_fields=True)  # type: ignore[valid-type]
    return msgspec.json.Decoder(row), msgspec.json.Decoder(rows)


def _conversion(dtype: pl.DataType) -> Callable[[str], Any] | None:
    """From JSON text to the physical value; Declined where the parser of files has to look."""
    if dtype == pl.Date:
        return _day
    if isinstance(dtype, pl.Datetime):
        return _zoned if dtype.time_zone else _naive
    if isinstance(dtype, pl.Enum):
        return _member(frozenset(dtype.categories))
    return None


def _member(categories: frozenset[str]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text in categories:
            return text
        raise Declined

    return convert


def _day(text: str) -> int:
    if _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text).toordinal() - _EPOCH_DAY
        except ValueError:
            pass
    raise Declined


def _zoned(text: str) -> int:
    if _ZONED.fullmatch(text):
        try:
            return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
        except (ValueError, OverflowError):
            pass
    raise Declined


def _naive(text: str) -> int:
    if _NAIVE.fullmatch(text):
        try:
            return (datetime.fromisoformat(text) - _EPOCH_NAIVE) // _MICROSECOND
        except (ValueError, OverflowError):
            pass
    raise Declined

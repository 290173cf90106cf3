"""A contract made executable: its Pandera checks as polars expressions. The one module where Pandera's engine runs.

Pandera's verdict is the law. Each check of the contract's schema is handed a stand-in for the lazy frame, which keeps the
expression that the check selects: the very one that Pandera would evaluate. An expression that judges each row by itself
becomes a rule, and rules are fused; a check that gives none, or one over many rows, stays opaque and runs through Pandera.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandera.polars as pa
import polars as pl
from pandera.api.function_dispatch import Dispatcher
from pandera.api.polars.types import PolarsData
from pandera.backends.polars.register import register_polars_backends
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaError, SchemaErrors

from schemas.contract import Contract, polars_dtype
from schemas.errors import PenstockError, Refused, UsageError, first_line
from tasks.contracts.uniqueness import Flags

ROWS = 2  # of a frame on which an expression shows what it gives
QUOTED = re.compile(r"""(?<=: )\[.*\]|(?<!column )("[^"]*"|'[^']*')|(?<=parse )`[^`]*`""")  # values, in errors about rows


@dataclass(frozen=True)
class Rule:
    """A check of single rows: `passes` is true or false for every row, never null."""

    column: str | None
    check: str
    passes: pl.Expr
    shows: tuple[str, ...]


@dataclass(frozen=True)
class Opaque:
    """A check that only Pandera can run: row by row, or (aggregates, windows, own code) over the whole source at once."""

    column: str | None
    check: str
    pandera: Any
    by_row: bool
    shows: tuple[str, ...]


@dataclass(frozen=True)
class Unique:
    """Columns whose values together may occur once."""

    column: str | None
    check: str
    key: tuple[str, ...]


@dataclass(frozen=True)
class Compiled:
    """A contract made executable for sources that have the columns of `types`."""

    contract: type[Contract]
    types: Mapping[str, pl.DataType]
    rules: tuple[Rule, ...]
    opaque: tuple[Opaque, ...]
    unique: tuple[Unique, ...]
    first_stays: bool

    def passing(self, rows: pl.DataFrame) -> pl.Series:
        """Whether each row passes all rules. Raises Refused where one cannot be evaluated."""
        fused = pl.all_horizontal(rule.passes for rule in self.rules) if self.rules else pl.lit(True)
        return _evaluated(rows, fused, self.contract.__name__)

    def failing(self, rows: pl.DataFrame) -> Iterator[tuple[Rule, pl.Series]]:
        """The rules that some rows fail, and which rows."""
        if not self.rules or not rows.height:
            return
        with guarded(f"contract {self.contract.__name__}: a check"):
            passed = rows.select(rule.passes.alias(str(at)) for at, rule in enumerate(self.rules))
        for rule, series in zip(self.rules, passed.get_columns(), strict=True):
            if not series.all():
                yield rule, ~series


def compile_contract(contract: type[Contract], columns: Sequence[str] | None = None) -> Compiled:
    """Compile a contract for sources with these columns (default: all of the contract's).

    Args:
        contract: The contract.
        columns: The columns that the source has; all of the contract's where it is left out.

    Returns:
        Rules as polars expressions, checks that only Pandera can run, and the key to compare.

    Raises:
        UsageError: The contract asks for what an audit does not do, or a check fits no column's type.
        Refused: A check reads a column that the source lacks.
    """
    schema = contract.to_schema()
    _check_supported(contract, schema)
    types = {n: polars_dtype(s) for n, s in schema.columns.items() if columns is None or n in columns}
    rules: list[Rule] = []
    opaque: list[Opaque] = []
    unique: list[Unique] = []
    for name in types:
        spec = schema.columns[name]
        rules += _nullability(name, spec)
        unique += [Unique(name, "field_uniqueness", (name,))] if spec.unique else []
    checks = [(name, check) for name in types for check in schema.columns[name].checks]
    for column, check in [*checks, *((None, check) for check in schema.checks)]:
        if check.raise_warning:
            continue  # advice, by Pandera's own word: it rejects nothing
        rule = _compiled(contract, column, check, types)
        if isinstance(rule, Rule):
            rules.append(rule)
        else:
            opaque.append(rule)
    if key := tuple(name for name in schema.unique or () if name in types):
        unique.append(Unique(None, "multiple_fields_uniqueness", key))
    return Compiled(contract, types, tuple(rules), tuple(opaque), tuple(unique), contract.first_stays())


def without_outcomes(contract: type[Contract]) -> type[Contract]:
    """The contract of rows whose outcome has not come yet: without outcome columns and the checks that may read them.

    Args:
        contract: The contract.

    Returns:
        A contract of its own; the given one stays as it is.
    """
    outcomes = set(contract.known("outcome"))
    if not outcomes:
        return contract
    compiled = compile_contract(contract)
    readable = {rule.check for rule in compiled.rules if rule.column is None and not set(rule.shows) & outcomes}
    schema = contract.to_schema()
    columns = {name: spec for name, spec in schema.columns.items() if name not in outcomes}
    checks = [check for check in schema.checks if str(check.error or check.name or check) in readable]
    unique = [name for name in schema.unique or () if name not in outcomes]

    class Known(contract):  # type: ignore[valid-type,misc]
        """Made of another contract."""

        @classmethod
        def to_schema(cls) -> pa.DataFrameSchema:
            return pa.DataFrameSchema(columns, checks=checks, unique=unique or None, strict=True, name=contract.__name__)

    Known.__name__ = contract.__name__
    return Known


def run_opaque(check: Opaque, rows: pl.DataFrame, contract: str) -> Flags:
    """Which rows a check passes, as Pandera runs it. A verdict on the whole frame counts for each row.

    Args:
        check: The check.
        rows: Typed rows.
        contract: The contract's name, for the message.

    Returns:
        One flag a row, true where it passes.

    Raises:
        Refused: The check raises an error.
    """
    with guarded(f"contract {contract}: check {check.check}"):
        result = check.pandera(rows.lazy(), check.column)
        passed: Flags = result.check_output.collect().to_series().to_numpy()
    if len(passed) == 1:
        return np.full(rows.height, bool(passed[0]))
    if len(passed) != rows.height:
        raise Refused(
            f"contract {contract}: check {check.check} gives {len(passed)} verdicts on {rows.height} rows; mend it"
        )
    return passed


def check_types(contract: type[Contract], rows: pl.DataFrame) -> None:
    """Let Pandera itself confirm names and types. Raises Refused."""
    try:
        with config_context(validation_depth=ValidationDepth.SCHEMA_ONLY):
            contract.to_schema().validate(rows.clear().lazy(), lazy=True)
    except (SchemaError, SchemaErrors) as error:
        errors = error.schema_errors if isinstance(error, SchemaErrors) else [error]
        messages = "; ".join(first_line(each) for each in errors)
        raise Refused(f"contract {contract.__name__}: Pandera refuses the columns ({messages})") from None


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn whatever an expression raises on a source's rows, panics of polars included, into a refusal of the source."""
    try:
        yield
    except PenstockError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        raise Refused(f"{what} cannot be evaluated ({_without_values(error)})") from None


class _Recorder:
    """Stands in for the lazy frame of a check and keeps what the check selects; anything else it does not know."""

    def __init__(self) -> None:
        self.selected: list[Any] = []

    def select(self, *exprs: Any, **named: Any) -> _Recorder:
        if self.selected:
            raise AttributeError("select")
        self.selected = [*exprs, *named.values()]
        return self


def _compiled(contract: type[Contract], column: str | None, check: Any, types: Mapping[str, pl.DataType]) -> Rule | Opaque:
    name = str(check.error or check.name or check)
    recorded = None if check.element_wise else _recorded(check, column)
    if recorded is None:
        return Opaque(column, name, check, bool(check.element_wise), (column,) if column else ())
    shows = (column,) if column else tuple(dict.fromkeys(recorded.meta.root_names()))
    if absent := [root for root in recorded.meta.root_names() if root not in types]:
        raise Refused(f"contract {contract.__name__}: check {name} reads {', '.join(absent)}, which the source lacks")
    if not _judges_rows(recorded, types, f"contract {contract.__name__}: check {name}"):
        return Opaque(column, name, check, False, shows)
    return Rule(column, name, recorded.fill_null(bool(check.ignore_na)), shows)


def _recorded(check: Any, column: str | None) -> pl.Expr | None:
    recorder = _Recorder()
    try:
        result = partial(_function_of(check), **check._check_kwargs)(PolarsData(recorder, column or "*"))  # type: ignore[arg-type]
    except Exception:  # own code that wants more than a select: Pandera runs it
        return None
    if result is not recorder or not recorder.selected:
        return None
    if len(recorder.selected) == 1 and isinstance(recorder.selected[0], pl.Expr):
        only: pl.Expr = recorder.selected[0]
        if not only.meta.has_multiple_outputs():
            return only
    return pl.all_horizontal(*recorder.selected)


def _function_of(check: Any) -> Any:
    """What a check calls. A schema keeps a copy of each built-in check; one made before the polars backend was registered
    holds a copy that does not know polars, so the registry's own is taken."""
    function = check._check_fn
    return pa.Check.CHECK_FUNCTION_REGISTRY[str(function)] if isinstance(function, Dispatcher) else function


def _judges_rows(expression: pl.Expr, types: Mapping[str, pl.DataType], what: str) -> bool:
    """Whether the value for a row depends on that row alone: then polars takes a slice before it evaluates.

    Raises UsageError for an expression that these types do not allow.
    """
    if not expression.meta.root_names():
        return False
    plan = pl.LazyFrame(schema={root: types[root] for root in expression.meta.root_names()}).select(
        expression.alias("passes")
    )
    try:
        dtype = plan.collect_schema()["passes"]
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{what} does not fit the columns' types ({first_line(error)})") from None
    return dtype == pl.Boolean and not plan.slice(0, ROWS).explain().startswith("SLICE")


def _nullability(name: str, spec: Any) -> list[Rule]:
    if spec.nullable:
        return []
    present = pl.col(name).is_not_null()
    if polars_dtype(spec).is_float():
        present &= pl.col(name).is_not_nan().fill_null(True)
    return [Rule(name, "not_nullable", present, (name,))]


def _check_supported(contract: type[Contract], schema: pa.DataFrameSchema) -> None:
    columns = schema.columns.items()
    unsupported = {
        "Config.strict other than True": schema.strict is not True,
        "Config.coerce": schema.coerce or any(spec.coerce for _, spec in columns),
        "a default": any(spec.default is not None for _, spec in columns),
        "a regex column": any(spec.regex for _, spec in columns),
        "a column without a type": any(spec.dtype is None for _, spec in columns),
        "a parser": bool(schema.parsers) or any(spec.parsers for _, spec in columns),
        "Config.drop_invalid_rows": schema.drop_invalid_rows,
        "Config.add_missing_columns": schema.add_missing_columns,
        "more than one joint key": not all(isinstance(name, str) for name in schema.unique or ()),
    }
    if asked := [what for what, present in unsupported.items() if present]:
        raise UsageError(
            f"contract {contract.__name__} has {', '.join(asked)}: an audit neither changes nor drops what it judges"
        )


def _evaluated(rows: pl.DataFrame, expression: pl.Expr, contract: str) -> pl.Series:
    with guarded(f"contract {contract}: a check"):
        passed = rows.select(expression.alias("passes")).to_series()
    return passed if len(passed) == rows.height else pl.repeat(passed.item(), rows.height, eager=True)


def _without_values(error: BaseException) -> str:
    """The error's first line without what it quotes, names of columns apart: a refusal is shown where no row may be."""
    return first_line(QUOTED.sub("...", str(error))) or type(error).__name__


register_polars_backends()

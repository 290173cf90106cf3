"""The base contract: a Pandera model whose float columns are finite and never NaN, with keys and times of knowledge.

A column says when it is known: `at_prediction` (the default), `outcome`, or `confirm` where a person has yet to say which
of the two; until then it counts as known with the outcome. Null means missing and is allowed where the column is
`nullable`; NaN and infinity are never values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from types import CodeType
from typing import Any, Literal

import pandera.polars as pa
import polars as pl
from pandera import extensions
from pandera.api.polars.types import PolarsData
from pandera.backends.polars.register import register_polars_backends

from schemas.digests import sha256, sorted_json

Known = Literal["at_prediction", "outcome", "confirm"]

# Before any schema is made: one that is made earlier keeps a copy of the built-in checks that does not know polars.
register_polars_backends()


@extensions.register_check_method(statistics=[])  # type: ignore[untyped-decorator]
def finite(data: PolarsData) -> pl.LazyFrame:
    """No value is infinite; NaN is the business of `no_nan`."""
    column = pl.col(data.key)
    return data.lazyframe.select(column.is_infinite().not_())


@extensions.register_check_method(statistics=[])  # type: ignore[untyped-decorator]
def no_nan(data: PolarsData) -> pl.LazyFrame:
    """No value is NaN; a missing value is null."""
    return data.lazyframe.select(pl.col(data.key).is_not_nan())


def column(*, known: Known | None = None, private: bool | Literal["hashed"] = False, **checks: Any) -> Any:
    """A Pandera field that also says when its value is known and whether it may appear in receipts.

    A column whose time of knowledge nobody states is known `at_prediction`. Stated, `known="at_prediction"` is a person's
    word: no promotion stops on a column that tells the outcome suspiciously well. `confirm` asks for that word.
    A private value is left out of them, or `hashed`: a pseudonym, by which the same value is recognised again.
    `checks` go to `pandera.Field` as they are: `ge`, `isin`, `str_matches`, `nullable`, `dtype_kwargs`, ...
    """
    stated = {"stated": True} if known else {}
    return pa.Field(metadata={"known": known or "at_prediction", "private": private, **stated}, **checks)


def rule(condition: Any) -> Any:
    """Make a class method that returns a polars expression over the row's columns a check of every row.

    True or null passes. The docstring is what a rejected row's owner reads:

        @rule
        @classmethod
        def leaves_for_elsewhere(cls) -> pl.Expr:
            \"\"\"No flight goes to where it starts.\"\"\"
            return pl.col("origin") != pl.col("dest")
    """
    expression: Callable[[type[Contract]], pl.Expr] = condition.__func__

    def check(cls: type[Contract], data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(expression(cls))

    check.__name__ = expression.__name__
    check.expression = expression  # type: ignore[attr-defined]
    return pa.dataframe_check(description=expression.__doc__)(check)


class Contract(pa.DataFrameModel):
    """Derive one class per input; list the key columns in `Config.unique`."""

    class Config:
        strict = True
        coerce = False

    @classmethod
    def to_schema(cls) -> pa.DataFrameSchema:
        """The Pandera schema, with `finite` and `no_nan` on every float column."""
        schema: pa.DataFrameSchema = super().to_schema()
        for spec in schema.columns.values():
            names = {check.name for check in spec.checks}
            if _is_float(spec) and not names & {"finite", "no_nan"}:
                spec.checks = [*spec.checks, pa.Check.finite(), pa.Check.no_nan()]
        return schema

    @classmethod
    def key(cls) -> tuple[str, ...]:
        """The key columns."""
        unique = cls.to_schema().unique
        return tuple(unique or ())

    @classmethod
    def first_stays(cls) -> bool:
        """Whether the first row of a repeated key stays, else all go: `Config.metadata = {"first_stays": True}`."""
        metadata = cls.__config__.metadata if cls.__config__ else None
        return bool((metadata or {}).get("first_stays", False))

    @classmethod
    def known(cls, when: Known) -> tuple[str, ...]:
        """Names of the columns known at that moment, in contract order; `outcome` has those to `confirm` among them."""
        moments = ("outcome", "confirm") if when == "outcome" else (when,)
        columns = cls.to_schema().columns.items()
        return tuple(name for name, spec in columns if (spec.metadata or {}).get("known", "at_prediction") in moments)

    @classmethod
    def stated(cls) -> frozenset[str]:
        """Names of the columns of which a person has said that they are known at the prediction."""
        columns, known = cls.to_schema().columns.items(), set(cls.known("at_prediction"))
        return frozenset(name for name, spec in columns if name in known and (spec.metadata or {}).get("stated"))

    @classmethod
    def private(cls) -> frozenset[str]:
        """Names of the columns whose values may not appear in receipts."""
        columns = cls.to_schema().columns.items()
        return frozenset(name for name, spec in columns if (spec.metadata or {}).get("private"))

    @classmethod
    def hashed(cls) -> frozenset[str]:
        """Names of those private columns whose hash may appear."""
        columns = cls.to_schema().columns.items()
        return frozenset(name for name, spec in columns if (spec.metadata or {}).get("private") == "hashed")

    @classmethod
    def dtypes(cls) -> dict[str, pl.DataType]:
        """Polars data type of each column, in contract order."""
        return {name: polars_dtype(spec) for name, spec in cls.to_schema().columns.items()}

    @classmethod
    def version(cls) -> str:
        """Content hash of the contract: the same rules give the same version, whatever they are called."""
        return version_of(describe(cls))


def confirmed_features(contract: type[Contract], features: Mapping[str, pl.Expr]) -> dict[str, pl.Expr]:
    """The features that read no column which the contract has yet to `confirm`.

    Args:
        contract: The contract of the rows.
        features: Features by name.

    Returns:
        Those that may be used now. A column that is said to be known brings its features back.
    """
    open_ = set(contract.known("confirm"))
    return {name: feature for name, feature in features.items() if not open_ & set(feature.meta.root_names())}


def version_of(described: Any) -> str:
    """The version of a contract that is `described` like this."""
    return sha256(sorted_json(described).encode())[:16]


def polars_dtype(spec: Any) -> pl.DataType:
    """Data type of one Pandera column as polars knows it."""
    dtype: pl.DataType = spec.dtype.type
    return dtype


def _is_float(spec: Any) -> bool:
    return polars_dtype(spec) in (pl.Float32, pl.Float64)


def describe(contract: type[Contract]) -> dict[str, Any]:
    """The contract as plain data: what `version` hashes and what a comparison of two versions reads."""
    schema = contract.to_schema()
    columns = {
        name: {
            "dtype": str(polars_dtype(spec)),
            "nullable": spec.nullable,
            "required": spec.required,
            "unique": spec.unique,
            "known": (spec.metadata or {}).get("known", "at_prediction"),
            "checks": _demands(contract, spec.checks),
        }
        for name, spec in schema.columns.items()
    }
    rows = _demands(contract, schema.checks)
    return {"columns": columns, "unique": list(schema.unique or ()), "first_stays": contract.first_stays(), "rows": rows}


def _demands(contract: type[Contract], checks: Iterable[Any]) -> list[dict[str, Any]]:
    return sorted((_demand(contract, check) for check in checks), key=sorted_json)


def _demand(contract: type[Contract], check: Any) -> dict[str, Any]:
    """What a check demands: its name, its numbers, how it takes nulls, and what a check of the contract's own computes."""
    demand: dict[str, Any] = {"name": check.name, "statistics": json.loads(sorted_json(check.statistics or {}))}
    demand |= {word: True for word, said in (("nulls_fail", not check.ignore_na), ("warns", check.raise_warning)) if said}
    if not check.statistics and (own := getattr(contract, check.name or "", None)) is not None:
        demand["computes"] = _own_text(contract, own)
    return demand


def _own_text(contract: type[Contract], method: Any) -> str:
    if hasattr(method, "expression"):
        return str(method.expression(contract).meta.serialize(format="json"))
    return sha256(code_text(method.__code__).encode())


def code_text(code: CodeType) -> str:
    """Byte code, names and constants, the same in every process."""
    parts = [code.co_code.hex(), repr(code.co_names)]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            parts.append(code_text(constant))
        else:
            parts.append(repr(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant))
    return "".join(parts)

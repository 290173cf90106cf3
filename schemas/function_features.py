"""Features that Python code computes: functions importable by name, which a version records with their source's hash."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import polars as pl

from schemas.data_types import describe_dtype, restore_dtype
from schemas.digests import sha256
from schemas.errors import UsageError


class FunctionFeature(pl.Expr):
    """A polars expression that calls a Python function on columns; see `function_feature`."""

    function: Callable[[pl.DataFrame], pl.Series]
    columns: tuple[str, ...]
    dtype: pl.DataType

    def described(self) -> dict[str, Any]:
        """The function's name, the hash of its source, its columns and its type, as plain data."""
        return {
            "function": f"{self.function.__module__}:{self.function.__qualname__}",
            "sha256": source_digest(self.function),
            "columns": list(self.columns),
            "dtype": describe_dtype(self.dtype),
        }


def function_feature(
    function: Callable[[pl.DataFrame], pl.Series], *columns: str, dtype: pl.DataType | type[pl.DataType]
) -> FunctionFeature:
    """A feature that a Python function computes from some columns, row by row.

    A version that was trained with it needs the function as it was: it records its name and the hash of its source, without
    what it calls. Polars expressions need nothing of the kind and run faster: take a function only where they cannot say it.

    Args:
        function: Takes a frame of the columns, any number of rows, and returns a Series of as many values; each value may
            depend on its own row alone. A function of a module, so that it can be imported by name.
        columns: Names of the columns that it reads.
        dtype: Data type of what it returns.

    Returns:
        An expression for `UseCase.features`.

    Raises:
        UsageError: The function cannot be imported by its name, such as a lambda.
    """
    if "<" in function.__qualname__ or "." in function.__qualname__ or not columns:
        raise UsageError(f"a feature cannot be made of {function.__qualname__!r}: give a module's function, and its columns")

    def call(rows: pl.Series) -> pl.Series:
        return function(rows.struct.unnest())

    kept = pl.DataFrame(schema={"dtype": dtype}).schema["dtype"]
    expression = pl.struct(*columns).map_batches(call, return_dtype=kept, is_elementwise=True)
    feature = FunctionFeature._from_pyexpr(expression._pyexpr)
    assert isinstance(feature, FunctionFeature)
    feature.function, feature.columns, feature.dtype = function, columns, kept
    return feature


def restore_function(described: dict[str, Any], what: str) -> FunctionFeature:
    """The feature of what `FunctionFeature.described` gave.

    Args:
        described: Plain data.
        what: What needs it, for the error.

    Returns:
        The feature.

    Raises:
        UsageError: The function is gone, or its source is another by now.
    """
    module, _, name = described["function"].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise UsageError(f"{what} needs the function {described['function']}, which is gone: {MEND}") from None
    if source_digest(function) != described["sha256"]:
        raise UsageError(f"{what} needs the function {described['function']} as it was, and its code has changed: {MEND}")
    return function_feature(function, *described["columns"], dtype=restore_dtype(described["dtype"]))


MEND = "bring it back, or train and promote another version"


def source_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of a function's source text, without its indentation, in hexadecimal."""
    return sha256(textwrap.dedent(inspect.getsource(function)).encode())

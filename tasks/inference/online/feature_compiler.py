"""The features of one row: `tasks.features.design` compiled, with the same bits."""

from __future__ import annotations

from typing import Any

import polars as pl

from schemas.usecase import UseCase
from tasks.inference.online.expression_compiler import Expressions
from tasks.inference.online.expression_operators import Row
from tasks.inference.online.lookup_tables import Finder, Tables
from tasks.inference.online.request_decoding import predictable


class Designer:
    """The features of a use case for rows of its contract. Raises NotInVocabulary where only polars can make them."""

    def __init__(self, use_case: UseCase) -> None:
        schema = predictable(use_case.input(use_case.rows).contract)
        self._finders = []
        for lookup in use_case.lookups:
            finder = Finder(use_case, lookup, schema)
            self._finders.append(finder)
            schema |= finder.added
        expressions = Expressions(schema)
        nodes = {name: expressions.compile(expression) for name, expression in use_case.features.items()}
        self._evaluate = [node.evaluate for node in nodes.values()]
        self.dtypes: dict[str, pl.DataType] = {name: node.dtype for name, node in nodes.items()}

    def features(self, values: Row, tables: Tables) -> list[Any]:
        """Physical values of the features, in declared order. Raises Declined where polars has to make them."""
        row = list(values)
        for finder in self._finders:
            row += finder.find(row, tables)
        return [evaluate(row) for evaluate in self._evaluate]

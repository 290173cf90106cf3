"""The design of a model's version: how raw rows become what the model reads and how its scores become words.

Features, lookups, target, block and slices, and the columns and types that they read. It is stored with the version as plain
data, so that the version is scored by its own design whatever the use case's code says later. Contract rules are not part of
it (they judge rows on arrival, by the contract of that day), nor are the rows of looked-up tables (they lie in the lake).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Optional

import polars as pl

from schemas.contract import Contract, column
from schemas.data_types import describe_dtype, restore_dtype
from schemas.digests import canonical_json, sha256
from schemas.errors import UsageError
from schemas.expression_builder import NotInTree, from_tree
from schemas.expression_tree import to_tree
from schemas.function_features import MEND, FunctionFeature, restore_function
from schemas.reader import describe_reader
from schemas.usecase import Input, Lookup, Target, UseCase

FORMAT = 1
DOCUMENT = "design"
Design = dict[str, Any]
ColumnSpec = Mapping[str, Any]  # dtype, known, private, required


def describe_design(case: UseCase) -> Design:
    """The design of a use case as plain data.

    Args:
        case: The use case.

    Returns:
        A document that JSON can hold. An expression that it cannot carry stands in it as a hash: `restore_design` then takes
            the expression from the use case's code, where it is still the same.

    Raises:
        UsageError: A column has a type that cannot be kept.
    """
    inputs = dict.fromkeys([case.rows, case.label_input.name, *(lookup.input for lookup in case.lookups)])
    target = case.target
    return {
        "format_version": FORMAT,
        "rows": case.rows,
        "labels": case.labels,
        "inputs": {name: _describe_input(case.input(name)) for name in inputs},
        "lookups": [
            {"input": each.input, "on": {k: _describe(e) for k, e in each.on.items()}, "columns": dict(each.columns)}
            for each in case.lookups
        ],
        "features": [[name, _describe(expression)] for name, expression in case.features.items()],
        "target": {
            "kind": target.kind,
            "name": target.name,
            "value": _describe(target.value),
            "classes": list(target.classes),
            "threshold": target.threshold,
            "unit": target.unit,
        },
        "block": _describe(case.block) if case.block is not None else None,
        "slices": list(case.slices),
    }


def design_digest(design: Mapping[str, Any]) -> str:
    """SHA-256 of a design, in hexadecimal: the same content, the same hash."""
    return sha256(canonical_json(design))


def feature_digest(design: Mapping[str, Any]) -> str:
    """SHA-256 of what shapes a model's scores: a design without threshold, words, slices and block.

    Two versions with the same one may be compared on the same designed rows.
    """
    target = {name: design["target"][name] for name in ("kind", "value")}
    parts = {name: design[name] for name in ("rows", "lookups", "features")}
    needed = needed_columns(design, outcome=True)
    types = {source: {name: each["dtype"] for name, each in columns.items()} for source, columns in needed.items()}
    return design_digest({**parts, "target": target, "types": types})


def is_scored_alike(case: UseCase, design: Mapping[str, Any]) -> bool:
    """Whether a use case makes the same features and the same target as a design: there is nothing to fit anew.

    Args:
        case: The use case as the code declares it.
        design: The design of a version.

    Returns:
        Whether their `feature_digest` is the same.
    """
    return feature_digest(design) == feature_digest(describe_design(case))


def restore_design(case: UseCase, design: Mapping[str, Any], whose: str) -> UseCase:
    """The use case as a version has it: its own features, lookups, target and columns, today's policies and contracts.

    Args:
        case: The use case as the code declares it.
        design: What `describe_design` gave when the version was trained.
        whose: The version, for errors, as "flights v3".

    Returns:
        A use case that every function takes which designs, scores or judges rows of that version.

    Raises:
        UsageError: The version needs code that has changed or is gone, or belongs to another use case by now.
    """
    if design == describe_design(case):
        return case
    if problem := other_use_case(case, design):
        raise UsageError(f"{whose} was trained for another use case: {problem}")
    target, casts = design["target"], _casts(case, design)
    outcome_casts = _input_casts(case, design, design["labels"] or design["rows"])
    return replace(
        case,
        inputs=tuple(_restore_input(spec, design["inputs"].get(spec.name)) for spec in _inputs(case, design)),
        lookups=tuple(_restore_lookup(each, case, whose, casts) for each in design["lookups"]),
        features={
            name: _restore(each, case.features.get(name), f"{whose}: the feature {name}", casts)
            for name, each in design["features"]
        },
        target=Target(
            kind=target["kind"],
            name=target["name"],
            value=_restore(target["value"], case.target.value, f"{whose}: the target", outcome_casts),
            classes=tuple(target["classes"]),
            threshold=target["threshold"],
            unit=target["unit"],
        ),
        block=_restore(design["block"], case.block, f"{whose}: the block", casts) if design["block"] is not None else None,
        slices=tuple(design["slices"]),
    )


def other_use_case(case: UseCase, design: Mapping[str, Any]) -> str | None:
    """Why a use case is no longer the one that a design belongs to, or None: its rows, key, event time or kind of target.

    Args:
        case: The use case as the code declares it.
        design: The design of one of its versions.

    Returns:
        One clause, for an error.
    """
    recorded = design["inputs"][design["rows"]]
    now = case.input(case.rows)
    pairs = (
        ("rows input", design["rows"], case.rows),
        ("key", tuple(recorded["key"]), now.key),
        ("time column", recorded["time"], now.time),
        ("kind of target", design["target"]["kind"], case.target.kind),
        *(
            [("classes", tuple(design["target"]["classes"]), case.target.classes)]
            if case.target.kind == "multiclass"
            else []
        ),
    )
    for what, then, today in pairs:
        if then != today:
            return f"its {what} was {_shown(then)} and is {_shown(today)}"
    return None


def compare_designs(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two designs, one clause each.

    Args:
        then: The older design.
        now: The newer one.

    Returns:
        The clauses, such as "feature hour is new"; empty where both are the same.
    """
    before, after = dict(then["features"]), dict(now["features"])
    clauses = [f"feature {name} is new" for name in after if name not in before]
    clauses += [f"feature {name} is gone" for name in before if name not in after]
    clauses += [f"feature {name} is changed" for name in after if name in before and after[name] != before[name]]
    if before == after and then["features"] != now["features"]:
        clauses.append("the features are in another order")
    lookups = ({each["input"]: each for each in design["lookups"]} for design in (then, now))
    clauses += _compare_lookups(*lookups)
    clauses += [
        f"the target's {name} was {then['target'][name]} and is {now['target'][name]}"
        if name != "value"
        else "the target's expression is changed"
        for name in ("kind", "name", "value", "classes", "threshold", "unit")
        if then["target"][name] != now["target"][name]
    ]
    return clauses + [f"the {name} changed" for name in ("block", "slices") if then[name] != now[name]]


def _compare_lookups(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    clauses = [f"the lookup in {name} is new" for name in now if name not in then]
    clauses += [f"the lookup in {name} is gone" for name in then if name not in now]
    return clauses + [f"the lookup in {name} is changed" for name in now if name in then and now[name] != then[name]]


def needed_columns(design: Mapping[str, Any], *, outcome: bool = False) -> dict[str, dict[str, ColumnSpec]]:
    """Columns that a design reads to make features, by input, as they are described; key columns are not among them.

    Args:
        design: A design.
        outcome: Whether those that the target is made of count as well.

    Returns:
        Input -> column -> its description.
    """
    read: dict[str, set[str]] = {design["rows"]: set()}
    parts = [each for _, each in design["features"]]
    looked_up = {name for lookup in design["lookups"] for name in lookup["columns"]}
    for lookup in design["lookups"]:
        parts += lookup["on"].values()
        read.setdefault(lookup["input"], set()).update(lookup["columns"].values())
    for part in parts:
        read[design["rows"]] |= columns_of(part) - looked_up
    if outcome:
        labels = design["labels"] or design["rows"]
        read[labels] = read.get(labels, set()) | columns_of(design["target"]["value"])
    return {name: _read_of(design["inputs"][name], columns) for name, columns in read.items()}


def _read_of(recorded: Mapping[str, Any], columns: set[str]) -> dict[str, ColumnSpec]:
    return {name: spec for name, spec in recorded["columns"].items() if name in columns and name not in recorded["key"]}


def absent_columns(design: Mapping[str, Any], input: str, present: Collection[str]) -> set[str]:
    """Columns that a design reads and a source lacks, but for those that a source might lack when it was trained.

    Args:
        design: A design.
        input: Name of the input.
        present: Names of the source's columns.

    Returns:
        The names.
    """
    needed = needed_columns(design).get(input, {})
    return {name for name, spec in needed.items() if spec["required"] and name not in present}


def columns_of(part: Any) -> set[str]:
    """Names of the columns that a described expression reads."""
    if isinstance(part, Mapping):
        if "column" in part:
            return {part["column"]}
        if "columns" in part:
            return set(part["columns"])
        return set().union(*(columns_of(each) for each in part.get("of", ())))
    return set()


def with_columns(spec: Input, wanted: Mapping[str, ColumnSpec], *, required: bool = False) -> Input:
    """An input whose contract also takes some columns, whose values may be missing.

    Args:
        spec: The input.
        wanted: Columns as a design describes them; those that the contract has stay as they are.
        required: Whether a source must have them.

    Returns:
        The input itself, or one with a wider contract.
    """
    known = spec.contract.dtypes()
    more = {name: each for name, each in wanted.items() if name not in known}
    return replace(spec, contract=_widened(spec.contract, more, required)) if more else spec


def _widened(contract: type[Contract], more: Mapping[str, ColumnSpec], required: bool) -> type[Contract]:
    dtypes = {name: restore_dtype(each["dtype"]) for name, each in more.items()}
    annotations = {name: dtype if required else Optional[dtype] for name, dtype in dtypes.items()}  # noqa: UP045
    fields = {name: column(known=each["known"], private=each["private"], nullable=True) for name, each in more.items()}
    namespace = {"__annotations__": annotations, "__module__": contract.__module__, "__doc__": contract.__doc__, **fields}
    widened: type[Contract] = type(contract.__name__, (contract,), namespace)
    return widened


def _describe_input(spec: Input) -> dict[str, Any]:
    schema = spec.contract.to_schema()
    outcomes = spec.contract.known("outcome")
    columns = {
        name: {
            "dtype": describe_dtype(dtype),
            "known": "outcome" if name in outcomes else "at_prediction",
            "private": (schema.columns[name].metadata or {}).get("private", False),
            "required": bool(schema.columns[name].required),
        }
        for name, dtype in spec.contract.dtypes().items()
    }
    reader = describe_reader(spec.reader)
    described = {"columns": columns, "key": list(spec.key), "time": spec.time, "known_at": spec.known_at}
    return {**described, "reader": reader} if reader else described


def _describe(expression: pl.Expr) -> Any:
    if isinstance(expression, FunctionFeature):
        return expression.described()
    try:
        return to_tree(expression)
    except NotInTree as why:
        return {"declared": _text_digest(expression), "why": str(why), "columns": expression.meta.root_names()}


def _text_digest(expression: pl.Expr) -> str:
    return sha256(str(expression.meta.serialize(format="json")).encode())


def _input_casts(case: UseCase, design: Mapping[str, Any], name: str) -> dict[str, pl.DataType]:
    """Columns of an input whose type is another by now, with the type that the design knows."""
    now = next((spec.contract.dtypes() for spec in case.inputs if spec.name == name), {})
    then = {each: restore_dtype(spec["dtype"]) for each, spec in design["inputs"][name]["columns"].items()}
    return {each: dtype for each, dtype in then.items() if each in now and now[each] != dtype}


def _casts(case: UseCase, design: Mapping[str, Any]) -> dict[str, pl.DataType]:
    """The same for all columns that a feature may read: those of the rows, and looked-up ones by their new names."""
    casts = _input_casts(case, design, design["rows"])
    for lookup in design["lookups"]:
        changed = _input_casts(case, design, lookup["input"])
        casts |= {name: changed[source] for name, source in lookup["columns"].items() if source in changed}
    return casts


def _restore(described: Any, declared: pl.Expr | None, what: str, casts: Mapping[str, pl.DataType]) -> pl.Expr:
    if "function" in described:
        return restore_function(described, what)
    if "declared" not in described:
        return from_tree(described, casts)
    if declared is None or _text_digest(declared) != described["declared"]:
        raise UsageError(f"{what} cannot be kept with a version ({described['why']}) and its code has changed: {MEND}")
    return declared


def _restore_lookup(described: Mapping[str, Any], case: UseCase, whose: str, casts: Mapping[str, pl.DataType]) -> Lookup:
    declared = next((each for each in case.lookups if each.input == described["input"]), None)
    on = {
        name: _restore(
            each, declared.on.get(name) if declared else None, f"{whose}: the lookup in {described['input']}", casts
        )
        for name, each in described["on"].items()
    }
    return Lookup(input=described["input"], on=on, columns=dict(described["columns"]))


def _inputs(case: UseCase, design: Mapping[str, Any]) -> tuple[Input, ...]:
    """The inputs of the code, and those that only the design has, under contracts of their recorded columns."""
    names = {spec.name for spec in case.inputs}
    gone = [name for name in design["inputs"] if name not in names]
    return (*case.inputs, *(_recorded_input(name, design["inputs"][name]) for name in gone))


def _recorded_input(name: str, recorded: Mapping[str, Any]) -> Input:
    annotations = {each: restore_dtype(spec["dtype"]) for each, spec in recorded["columns"].items()}
    fields = {
        each: column(known=spec["known"], private=spec["private"], nullable=True)
        for each, spec in recorded["columns"].items()
    }
    config = type("Config", (Contract.Config,), {"unique": recorded["key"]})
    contract = type(name, (Contract,), {"__annotations__": annotations, "Config": config, **fields})
    return Input(name=name, contract=contract, time=recorded["time"], known_at=recorded["known_at"])


def _restore_input(spec: Input, recorded: Mapping[str, Any] | None) -> Input:
    if recorded is None:
        return spec
    return replace(with_columns(spec, recorded["columns"]), known_at=recorded["known_at"])


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)

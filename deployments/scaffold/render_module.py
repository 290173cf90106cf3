"""The module of a drafted use case: contract, then use case, as a person would write them and the formatter leave them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from deployments.scaffold import source_code
from deployments.scaffold.contract_columns import CONFIRM, Column
from deployments.scaffold.draft import Draft
from deployments.scaffold.render_reader import reader_lines
from schemas.reader import PLAIN

ALIASES = {
    "Utc": 'Utc = Annotated[pl.Datetime, "us", "UTC"]',
    "Moment": 'Moment = Annotated[pl.Datetime, "us", None]',
}
INDENT = "    "
LEFT_OUT = 'left out: what reads a column of known="confirm"; write known="at_prediction" there once you know that it is'
GATE_NOTE = (
    "guess: the margin is the loss you would still accept; each model must beat the base rate, and a linear model too "
    'where you write baseline="linear"'
)

ROW_NOTE = (
    "a later file adds only the rows that are not there yet; where each file brings new rows alone, write "
    'on_redelivery="append"'
)


def module(draft: Draft) -> str:
    """Source of the module: docstring, imports, values of the categories, contract, use case."""
    constants, contract, case = _constants(draft), _contract(draft), _use_case(draft)
    parts = [*_docstring(draft), "", *_imports(draft, contract), ""]
    if constants:
        parts += [*constants, ""]
    helper = _helper(draft)
    if helper:
        contract = [*contract, "", "", *helper]
    return "\n".join([*parts, "", *contract, "", "", *case]) + "\n"


def _docstring(draft: Draft) -> list[str]:
    rows = f"{draft.rows:,} rows" if draft.whole else f"the first {draft.rows:,} rows"
    source = draft.source.replace("\\", "/").replace('"', "'")
    drafted = f"Drafted from {rows} and {len(draft.columns)} columns of {source}{_span(draft)}."
    text = source_code.paragraph(f"{drafted} Each guess is marked: confirm or correct it, and the module is yours.")
    return [f'"""The use case {draft.name}: one contract, one target, its features and policies.', "", *text, '"""']


def _span(draft: Draft) -> str:
    if draft.clock is None:
        return ""
    first, last = (_day(moment) for moment in (draft.clock.first, draft.clock.last))
    return f", {first} to {last}"


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def _imports(draft: Draft, contract: list[str]) -> list[str]:
    annotated = any("Annotated[" in line for line in [*contract, *_aliases(draft)])
    return [
        *(["from typing import Annotated", ""] if annotated else []),
        "import polars as pl",
        *source_code.import_lines("penstock", _names(draft)),
    ]


def _names(draft: Draft) -> list[str]:
    split = ["Split"] if draft.policies.split else []
    formats = ["ColumnFormat"] if draft.reader.columns else []
    reader = ["Reader"] if draft.reader != PLAIN else []
    names = ["Contract", "GatePolicy", "Input", "MonitorPolicy", *reader, *split, "Target", "Training", "UseCase"]
    confirmed = ["confirmed_features"] if _unconfirmed(draft) else []
    return [*formats, *names, "column", *confirmed]


def _aliases(draft: Draft) -> list[str]:
    used = {column.annotation for column in draft.columns}
    return [line for name, line in ALIASES.items() if name in used]


def _constants(draft: Draft) -> list[str]:
    named = [c.values for c in draft.columns if c.values]
    values = [
        line for name, each in named for line in source_code.packed(name, [source_code.quote(value) for value in each])
    ]
    aliases = _aliases(draft)
    return [*aliases, *([""] if aliases and values else []), *values]


def _contract(draft: Draft) -> list[str]:
    says = f'"""A row of {draft.name}: what must hold for it to be let in."""'
    columns = [line for column in draft.columns for line in _column(column)]
    why = [text for text in (draft.key.note, draft.key.broken(draft.rows)) if text]  # of the row: see _inputs
    note = source_code.comment(f"guess: {'; '.join(why)}", INDENT * 2) if why else []
    unique = source_code.call_lines(f"{INDENT * 2}unique = ", "[", [source_code.quote(c) for c in draft.key.columns], "]")
    config = [] if draft.key.by_row else ["", f"{INDENT}class Config:", *note, *unique]
    head = [f"class {draft.contract}(Contract):", f"{INDENT}{says}", ""]
    return [*head, *columns, *config]


def _column(column: Column) -> list[str]:
    word = CONFIRM if column.role == CONFIRM else "guess"
    why = f"{word}: {column.note or column.guess}" if column.note or column.guess else ""
    comment = source_code.comment("the outcome: empty until it is known" if column.role == "target" else why, INDENT)
    head = f"{INDENT}{column.attribute}: {column.annotation} = column"
    return [*comment, *source_code.call_lines(head, "(", [f"{name}={value}" for name, value in column.checks], ")")]


def _use_case(draft: Draft) -> list[str]:
    policies = draft.policies
    body = [
        *_arguments({"name": source_code.quote(draft.name), "question": source_code.quote(question(draft))}),
        *_inputs(draft),
        *_arguments({"rows": source_code.quote(draft.name)}),
        *_target(draft),
        *_features(draft),
        *_arguments({"slices": source_code.strings(policies.slices)} if policies.slices else {}),
        *_policy("split", "Split", policies.split, _split_note(draft)),
        *_training(policies.training),
        *_policy("gate", "GatePolicy", policies.gate, GATE_NOTE),
        *_policy("monitor", "MonitorPolicy", policies.monitor),
    ]
    return [f"{draft.constant} = UseCase(", *body, ")"]


def question(draft: Draft) -> str:
    """The question in plain words, for a person to sharpen."""
    outcome = draft.outcome
    if outcome.kind == "binary":
        stated = outcome.classes[1] == outcome.column
        return f"Will {outcome.column} be {'true' if stated else outcome.classes[1]}?"
    return f"{'Which' if outcome.kind == 'multiclass' else 'How much'} will {outcome.column} be?"


def _arguments(values: Mapping[str, str]) -> list[str]:
    return [line for name, value in values.items() for line in source_code.expression(f"{INDENT}{name}=", value)]


def _inputs(draft: Draft) -> list[str]:
    values = {"name": source_code.quote(draft.name), "contract": draft.contract}
    reader = reader_lines(draft.reader, [column.profile for column in draft.columns], draft.seen, INDENT * 3)
    values |= {"key": '"row"'} if draft.key.by_row else {}
    note = []
    if draft.clock:
        column = f"pl.col({source_code.quote(draft.clock.column)})"
        values |= {
            "time": source_code.quote(draft.clock.column),
            "partition": f'{column}.dt.strftime("{draft.clock.partition}")',
        }
        note = source_code.comment(f"guess: {draft.clock.note}", INDENT * 3) if draft.clock.note else []
    lines = [line for name, value in values.items() for line in source_code.expression(f"{INDENT * 3}{name}=", value)]
    at = next((i for i, line in enumerate(lines) if line.strip().startswith("time=")), 0)
    lines = [*lines[:at], *note, *lines[at:]]
    if draft.key.by_row:
        at = next(i for i, line in enumerate(lines) if line.strip().startswith("key="))
        lines = [*lines[:at], *source_code.comment(f"guess: {draft.key.note}; {ROW_NOTE}", INDENT * 3), *lines[at:]]
    return [f"{INDENT}inputs=(", f"{INDENT * 2}Input(", *lines, *reader, f"{INDENT * 2}),", f"{INDENT}),"]


def _target(draft: Draft) -> list[str]:
    outcome = draft.outcome
    values = {"kind": source_code.quote(outcome.kind), "name": source_code.quote(outcome.column), "value": outcome.value}
    lines = [line for name, value in values.items() for line in source_code.expression(f"{INDENT * 2}{name}=", value)]
    if outcome.note:
        lines = [*source_code.comment(f"guess: {outcome.note}", INDENT * 2), *lines]
    if outcome.kind == "multiclass" and (values_of := _values(draft, outcome.column)):
        lines.append(f"{INDENT * 2}classes={values_of},")
    elif outcome.classes:
        items = [source_code.quote(c) for c in outcome.classes]
        lines += source_code.call_lines(f"{INDENT * 2}classes=", "(", items, ")", end=",")
    return [f"{INDENT}target=Target(", *lines, f"{INDENT}),"]


def _values(draft: Draft, name: str) -> str:
    """The named tuple of a column's values, or ''."""
    return next((c.values[0] for c in draft.columns if c.name == name and c.values), "")


def _features(draft: Draft) -> list[str]:
    """The features; those of columns to confirm among them, which `confirmed_features` leaves out."""
    if not _unconfirmed(draft):
        return [f"{INDENT}features={{", *_feature_lines(draft, INDENT * 2), f"{INDENT}}},"]
    note = source_code.comment(LEFT_OUT, INDENT)
    body = [f"{INDENT * 2}{draft.contract},", f"{INDENT * 2}{{", *_feature_lines(draft, INDENT * 3), f"{INDENT * 2}}},"]
    return [*note, f"{INDENT}features=confirmed_features(", *body, f"{INDENT}),"]


def _feature_lines(draft: Draft, indent: str) -> list[str]:
    return [
        line
        for column in draft.columns
        for name, text in column.features
        for line in source_code.expression(f"{indent}{source_code.quote(name)}: ", text)
    ]


def _unconfirmed(draft: Draft) -> bool:
    return any(column.role == CONFIRM and column.features for column in draft.columns)


def _helper(draft: Draft) -> list[str]:
    """The function that makes a number of a date, where a feature is made with it."""
    texts = [text for column in draft.columns for _, text in column.features]
    if any(text.startswith("day_number(") for text in texts):
        body = ['return pl.col(column).dt.date().dt.epoch("d").cast(pl.Float32)']
        return _function("day_number", "Days from 1970 to a date.", body)
    if draft.clock and any(text.startswith("days_since(") for text in texts):
        event = f"event = pl.col({source_code.quote(draft.clock.column)}).dt.date()"
        body = [event, "return (event - pl.col(column).dt.date()).dt.total_days().cast(pl.Float32)"]
        return _function("days_since", "Days from a date to the event.", body)
    return []


def _function(name: str, says: str, body: list[str]) -> list[str]:
    return [f"def {name}(column: str) -> pl.Expr:", f'{INDENT}"""{says}"""', *(f"{INDENT}{line}" for line in body)]


def _split_note(draft: Draft) -> str:
    return "" if draft.clock else "no event time: rows are split by a hash of their key"


def _policy(argument: str, name: str, values: Mapping[str, str], note: str = "") -> list[str]:
    comment = source_code.comment(note, INDENT) if note else []
    if not values:
        return comment
    return [*comment, *source_code.call_lines(f"{INDENT}{argument}={name}", "(", _pairs(values), ")", end=",")]


def _training(values: Mapping[str, str]) -> list[str]:
    """The parameters one a line, as they are what gets tuned."""
    params, *rest = _pairs(values)
    lines = [f"{INDENT * 3}{param}," for param in params.removeprefix("params={").removesuffix("}").split(", ")]
    others = [f"{INDENT * 2}{pair}," for pair in rest]
    return [f"{INDENT}training=Training(", f"{INDENT * 2}params={{", *lines, f"{INDENT * 2}}},", *others, f"{INDENT}),"]


def _pairs(values: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]

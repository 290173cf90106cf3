"""The test of a drafted use case: a made-up row, none of the file's, that must pass, and what no use case may do."""

from __future__ import annotations

import re
from datetime import date, datetime

from deployments.scaffold import source_code
from deployments.scaffold.column_profile import KNOWN_SHAPES
from deployments.scaffold.contract_columns import Column
from deployments.scaffold.draft import Draft

BODY = '''
def frame(**changes: object) -> pl.DataFrame:
    """The row above as a frame, with changes."""
    return pl.DataFrame([{{**ROW, **changes}}], schema={contract}.dtypes())


def test_a_sound_row_is_let_in() -> None:
    {contract}.validate(frame(), lazy=True)


{key_test}def test_no_feature_reads_an_outcome() -> None:
    outcomes = set({contract}.known("outcome"))
    for name, feature in {constant}.features.items():
        assert not outcomes & set(feature.meta.root_names()), name


def test_a_row_gives_one_value_to_each_feature() -> None:
    features = frame().select(**{constant}.features)
    assert features.columns == list({constant}.features)
    assert features.height == 1


def test_the_outcome_is_one_that_the_target_knows() -> None:
    outcome = frame().select({constant}.target.value).item()
    assert {outcome}
'''
KEY_TEST = """@pytest.mark.parametrize("column", {contract}.key())
def test_a_row_without_its_key_is_refused(column: str) -> None:
    with pytest.raises(SchemaErrors):
        {contract}.validate(frame(**{{column: None}}), lazy=True)


"""
OUTCOMES = {
    "binary": "isinstance(outcome, bool)",
    "multiclass": "outcome in {constant}.target.classes",
    "regression": "isinstance(outcome, (int, float))",
}
KNOWN_TEXTS = {
    "UUIDs": "00000000-0000-4000-8000-000000000000",
    "e-mail addresses": "someone@example.org",
}


def source(draft: Draft, package: str) -> str:
    """Source of the test; `package` is where the use case's module lies, '' beside the test."""
    row = [line for column in draft.columns for line in _item(column)]
    outcome = OUTCOMES[draft.outcome.kind].format(constant=draft.constant)
    head = [
        f'"""What must hold for the use case {draft.name}."""',
        "",
        *_imports(draft, package, "\n".join(row)),
        "",
        "ROW = {",
    ]
    key_test = "" if draft.key.by_row else KEY_TEST.format(contract=draft.contract)
    body = BODY.format(contract=draft.contract, constant=draft.constant, outcome=outcome, key_test=key_test)
    return "\n".join([*head, *row, "}", "", ""]) + body


def _imports(draft: Draft, package: str, row: str) -> list[str]:
    module = f"{package}.{draft.module}" if package else draft.module
    own = source_code.import_lines(
        module, sorted([draft.constant, draft.contract], key=lambda name: (not name.isupper(), name))
    )
    times = [name for name in ("UTC", "date", "datetime", "time") if re.search(rf"\b{name}\b[(),]", row)]
    standard = [f"from datetime import {', '.join(times)}"] if times else []
    standard += ["from decimal import Decimal"] if "Decimal(" in row else []
    return [
        *standard,
        *([""] if standard else []),
        "import polars as pl",
        *([] if draft.key.by_row else ["import pytest", "from pandera.errors import SchemaErrors"]),
        "",
        *own,
    ]


def _item(column: Column) -> list[str]:
    return [f"    {source_code.quote(column.name)}: {example(column)},"]


def example(column: Column) -> str:
    """A made-up value that passes the column's checks, as code."""
    profile = column.profile
    if profile.rows == 0:
        return "None"
    if profile.type in ("integer", "number", "decimal"):
        return _number(column)
    if profile.type == "text":
        return source_code.quote(_text(column))
    return {"flag": "True", "clock": "time(12, 0)"}.get(profile.type) or _moment(column)


def _number(column: Column) -> str:
    checks = dict(column.checks)
    if "isin" in checks:
        return str(re.findall(r"-?[0-9.]+", checks["isin"])[0])
    number = int if column.profile.type == "integer" else float
    low, high = (number(checks[name]) if name in checks else None for name in ("ge", "le"))
    if low is None or high is None:
        return "1" if number is int else "1.0"
    if number is int:
        return str((low + high) // 2)
    return f'Decimal("{int((low + high) / 2)}")' if column.profile.type == "decimal" else repr((low + high) / 2)


def _text(column: Column) -> str:
    shape = column.profile.shape
    if column.values:
        return column.values[1][0]
    return from_shape(shape) if shape else "text"


def from_shape(pattern: str) -> str:
    """A text that a shape of profile.py matches."""
    for name, known in KNOWN_SHAPES.items():
        if pattern == known:
            return KNOWN_TEXTS[name]
    text = re.sub(r"\[(.)-.\](?:\{(\d+)\}|\+)?", lambda m: m[1] * int(m[2] or 1), pattern[1:-1])
    return re.sub(r"\\(.)", r"\1", text)


def _moment(column: Column) -> str:
    newest = column.profile.values.max()
    if isinstance(newest, datetime):
        zone = ", tzinfo=UTC" if column.profile.type == "utc" else ""
        return f"datetime({newest.year}, {newest.month}, {newest.day}, 12{zone})"
    assert isinstance(newest, date)
    return f"date({newest.year}, {newest.month}, {newest.day})"

"""Texts that recorded hashes hang on stay the same to the byte: what was written by an earlier release still agrees."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from schemas.contract import Contract, column, describe
from schemas.digests import canonical_json, sha256, sorted_json
from schemas.errors import UsageError, first_line
from schemas.history import ChampionState, Entry
from schemas.usecase import Split, Training
from tasks.promotion import history

MOMENT = datetime(2013, 4, 1, 6, 30, tzinfo=UTC)


class Letters(Contract):
    id: int = column(ge=1)
    town: str = column(isin=["Köln", "Brno"], nullable=True)
    weight: float = column(known="outcome")

    class Config:
        unique = ["id"]


def test_canonical_json_of_the_registry_and_the_history() -> None:
    value = {"z": [1, 2.5, None, True], "a": {"town": "Köln", "nan": float("nan"), "low": -np.inf, "n": np.float64(0.1)}}
    nested = '{"low":"-Infinity","n":0.1,"nan":"NaN","town":"Köln"}'
    text = f'{{"a":{nested},"when":"2013-04-01T06:30:00+00:00","z":[1,2.5,null,true]}}'
    assert canonical_json({**value, "when": MOMENT}) == text.encode()
    with pytest.raises(UsageError, match="holds a set"):
        canonical_json({"a": {1}})


def test_sorted_json_of_contracts_searches_and_evidence() -> None:
    value = {"z": [1, 2.5, None, True], "a": {"town": "Köln", "nan": float("nan")}, "type": pl.Int64()}
    assert sorted_json(value) == '{"a": {"nan": NaN, "town": "K\\u00f6ln"}, "type": "Int64", "z": [1, 2.5, null, true]}'
    plain = {"training": {**vars(Training(params={"max_depth": 3}))}, "split": vars(Split())}
    assert sorted_json(plain) == json.dumps(plain, sort_keys=True)


def test_hashes_that_are_on_record() -> None:
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256(sorted_json(describe(Letters)).encode())[:16] == Letters.version() == "30a7fd43232a743b"
    entry = Entry(
        number=2,
        previous="ab" * 32,
        kind="promoted",
        when=MOMENT,
        who="Jörg",
        why="the gain of 0.01 is enough",
        before=None,
        after=ChampionState(version=3, sha256="cd" * 32),
    )
    assert sha256(history.entry_bytes(entry)) == "530a8ac727d18c54c80b749a96901d8c1970e16b0f93ceef88a6712336bb1d52"


def test_the_first_line_of_an_error() -> None:
    assert first_line(ValueError("  one\ntwo")) == "one"
    assert first_line(ValueError("x" * 500)) == "x" * 200
    assert first_line(ValueError("x" * 500), 300) == "x" * 300
    assert first_line(ValueError("\n")) == "ValueError"
    assert first_line("") == ""

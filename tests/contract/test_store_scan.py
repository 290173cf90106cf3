"""Parquet objects of a repository as lazy frames."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from schemas.errors import NotFound
from tasks.versions.protocol import VersionStore

CARRIER = pl.Enum(["AA", "UA"])
SCHEMA = {"row": pl.Int64(), "carrier": CARRIER, "delay": pl.Float64()}


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture
def parts(store: VersionStore) -> list[str]:
    """Seven files of 1,000 rows, listed against the order of their names; the first lacks `delay`."""
    store.branch("b")
    paths = [f"data/f/{i}.parquet" for i in (3, 1, 6, 0, 5, 2, 4)]
    for position, path in enumerate(paths):
        rows = pl.int_range(1000 * position, 1000 * (position + 1), eager=True)
        frame = pl.DataFrame({"row": rows, "carrier": pl.repeat("UA", 1000, dtype=CARRIER, eager=True)})
        store.upload("b", path, parquet(frame.with_columns(delay=0.5) if position else frame))
    store.commit("b", "parts", {})
    store.merge("b", "main", "parts", {})
    return paths


def test_rows_come_in_the_order_of_the_paths(store: VersionStore, parts: list[str]) -> None:
    frame = store.scan("main", parts, SCHEMA).collect()
    assert dict(frame.schema) == SCHEMA
    assert frame["row"].to_list() == list(range(7000))


def test_columns_that_a_file_lacks_are_null(store: VersionStore, parts: list[str]) -> None:
    frame = store.scan("main", parts, SCHEMA).collect()
    assert frame["delay"].null_count() == 1000
    assert frame["delay"][:1000].null_count() == 1000


def test_numbers_of_a_narrower_type_are_read_as_the_schema_has_them(store: VersionStore, parts: list[str]) -> None:
    frame = store.scan("main", parts, {"row": pl.Float64()}).collect()
    assert dict(frame.schema) == {"row": pl.Float64()}
    assert frame["row"].to_list() == list(range(7000))


def test_rows_and_columns_are_pushed_down(store: VersionStore, parts: list[str]) -> None:
    lazy = store.scan("main", parts[1:]).filter(pl.col("row") >= 6990).select("row")
    assert_frame_equal(lazy.collect(), pl.DataFrame({"row": range(6990, 7000)}))
    plan = lazy.explain()
    assert "PROJECT 1/3 COLUMNS" in plan
    assert "SELECTION" in plan


def test_without_a_schema_files_that_differ_are_refused(store: VersionStore, parts: list[str]) -> None:
    with pytest.raises(pl.exceptions.PolarsError):
        store.scan("main", parts).collect()


def test_no_paths_give_an_empty_frame(store: VersionStore) -> None:
    assert dict(store.scan("main", [], SCHEMA).collect().schema) == SCHEMA
    assert store.scan("main", []).collect().shape == (0, 0)


def test_a_missing_path_is_not_found(store: VersionStore, parts: list[str]) -> None:
    with pytest.raises(NotFound):
        store.scan("main", [*parts, "data/f/absent.parquet"])


def test_an_old_commit_is_read_as_it_was(store: VersionStore, parts: list[str], tmp_path: Path) -> None:
    old = store.head()
    source = tmp_path / "new.parquet"
    source.write_bytes(parquet(pl.DataFrame({"row": [-1]})))
    store.branch("c")
    store.upload("c", parts[0], source)
    store.commit("c", "replace", {})
    store.merge("c", "main", "replace", {})
    assert store.scan("main", parts[:1]).collect()["row"].to_list() == [-1]
    assert store.scan(old, parts[:1]).collect()["row"].to_list() == list(range(1000))

"""Sources: found, hashed, and read by a child whose end is never the worker's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.contract import Contract, column
from schemas.errors import UsageError
from tasks.ingestion.files import frame_source, locate
from tasks.parsing import parse
from tasks.parsing.parse import Limits, fingerprint, parse_source


class Pairs(Contract):
    a: int = column(ge=0)
    b: str = column(nullable=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "landing" / "pairs.csv"
    path.parent.mkdir()
    path.write_text("a,b\n1,x\n2,\n")
    return path


def test_a_path_and_a_glob_name_files_in_order(source: Path) -> None:
    (source.parent / "more.csv").write_text("a,b\n")
    assert locate(source) == [source]
    assert [path.name for path in locate(str(source.parent / "*.csv"))] == ["more.csv", "pairs.csv"]


def test_a_name_with_brackets_is_a_name_before_it_is_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "a[1].csv"
    path.touch()
    assert locate(path) == [path]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.csv", "no such file"),
        ("*.nothing", "matches none"),
        (".", "no Parquet file"),
        ("", "no file name"),
        ("x\0.csv", "no file name"),
        ("%2e%2e/pairs.csv", "no such file"),
    ],
)
def test_what_names_no_file_is_a_usage_error(source: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.chdir(source.parent)
    with pytest.raises(UsageError, match=says) as caught:
        locate(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../secret.csv", "link.csv", "linked/secret.csv", "l*.csv"])
def test_nothing_outside_the_root_is_read(source: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.csv").write_text("a,b\n")
    (source.parent / "link.csv").symlink_to(tmp_path / "secret.csv")
    (source.parent / "linked").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="leads out of"):
        locate(source.parent / name, root=source.parent)
    assert locate(source.parent / "pairs.csv", root=source.parent) == [source]


def test_a_fingerprint_is_of_the_bytes(source: Path) -> None:
    found = fingerprint(source)
    assert (found.name, found.size, len(found.sha256)) == ("pairs.csv", 11, 64)
    again = source.with_name("copy.csv")
    again.write_bytes(source.read_bytes())
    assert fingerprint(again).sha256 == found.sha256
    empty = source.with_name("empty.csv")
    empty.touch()
    assert fingerprint(empty).size == 0


def test_only_regular_files_have_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path, says in ((tmp_path / "pipe.csv", "regular"), (tmp_path, "irectory|regular"), (tmp_path / "no.csv", "No such")):
        with pytest.raises(UsageError, match=says):
            fingerprint(path)


def test_a_frame_is_the_same_source_however_it_is_held(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    made = [frame_source(f, tmp_path / str(at), "pairs") for at, f in enumerate((frame, frame.lazy(), frame.to_pandas()))]
    assert len({path.name for path in made}) == len({fingerprint(path).sha256 for path in made}) == 1
    assert frame_source(frame.head(1), tmp_path / "0", "pairs") != made[0]
    assert len(list((tmp_path / "0").iterdir())) == 2
    parsed = parse_source(fingerprint(made[0]), Pairs, tmp_path / "work")
    assert pl.read_parquet(parsed.parts).select("a", "b").equals(frame)
    for name in ("../pairs", "", "a/b", "pairs\n"):
        with pytest.raises(UsageError):
            frame_source(frame, tmp_path, name)


def test_a_source_is_parsed_and_left_alone(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    parsed = parse_source(fingerprint(source), Pairs, tmp_path / "work", Limits(512, 60))
    assert (parsed.rows, parsed.columns, parsed.source_sha256) == (2, ("a", "b"), fingerprint(source).sha256)
    assert pl.read_parquet(parsed.parts)["b"].to_list() == ["x", None]
    assert source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["landing", "work"]


def test_the_child_gets_no_secret(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, env: dict[str, str], **kwargs: Any) -> None:
            seen.update(env)
            super().__init__(*args, env=env, **kwargs)

    monkeypatch.setattr(parse.subprocess, "Popen", Watched)
    monkeypatch.setenv("PENSTOCK_API_TOKEN", "hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    parse_source(fingerprint(source), Pairs, tmp_path / "work")
    assert "PATH" in seen
    assert "hush" not in seen.values()

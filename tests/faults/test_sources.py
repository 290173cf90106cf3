"""Files that nobody should send: each becomes exact rows or a rejection with a reason, and the worker lives."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from schemas.contract import Contract, column
from schemas.errors import Refused
from schemas.usecase import Input
from tasks.contracts.audit import audit_parts
from tasks.parsing import parse
from tasks.parsing.parse import Limits, SourceChanged, fingerprint, parse_source
from tests.faults.reading import LIMITS, Reading, deliver, delivered_alone

SPEC = Input(name="readings", contract=Reading, max_rejected_share=1.0)
HEAD = b"sensor,count,level\n"
GOOD = HEAD + b"one,1,1.5\ntwo,2,\n"


def verdict(folder: Path, name: str, content: bytes) -> tuple[int, dict[int, list[str]]]:
    """Rows accepted, and of each rejected row the failed checks."""
    done = audit_parts(deliver(folder, name, content), SPEC, folder / "work" / "audit")
    assert done.verdict.rows == done.verdict.accepted + done.verdict.rejected
    frames = [pl.read_parquet(part.path) for part in done.rejected]
    return done.verdict.accepted, {
        row: checks for frame in frames for row, checks in frame.select("_row", "_checks").iter_rows()
    }


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("columns.csv", b"sensor,count,level,extra\none,1,1,1\n", "not known: 'extra'"),
        ("columns.csv", b"sensor,level\none,1\n", "missing: 'count'"),
        (
            "types.parquet",
            parquet(pl.DataFrame({"sensor": ["a"], "count": ["1"], "level": [1.0]})),
            "'count' is String, not Int64",
        ),
        ("cut.parquet", parquet(pl.DataFrame({"sensor": ["a"], "count": [1], "level": [1.0]}))[:-20], "cannot be read"),
        ("utf16.csv", GOOD.decode().encode("utf-16"), "UTF-16"),
        ("utf16be.csv", GOOD.decode().encode("utf-16-be"), "NUL"),
        ("nul.csv", GOOD.replace(b"two", b"t\0o"), "NUL byte near row 2"),
        ("header.csv", HEAD.replace(b"level", b"count"), "repeats 'count'"),
        ("latin.csv", GOOD.replace(b"two", "zwö".encode("latin-1")), "not UTF-8 near row 2"),
        ("quote.csv", GOOD.replace(b"two", b'"two'), "never closed"),
        ("text.parquet", GOOD, "not what its name says"),
        ("parquet.csv", parquet(pl.DataFrame({"a": [1]})), "name it so"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "NUL|UTF-8"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    with pytest.raises(Refused, match=says) as caught:
        deliver(tmp_path, name, content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "content", "accepted", "rejected"),
    [
        ("mark.csv", b"\xef\xbb\xbf" + GOOD, 2, {}),
        ("short.csv", GOOD + b"three,3\nfour,4,4,4\nfive,5,5\n", 3, {3: ["record"], 4: ["record"]}),
        ("cut.csv", GOOD + b"three", 2, {3: ["record"]}),
        (
            "numbers.csv",
            HEAD + b"a,1,NaN\nb,1,inf\nc,1,1e300\nd,1,1e400\ne,9223372036854775808,1\nf,1e300,1\ng,1,\n",
            1,
            {
                1: ["level: no_nan", "level: less_than_or_equal_to(1000000.0)"],
                2: ["level: less_than_or_equal_to(1000000.0)", "level: finite"],
                3: ["level: less_than_or_equal_to(1000000.0)"],
                4: ["level: dtype('Float64')"],
                5: ["count: dtype('Int64')"],
                6: ["count: dtype('Int64')"],
            },
        ),
        (
            "numbers.parquet",
            parquet(
                pl.DataFrame(
                    {
                        "sensor": ["a", "b", "c", "d"],
                        "count": pl.Series([1, 1, 2**63, 1], dtype=pl.UInt64),
                        "level": [float("nan"), float("-inf"), 1.0, None],
                    }
                )
            ),
            1,
            {
                1: ["level: no_nan", "level: less_than_or_equal_to(1000000.0)"],
                2: ["level: greater_than_or_equal_to(0)", "level: finite"],
                3: ["count: dtype('Int64')"],
            },
        ),
        (
            "numbers.jsonl",
            b'{"sensor": "a", "count": 1e2, "level": -Infinity}\n{"sensor": "b", "count": 1, "level": 2}\n',
            1,
            {1: ["count: dtype('Int64')", "level: finite", "level: greater_than_or_equal_to(0)"]},
        ),
        ("empty.csv", b"", 0, {}),
        ("empty.parquet", b"", 0, {}),
        ("empty.csv.gz", b"", 0, {}),
        ("header.csv", HEAD, 0, {}),
        ("none.csv.gz", gzip.compress(b"", mtime=0), 0, {}),
        ("none.parquet", parquet(pl.DataFrame(schema=Reading.dtypes())), 0, {}),
        ("none.jsonl", b"\n\n", 0, {}),
    ],
)
def test_what_can_be_read_gives_exact_rows_and_told_rejections(
    tmp_path: Path, name: str, content: bytes, accepted: int, rejected: dict[int, list[str]]
) -> None:
    found, told = verdict(tmp_path, name, content)
    assert found == accepted
    assert {row: sorted(checks) for row, checks in told.items()} == {row: sorted(checks) for row, checks in rejected.items()}


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_parquet_file_never_takes_the_worker_along(tmp_path: Path, seed: int) -> None:
    rows = 5000
    whole = bytearray(parquet(pl.DataFrame({"sensor": ["abc"] * rows, "count": range(rows), "level": [0.5] * rows})))
    dice = random.Random(seed)
    for _ in range(8):
        whole[dice.randrange(len(whole))] = dice.randrange(256)
    try:
        accepted, rejected = verdict(tmp_path, "flipped.parquet", bytes(whole))
    except Refused as refusal:
        assert "\n" not in str(refusal)  # noqa: PT017
    else:
        assert accepted + len(rejected) > 0


def unpacked() -> bytes:
    return HEAD + (b"o" * 100_000 + b",1,1.5\n") * 1000


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.csv", content)
    return buffer.getvalue()


ROWS = 20_000_000
BOMBS: dict[str, Callable[[], bytes]] = {
    "bomb.csv.gz": lambda: gzip.compress(unpacked()),
    "bomb.csv.zst": lambda: zstandard.compress(unpacked()),
    "bomb.csv.zip": lambda: zipped(unpacked()),
    "bomb.jsonl.gz": lambda: gzip.compress((b'{"sensor":"' + b"o" * 1_000_000 + b'"}\n') * 100),
    "bomb.parquet": lambda: parquet(
        pl.select(sensor=pl.repeat("one", ROWS), count=pl.repeat(1, ROWS), level=pl.repeat(1.5, ROWS))
    ),
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_decompression_bomb_is_refused_within_the_caps(tmp_path: Path, name: str) -> None:
    bomb = BOMBS[name]()
    assert len(bomb) < 300_000
    refusal, peak = delivered_alone(tmp_path / "delivered", name, bomb)
    assert "unpacks to" in refusal
    assert peak < LIMITS.memory_mb << 10


def test_a_pickled_extension_type_executes_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    class Payload:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {trap}",)

    mark = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Payload(), protocol=0),
    }
    fields = [pa.field("sensor", pa.string()), pa.field("count", pa.int64(), metadata=mark), pa.field("level", pa.float64())]
    path = tmp_path / "landing" / "typed.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table([["one"], [1], [1.5]], schema=pa.schema(fields)), path)
    with pytest.raises(Refused, match="'count' is Extension"):
        deliver(tmp_path, path.name, path.read_bytes())
    assert not trap.exists()


@pytest.mark.parametrize("member", ["../../escaped.csv", "/tmp/escaped.csv", "a\\..\\escaped.csv"])
def test_a_zip_names_its_member_and_no_place(tmp_path: Path, member: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, GOOD)
    assert deliver(tmp_path, "named.csv.zip", buffer.getvalue()).rows == 2


@pytest.mark.parametrize("name", ["..%2f..%2fup.csv", "new\nline.csv", "-rf.csv", "ünï 😀.csv", "%2e%2e.csv"])
def test_a_strange_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    assert verdict(tmp_path, name, GOOD) == (2, {})


def test_dates_beyond_every_calendar_are_rejected_and_end_nothing(tmp_path: Path) -> None:
    class Event(Contract):
        at: Annotated[pl.Datetime, "us", None] = column()

    far = pl.Series("at", [2**63 - 1, -(2**63), 0]).cast(pl.Datetime("us"))
    path = tmp_path / "far.parquet"
    far.to_frame().write_parquet(path)
    spec = Input(name="events", contract=Event, partition=pl.col("at").dt.strftime("%Y"), max_rejected_share=1.0)
    done = audit_parts(parse_source(fingerprint(path), Event, tmp_path / "work", LIMITS), spec, tmp_path / "audit")
    assert (done.verdict.accepted, done.verdict.rejected) == (1, 2)
    assert [example.value for example in done.verdict.reasons[0].examples] == [str(2**63 - 1), str(-(2**63))]


@pytest.mark.parametrize(
    ("limits", "says"), [(Limits(90, 60), "within 90 MiB; raise PENSTOCK_PARSE_MEMORY_MB"), (Limits(512, 0), "within 0 s")]
)
def test_a_child_beyond_its_limits_is_a_refusal(tmp_path: Path, limits: Limits, says: str) -> None:
    path = tmp_path / "large.csv"
    path.write_text("sensor,count,level\n" + "".join(f"{'x' * 50},{n},\n" for n in range(300_000)))
    with pytest.raises(Refused, match=says) as caught:
        parse_source(fingerprint(path), Reading, tmp_path / "work", limits)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("meddlings", "back", "comes_through"), [(1, True, True), (2, True, False), (1, False, False)])
def test_a_file_that_changes_while_it_is_read_is_read_again_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meddlings: int, back: bool, comes_through: bool
) -> None:
    source = tmp_path / "moving.csv"
    source.write_bytes(GOOD)
    told, left = fingerprint(source), [meddlings]

    def meddled(*args: Any) -> Any:
        outcome = in_child(*args)
        if left[0]:
            left[0] -= 1
            source.write_bytes(GOOD + b"three,3,\n")
            if back:
                source.write_bytes(GOOD)
        return outcome

    in_child = parse._in_child
    monkeypatch.setattr(parse, "_in_child", meddled)
    if comes_through:
        assert parse_source(told, Reading, tmp_path / "work", LIMITS).rows == 2
    else:
        with pytest.raises(SourceChanged, match="changed while it was read"):
            parse_source(told, Reading, tmp_path / "work", LIMITS)

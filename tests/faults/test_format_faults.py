"""Workbooks, documents and Arrow files that nobody should send: one line or exact rows, and the worker lives."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
import xlsxwriter

from schemas.errors import Refused
from tests.faults.reading import LIMITS, deliver, delivered_alone

FRAME = pl.DataFrame({"sensor": ["one", "two"], "count": [1, 2], "level": [1.5, None]})
HEADER = "xl/worksheets/sheet1.xml"
SHEET = (
    '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{}'
    "<sheetData>{}</sheetData></worksheet>"
)


def workbook(rows: list[list[object]]) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        for at, row in enumerate(rows):
            sheet.write_row(at, 0, row)
    return buffer.getvalue()


PLAIN_BOOK = workbook([["sensor", "count", "level"], ["one", 1, 1.5]])


def replaced(member: str, content: bytes) -> bytes:
    """A workbook one of whose members is another."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(PLAIN_BOOK)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, content if info.filename == member else old.read(info))
    return buffer.getvalue()


def cell(name: str, value: str = "1") -> str:
    return f'<row r="{name.lstrip("ABCDEFX")}"><c r="{name}"><v>{value}</v></c></row>'


def arrow(rows: int) -> bytes:
    buffer = io.BytesIO()
    frame = pl.select(sensor=pl.repeat("one", rows), count=pl.repeat(1, rows), level=pl.repeat(1.5, rows))
    frame.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


BOMBS: dict[str, Callable[[], bytes]] = {
    "bomb.xlsx": lambda: replaced(HEADER, SHEET.format("", " " * 200_000_000).encode()),
    "strings.xlsx": lambda: replaced("xl/sharedStrings.xml", b"<sst>" + b"<si><t>a</t></si>" * 10_000_000 + b"</sst>"),
    "far.xlsx": lambda: replaced(HEADER, SHEET.format("", cell("A1") + cell("XFD1048576")).encode()),
    "bomb.json": lambda: b'[{"sensor": "' + b"o" * 40_000_000 + b'"}]',
    "deep.json": lambda: b"[" * 5_000_000,
    "deep-records.json": lambda: b"[" + b'{"a":' * 3_000_000,
    "open.json": lambda: b'[{"sensor": "' + b"[" * 40_000_000,
    "bomb.arrow": lambda: arrow(20_000_000),
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_what_grows_beyond_all_measure_is_refused_in_one_line_within_the_limits(tmp_path: Path, name: str) -> None:
    refusal, peak = delivered_alone(tmp_path / "delivered", name, BOMBS[name]())
    assert refusal.startswith(f"{name!r} ")
    assert peak < LIMITS.memory_mb << 10


def flipped(whole: bytes, seed: int) -> bytes:
    dice, content = random.Random(seed), bytearray(whole)
    for _ in range(8):
        content[dice.randrange(len(content))] = dice.randrange(256)
    return bytes(content)


def many(write: Callable[[pl.DataFrame, io.BytesIO], None]) -> bytes:
    buffer = io.BytesIO()
    write(pl.DataFrame({"sensor": ["abc"] * 5000, "count": range(5000), "level": [0.5] * 5000}), buffer)
    return buffer.getvalue()


def stream(frame: pl.DataFrame, buffer: io.BytesIO) -> None:
    table = frame.to_arrow()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)


WHOLE: dict[str, bytes] = {
    "x.xlsx": PLAIN_BOOK,
    "x.arrow": many(lambda frame, buffer: frame.write_ipc(buffer)),
    "x.ipc": many(stream),
    "x.json": many(lambda frame, buffer: frame.write_json(buffer)),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", WHOLE)
def test_a_flipped_file_never_takes_the_worker_along(tmp_path: Path, name: str, seed: int) -> None:
    try:
        deliver(tmp_path, name, flipped(WHOLE[name], seed))
    except Refused as refusal:
        assert "\n" not in str(refusal)  # noqa: PT017


@pytest.mark.parametrize("make", [pa.ipc.new_file, pa.ipc.new_stream])
def test_a_pickled_extension_type_in_arrow_executes_nothing(
    tmp_path: Path, make: Callable[..., pa.ipc.RecordBatchWriter]
) -> None:
    trap = tmp_path / "trap"

    class Payload:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {trap}",)

    mark = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Payload(), protocol=0),
    }
    fields = [pa.field("sensor", pa.string()), pa.field("count", pa.int64(), metadata=mark), pa.field("level", pa.float64())]
    table, buffer = pa.table([["one"], [1], [1.5]], schema=pa.schema(fields)), io.BytesIO()
    with make(buffer, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(Refused, match="'count' is Unknown"):
        deliver(tmp_path, "typed.arrow", buffer.getvalue())
    assert not trap.exists()


def test_a_workbook_s_formulas_links_and_entities_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("one")
    entity = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file://{secret}">]>'
    row = '<row r="1"><c r="A1" t="inlineStr"><is><t>&e;</t></is></c></row>'
    sheet = SHEET.format("", row).replace('<?xml version="1.0"?>', entity)
    folder = tmp_path / "a"
    folder.mkdir()
    with pytest.raises(Refused) as refused:
        deliver(folder, "x.xlsx", replaced(HEADER, sheet.encode()))
    assert "\n" not in str(refused.value)
    assert "'one'" not in str(refused.value)

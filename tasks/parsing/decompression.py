"""The bytes of a file behind its compression, in bounded pieces, and the format that its name claims."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from schemas.errors import Refused

PIECE = 1 << 22
HEAD = 8  # bytes that tell formats apart
FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".dat": "csv",
    ".data": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xlsb": "excel",
    ".xls": "excel",
    ".ods": "excel",
}
# Names that are given to files of many makes: what the reader declares goes before them.
LOOSE = (".txt", ".dat", ".data", ".json", ".xls")
BINARY = ("parquet", "arrow", "excel")  # formats that have a compression of their own
COMPRESSIONS = (".gz", ".zip", ".zst")
MAGIC = {
    b"\x1f\x8b": "gzip (.gz)",
    b"PK\x03\x04": "a zip file (.zip)",
    b"\x28\xb5\x2f\xfd": "zstd (.zst)",
    b"PAR1": "Parquet (.parquet)",
    b"ARROW1": "Arrow (.arrow)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
}
FIRST_BYTES = {
    ".gz": (b"\x1f\x8b",),
    ".zip": (b"PK",),
    ".zst": (b"\x28\xb5\x2f\xfd",),
    "parquet": (b"PAR1",),
    "arrow": (b"ARROW1", b"\xff\xff\xff\xff"),
    "excel": (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"),
}

# A file may unpack to this many times its size. Tables of text shrink by 3 to 50; deflate's limit, all zeros, is 1032.
RATIO = 250
ALWAYS_ALLOWED = 1 << 26


def format_of(name: str, declared: str | None = None) -> tuple[str, str]:
    """Format and compression ('' for none) by the file's name.

    Args:
        name: The file's name.
        declared: The format of files whose name does not tell it; None for none.

    Returns:
        Format and compression, like `csv` and `gz`.

    Raises:
        Refused: The name claims no known format.
    """
    lower = name.lower()
    compression = next((end for end in COMPRESSIONS if lower.endswith(end)), "")
    stem = lower.removesuffix(compression)
    form = next((kind for end, kind in FORMATS.items() if stem.endswith(end)), None)
    if form is None or (declared in FORMATS.values() and stem.endswith(LOOSE)):
        form = declared or form
    if form is None and compression == ".zip":
        form = "csv"
    if form is None or (form in BINARY and compression):
        kinds = "csv, jsonl (ndjson) and json, each also as gz, zip or zst, parquet, arrow (feather, ipc), xlsx, xls and ods"
        raise Refused(
            f"cannot tell the format of {name!r} by its name; known are {kinds}; "
            'for another name let the input say reader=Reader(format="csv")'
        )
    return form, compression


def check_magic(head: bytes, name: str, form: str, compression: str) -> None:
    """Refuse a file whose first bytes say that it is something else than its name claims."""
    claimed = FIRST_BYTES.get(compression or form)
    if claimed and not head.startswith(claimed):
        raise Refused(f"{name!r} is not what its name says: its first bytes are not those of {compression or form}")
    if not claimed:
        for magic, kind in MAGIC.items():
            if head.startswith(magic):
                raise Refused(f"{name!r} is not text: its first bytes are those of {kind}; name it so")


def capped(unpacked: Iterable[bytes], name: str, size: int) -> Iterator[bytes]:
    """Unpacked bytes, as long as they are no more than a file of that many bytes holds.

    Args:
        unpacked: Pieces of bytes.
        name: The file's name, for the message.
        size: The packed file's size in bytes.

    Yields:
        The pieces.

    Raises:
        Refused: They are more.
    """
    seen, cap = 0, max(ALWAYS_ALLOWED, RATIO * size)
    for piece in unpacked:
        seen += len(piece)
        if seen > cap:
            raise Refused(f"{name!r} unpacks to more than {RATIO} times its size; if it is meant so, bring it unpacked")
        yield piece


def pieces(path: Path, name: str, form: str, compression: str) -> Iterator[bytes]:
    """The unpacked bytes in order.

    Args:
        path: Where the file lies.
        name: The file's name, for messages.
        form: The format, as `format_of` gives it.
        compression: The compression, as `format_of` gives it.

    Yields:
        Pieces of bytes.

    Raises:
        Refused: The file is damaged, cut off or grows too large.
    """
    with path.open("rb") as file:
        check_magic(file.read(HEAD), name, form, compression)
        file.seek(0)
        opened = {"": plain, ".gz": _gunzipped, ".zip": _unzipped, ".zst": _unzstd}[compression]
        try:
            unpacked = opened(file)
            yield from capped(unpacked, name, path.stat().st_size) if compression else unpacked
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise Refused(f"{name!r} cannot be unpacked ({error}); is it complete?") from None


def plain(file: IO[bytes]) -> Iterator[bytes]:
    """An open file's bytes in pieces."""
    while piece := file.read(PIECE):
        yield piece


def _gunzipped(file: IO[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file) as unpacked:
        while piece := unpacked.read(PIECE):
            yield piece


def _unzipped(file: IO[bytes]) -> Iterator[bytes]:
    with zipfile.ZipFile(file) as archive:
        members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
        if len(members) != 1:
            raise zipfile.BadZipFile(f"it holds {len(members)} files, not one")
        with archive.open(members[0]) as unpacked:
            yield from plain(unpacked)


def _unzstd(file: IO[bytes]) -> Iterator[bytes]:
    """By hand, because the library's stream reader takes a truncated frame for a complete one."""
    import zstandard

    context = zstandard.ZstdDecompressor()
    frame = None
    try:
        while packed := file.read(512):  # a block of four bytes can grow to 128 kB
            while packed:
                frame = frame or context.decompressobj()
                yield frame.decompress(packed)
                packed, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    except zstandard.ZstdError as error:
        raise zlib.error(str(error)) from None
    if frame is not None:
        raise EOFError("the last frame is cut off")

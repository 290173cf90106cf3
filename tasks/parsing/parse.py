"""Sources: found, hashed, and parsed in a child process with limits. Nothing here trusts what a file says of itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from schemas.errors import Refused, UsageError
from schemas.reader import PLAIN, Reader, describe_reader
from schemas.refs import Source
from tasks.parsing.parquet_folder import folder_files
from tasks.parsing.parse_process import too_large
from tasks.temp_files import no_room

if TYPE_CHECKING:
    from schemas.contract import Contract

INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH", "POLARS_MAX_THREADS")


class SourceChanged(Refused):
    """The file is not the one that was hashed: it was written to meanwhile. Ingest it again when its writer is done."""

    transient = True


@dataclass(frozen=True)
class Limits:
    """What the parsing child may use: memory in MiB, wall time in seconds."""

    memory_mb: int = 4096
    seconds: int = 600


@dataclass(frozen=True)
class Parsed:
    """A source as Parquet parts: the contract's `columns` that it has, in contract order, then `_row` and `_untyped`.

    `_row` numbers the source's rows from 1; `_untyped` lists column and original text of each value that could not be typed
    (its typed value is null); a record that could not be split into columns has one entry with a null column.
    """

    parts: tuple[Path, ...]
    rows: int
    columns: tuple[str, ...] = ()
    source_sha256: str = ""


def fingerprint(path: Path) -> Source:
    """Name, size and SHA-256 of a regular file, or of a folder of Parquet files.

    A folder's hash is that of the names and hashes of its files: the same files make the same source.

    Args:
        path: Where it lies; links are followed.

    Returns:
        The source: its real path, name, SHA-256 and size in bytes.

    Raises:
        UsageError: It cannot be read, or is no regular file.
    """
    real = path.resolve()
    try:
        if not real.is_dir():
            digest, size = _digest(real, path)
            return Source(path=str(real), name=path.name, sha256=digest, size=size)
        each = [(file.relative_to(real).as_posix(), *_digest(file, file)) for file in folder_files(real)]
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    digest = hashlib.sha256("".join(f"{name}\0{sha256}\n" for name, sha256, _ in each).encode()).hexdigest()
    return Source(path=str(real), name=real.name, sha256=digest, size=sum(size for *_, size in each))


def _digest(real: Path, path: Path) -> tuple[str, int]:
    with open(real, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UsageError(f"cannot read {str(path)!r}: it is not a regular file")
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def parse_source(
    source: Source, contract: type[Contract], folder: Path, limits: Limits | None = None, reader: Reader = PLAIN
) -> Parsed:
    """The source as typed parts in `folder`, read by a child process with limits.

    A file of no bytes or no rows gives no parts. Where the contract's `strict` is not True, columns that it does not know
    are left out.

    Args:
        source: The file, with its size in bytes and its SHA-256.
        contract: The contract.
        folder: Where the files are written.
        limits: Memory in MiB and time in seconds of the child; None for the usual ones.
        reader: How the file is written.

    Returns:
        The parts, the number of rows, and the columns that the source has.

    Raises:
        Refused: The file cannot be read as the contract's columns within the limits.
        SourceChanged: Its bytes are not those that were hashed, even at a second reading.
        StoreError: There is no room for the parts.
    """
    for _ in range(2):
        before = _identity(source.path)
        outcome = _attempt(source, contract, folder / "parsed", limits or Limits(), reader)
        if fingerprint(Path(source.path)).sha256 == source.sha256 and _identity(source.path) == before:
            if isinstance(outcome, Refused):
                raise outcome
            return outcome
    raise SourceChanged(f"{source.name!r} changed while it was read; ingest it again when its writer is done")


def _identity(path: str) -> list[tuple[int, ...]]:
    """Which file this is and when it last changed: one that is changed and changed back has its old hash, not its time."""
    place = Path(path)
    try:
        return [_stamp(each) for each in ([place, *folder_files(place)] if place.is_dir() else [place])]
    except OSError as error:
        raise UsageError(f"cannot read {path!r}: {error.strerror or error}") from None


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _attempt(source: Source, contract: type[Contract], folder: Path, limits: Limits, reader: Reader) -> Parsed | Refused:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    schema = contract.to_schema()
    pl.DataFrame(schema=contract.dtypes()).write_ipc(folder / "schema.arrow")
    plan = {
        "path": source.path,
        "name": source.name,
        "required": [name for name, spec in schema.columns.items() if spec.required],
        "strict": schema.strict is True,
        "reader": describe_reader(reader),
        "memory_mb": limits.memory_mb,
        "seconds": limits.seconds,
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    outcome = _in_child(folder, source.name, limits)
    if "full" in outcome:
        raise no_room(f"write what was read of {source.name!r} ({outcome['full']})")
    if "refused" in outcome:
        return Refused(outcome["refused"])
    parts = tuple(folder / name for name in outcome["parts"])
    return Parsed(parts, outcome["rows"], tuple(outcome["columns"]), source.sha256)


def _in_child(folder: Path, name: str, limits: Limits) -> dict[str, Any]:
    """Run the child to its end or to its time limit and return what it says. The environment's secrets stay here."""
    root = Path(str(files("tasks"))).parent
    found_in = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))  # so that `tasks` is this one
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "tasks.parsing.parse_process", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={key: os.environ[key] for key in INHERITED if key in os.environ}
        | {"RUST_BACKTRACE": "0", "PYTHONPATH": found_in},
        start_new_session=True,
    )
    try:
        said, complaints = child.communicate(timeout=limits.seconds)
    except subprocess.TimeoutExpired:
        return {"refused": _death(name, -signal.SIGALRM, b"", limits)}
    finally:
        child.kill()
        child.communicate()
    if child.returncode == 0:
        outcome: dict[str, Any] = json.loads(said)
        return outcome
    return {"refused": _death(name, child.returncode, complaints, limits)}


def _death(name: str, returncode: int, complaints: bytes, limits: Limits) -> str:
    if returncode == -signal.SIGALRM:
        return f"{name!r} was not read within {limits.seconds} s; raise PENSTOCK_PARSE_SECONDS (`seconds`) or split it"
    if b"memory allocation" in complaints or b"MemoryError" in complaints:
        return too_large(name, limits.memory_mb)
    last = complaints.decode(errors="replace").strip().splitlines()[-1:] or [""]
    return f"{name!r} ended its reader (exit code {returncode}); is it damaged? {last[0][:200]}".rstrip()

"""A small contract and the delivery of a file to it, in this process or in one that is forked for it.

Nothing is computed at import: a process that has used a thread pool of Polars cannot fork children that use it.
"""

from __future__ import annotations

from pathlib import Path

from schemas.contract import Contract, column
from tasks.parsing.parse import Limits, Parsed, fingerprint, parse_source
from tests.faults.children import run, said

LIMITS = Limits(memory_mb=768, seconds=60)


class Reading(Contract):
    sensor: str = column(str_matches="^[a-z]+$")
    count: int = column(ge=0, le=1000)
    level: float = column(nullable=True, ge=0, le=1e6)


# In a process of its own: the peak that a process is told of is the largest of all its children so far.
DELIVER = """
import resource, sys
from pathlib import Path
from schemas.errors import Refused
from tests.faults.reading import deliver
folder, content = map(Path, sys.argv[1:])
try:
    print(deliver(folder, content.name, content.read_bytes()).rows)
except Refused as refusal:
    print(refusal)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def deliver(folder: Path, name: str, content: bytes) -> Parsed:
    """Parse a file of that content; whatever comes of it, the file stays as it was and nothing is left beside it."""
    landing = folder / "landing"
    landing.mkdir(exist_ok=True)
    path = landing / name
    path.write_bytes(content)
    try:
        return parse_source(fingerprint(path), Reading, folder / "work", LIMITS)
    finally:
        assert path.read_bytes() == content
        assert [p.name for p in landing.iterdir()] == [name]
        assert {p.name for p in folder.iterdir()} <= {"landing", "work"}


def delivered_alone(folder: Path, name: str, content: bytes) -> tuple[str, int]:
    """Parse it in a child. Returns the refusal, or how many rows were read, and the peak memory of the reader, KiB."""
    folder.mkdir()
    own = folder.with_name("content")
    own.mkdir()
    (own / name).write_bytes(content)
    told, peak = said(run(DELIVER, str(folder), str(own / name))).splitlines()
    return told, int(peak)

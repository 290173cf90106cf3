"""The audit of files: beside one hand-written fused scan, where every row is bad, and of more rows than memory holds.

    python -m tests.benches.audit_files          a file of 1M rows, good and 5% bad; 1M and 2M rows that fail 14 checks each
    python -m tests.benches.audit_files large    100M rows of Parquet with a unique key: some minutes, and 2 GB of disk

Prints wall and processor seconds with their ratios to the scan, and the peak memory of process and parsing child.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from schemas.contract import Contract, column
from schemas.usecase import Input
from schemas.verdicts import AuditVerdict
from tasks.contracts.audit import audit_parts
from tasks.parsing.parse import Limits, fingerprint, parse_source
from tests.benches.audit import FLOATS, Table, best, passes, table

LARGE = 100_000_000
PIECE = 2_000_000
PATIENT = Limits(memory_mb=4096, seconds=36_000)
MiB = 1024  # of ru_maxrss


class Narrow(Contract):
    """What a hundred million rows are made of."""

    id: int = column(ge=0)
    value: float = column(ge=0, le=100)
    word: str = column(isin=("aa", "bb", "cc", "dd"))

    class Config:
        unique = ["id"]


def ours(path: Path, folder: Path, contract: type[Contract] = Table) -> AuditVerdict:
    """Hash, parse in a child, audit, write both halves."""
    spec = Input(name="table", contract=contract, max_rejected_share=1.0)
    parsed = parse_source(fingerprint(path), contract, folder, PATIENT)
    return audit_parts(parsed, spec, folder / "audited").verdict


def scan(path: Path, folder: Path) -> None:
    """The same by hand: one scan that judges each row once and writes it to its half; without hash, child and reasons."""
    judged = pl.scan_parquet(path).with_columns(passes().alias("_good"))
    good, bad = judged.filter("_good").drop("_good"), judged.filter(~pl.col("_good")).drop("_good")
    halves = [good.sink_parquet(folder / "good.parquet", lazy=True), bad.sink_parquet(folder / "bad.parquet", lazy=True)]
    pl.collect_all(halves)


def compare(rows: int, bad: float) -> None:
    """One file, in turns."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "table.parquet"
        table(rows, bad).write_parquet(path)
        runs: dict[str, Callable[[], object]] = {"one scan": partial(scan, path, folder)}
        runs["penstock"] = partial(ours, path, folder / "ours")
        found = best(runs, 5)
    wall, spent = found["one scan"]
    print(f"{rows:,} rows x 20 columns from Parquet to Parquet, {bad:.0%} bad")
    for who, (seconds, processor) in found.items():
        print(
            f"  {who:12} {seconds:6.3f} s {seconds / wall:5.2f} x   processor {processor:6.3f} s {processor / spent:5.2f} x"
        )


def all_bad(rows: int) -> None:
    """Every row fails fourteen checks."""
    frame = table(rows, 0.0).with_columns(
        *(pl.lit(-1.0).alias(f"f{at}") for at in range(FLOATS)),
        *(pl.lit(-1).alias(f"i{at}") for at in range(4)),
        pl.lit("zz").alias("s0"),
        pl.lit("too long").alias("s2"),
    )
    measured("all rows fail 14 checks", frame, Table)


def large(rows: int) -> None:
    """More rows than memory holds, among them two with one key, far apart."""
    with TemporaryDirectory() as name:
        path = Path(name, "large.parquet")
        piece = pl.int_range(PIECE, dtype=pl.Int64, eager=True)
        made = [
            pl.LazyFrame({"id": piece + first}).with_columns(
                (pl.col("id") % 1009 / 11).alias("value"), pl.lit("bb").alias("word")
            )
            for first in range(0, rows - 1, PIECE)
        ]
        last = pl.LazyFrame({"id": [7], "value": [1.0], "word": ["cc"]})
        pl.concat([*made, last]).sink_parquet(path, row_group_size=PIECE // 8, maintain_order=True)
        report(f"{rows + 1:,} rows", path, Narrow)


def measured(what: str, frame: pl.DataFrame, contract: type[Contract]) -> None:
    """The peak of a fresh process that audits this frame from a file."""
    with TemporaryDirectory() as name:
        path = Path(name, "table.parquet")
        frame.write_parquet(path)
        report(f"{frame.height:,} rows, {what}", path, contract)


def report(what: str, path: Path, contract: type[Contract]) -> None:
    """Run `tell` in a process of its own."""
    command = [sys.executable, "-m", "tests.benches.audit_files", "tell", str(path), contract.__name__]
    print(f"{what}: {subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}", flush=True)


def tell(path: Path, contract: type[Contract]) -> None:
    """Audit a file and print its counts and the peak memory of this process and its child."""
    verdict = ours(path, path.parent / "work", contract)
    peaks = [resource.getrusage(who).ru_maxrss // MiB for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"{verdict.accepted:,} accepted + {verdict.rejected:,} rejected, peak {peaks[0]:,} MiB, child {peaks[1]:,} MiB")


def main(*asked: str) -> None:
    """Print all, or only the large one."""
    if asked[:1] == ("large",):
        large(int(asked[1]) if len(asked) > 1 else LARGE)
        return
    for bad in (0.0, 0.05):
        compare(1_000_000, bad)
    for rows in (1_000_000, 2_000_000):
        all_bad(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["tell"]:
        tell(Path(sys.argv[2]), {"Table": Table, "Narrow": Narrow}[sys.argv[3]])
    else:
        main(*sys.argv[1:])

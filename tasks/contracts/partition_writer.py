"""The two halves of an audited source as Parquet files, one partition a file, with a bounded number of rows in memory."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

CELLS = 1 << 24
PARTITION = "_partition"


@dataclass(frozen=True)
class Part:
    """A file of rows of one partition."""

    path: Path
    partition: str
    rows: int
    sha256: str


class PartitionWriter:
    """Takes rows with their `_partition` in order and writes them to `folder`; `close` gives the files.

    Every file carries the source's hash: two sources never make the same file, and one source always the same ones.
    """

    def __init__(self, folder: Path, source_sha256: str) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._metadata = {"penstock.source_sha256": source_sha256}
        self._waiting: dict[str, list[pl.DataFrame]] = defaultdict(list)
        self._scraps: dict[str, list[Path]] = defaultdict(list)
        self._cells = 0
        self._parts: list[Part] = []
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Take rows; the fullest partitions go to disk when too much waits."""
        self.rows += frame.height
        for name, rows in _by_partition(frame):
            self._waiting[name].append(rows)
            self._cells += rows.height * rows.width
        while self._cells > CELLS:
            self._relieve(max(self._waiting, key=lambda name: sum(f.height for f in self._waiting[name])))

    def close(self) -> tuple[Part, ...]:
        """Write what waits and return all files, by partition."""
        for name in sorted({*self._waiting, *self._scraps}):
            frames: list[pl.DataFrame] = []
            for scrap in self._scraps[name]:
                frames.append(pl.read_parquet(scrap))
                scrap.unlink()
                if _cells(frames) > CELLS // 4:
                    self._write(name, frames)
                    frames = []
            self._write(name, frames + self._waiting.pop(name, []))
        return tuple(sorted(self._parts, key=lambda part: part.partition))

    def _relieve(self, partition: str) -> None:
        """Write a file where there are rows enough for a good one, else a scrap that is joined with others at the end."""
        frames = self._waiting.pop(partition)
        self._cells -= _cells(frames)
        if _cells(frames) > CELLS // 4:
            self._write(partition, frames)
            return
        scrap = self._folder / f"{partition}-{len(self._scraps[partition])}.scrap"
        pl.concat(frames).write_parquet(scrap, compression="lz4")
        self._scraps[partition].append(scrap)

    def _write(self, partition: str, frames: list[pl.DataFrame]) -> None:
        if not frames:
            return
        frame = pl.concat(frames, rechunk=True)
        path = self._folder / f"{len(self._parts):06}.parquet"
        frame.write_parquet(path, metadata=self._metadata)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._parts.append(Part(path, partition, frame.height, digest))


def _by_partition(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of each partition in order; where there is only one, they are not copied."""
    names = frame[PARTITION]
    if frame.height and (names == names[0]).all():
        yield str(names[0]), frame.drop(PARTITION)
        return
    for (name,), rows in frame.partition_by(PARTITION, as_dict=True, include_key=False, maintain_order=True).items():
        yield str(name), rows


def _cells(frames: list[pl.DataFrame]) -> int:
    return sum(frame.height * frame.width for frame in frames)

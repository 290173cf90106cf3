"""Rows in files, for what does not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

SAMPLED = 1 << 17


@dataclass(frozen=True)
class Spilled:
    """Rows in files, in canonical order: those of `files` for which `keep` holds. `name` tells two of a folder apart."""

    name: str
    files: tuple[Path, ...]
    keep: pl.Expr
    height: int
    outcomes: int
    schema: Mapping[str, pl.DataType]

    @property
    def folder(self) -> Path:
        """Where the files lie; what is cached of them lies there too."""
        return self.files[0].parent

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows, file by file."""
        for file in self.files:
            yield pl.read_parquet(file).filter(self.keep)

    def sample(self, rows: int = SAMPLED) -> pl.DataFrame:
        """About that many of them, evenly spread, and always the last."""
        every, passed, samples = max(1, -(-self.height // rows)), 0, []
        for frame in self.frames():
            samples.append(frame.gather_every(every, (every - 1 - passed) % every))
            passed += frame.height
        return pl.concat(samples) if self.height % every == 0 else pl.concat([*samples, frame.tail(1)])


Rows = pl.DataFrame | Spilled

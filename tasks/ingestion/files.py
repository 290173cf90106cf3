"""Local files as sources: a path or a glob, a folder of Parquet files, or a frame that becomes a file."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl

from schemas.errors import UsageError
from tasks.parsing import fingerprint, folder_files, is_parquet_folder

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


def locate(source: str | Path, root: Path | None = None) -> list[Path]:
    """The files that a path or a glob names, resolved and sorted. A folder of Parquet files is one source, like a file.

    A glob takes a folder for a source where its name ends like that of a Parquet file. With `root`, each must lie below it
    after its links are followed.

    Args:
        source: A path or a glob; `~` is the home folder.
        root: A folder that no file may lie outside of, after its links are followed.

    Returns:
        The files, resolved and sorted.

    Raises:
        UsageError: There is none, it is a folder of other files, or it leads out of `root`.
    """
    text = str(source)
    if "\0" in text or not text.strip():
        raise UsageError(f"cannot read {text!r}: that is no file name")
    path = Path(text).expanduser()
    if path.is_dir():
        folder_files(path)
        files = [path.resolve()]
    else:
        candidates = [path] if path.exists() else [Path(p) for p in glob.glob(str(path), recursive=True)]
        folders = {p.resolve() for p in candidates if is_parquet_folder(p)}
        single = {p.resolve() for p in candidates if p.is_file()}
        files = sorted(folders | {p for p in single if folders.isdisjoint(p.parents)})
    if not files:
        raise UsageError(f"cannot read {text!r}: no such file in {Path.cwd()}, and as a pattern it matches none")
    if root is not None and (outside := [p for p in files if not p.is_relative_to(root.resolve())]):
        raise UsageError(f"cannot read {text!r}: {outside[0].name!r} leads out of {root}")
    return files


def frame_source(frame: pl.DataFrame | pl.LazyFrame | pd.DataFrame, folder: Path, name: str) -> Path:
    """Write a frame as `<name>-<hash>.parquet` in `folder`, so that it is a source like any other.

    The same rows give the same file, and no two frames share one.

    Args:
        frame: The rows, as polars or pandas holds them.
        folder: Where the file is written; made where it is missing.
        name: The file's name before its hash: letters, digits, dots, dashes and underscores.

    Returns:
        Path of the file.

    Raises:
        UsageError: The name is not one of these.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"cannot name a source {name!r}: letters, digits, dots, dashes and underscores, 101 at most")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".frame-") as scratch:
        unfinished = Path(scratch, "frame.parquet")
        if isinstance(frame, pl.LazyFrame):
            frame.sink_parquet(unfinished)
        else:
            (frame if isinstance(frame, pl.DataFrame) else pl.from_pandas(frame)).write_parquet(unfinished)
        return unfinished.replace(folder / f"{name}-{fingerprint(unfinished).sha256[:12]}.parquet")

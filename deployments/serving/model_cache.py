"""The last verified model and its tables on this machine: what answers while the registry or the lake cannot be reached."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from deployments.serving.model_loader import Package
from schemas.errors import IntegrityError
from schemas.refs import ModelRef
from schemas.usecase import UseCase
from tasks.atomic_files import write_bytes_atomically, write_text_atomically
from tasks.inference.online import Table, Tables, build_table, table_schema

FORMAT = 1
POINTER = "current.json"


class Cache:
    """One folder; `current.json` names the package and the tables in it with their hashes, and is replaced in one step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, package: Package, tables: Tables, sample: pl.DataFrame) -> None:
        """Keep a verified model with its tables; whatever was kept before goes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        files = {
            "model.ubj": package.model,
            "golden.parquet": package.golden,
            "documents.json": json.dumps(dict(package.documents), default=str).encode(),
            "sample.parquet": _parquet(sample),
            **{f"table-{name}.parquet": _parquet(each.frame) for name, each in tables.items()},
        }
        hashes = {name: self._put(name, content) for name, content in files.items()}
        pointer = {
            "format_version": FORMAT,
            "ref": package.ref.model_dump(),
            "commits": {name: each.commit for name, each in tables.items()},
            "files": hashes,
        }
        write_text_atomically(self._folder / POINTER, json.dumps(pointer), durable=True)
        self._sweep(set(hashes.values()))

    def _put(self, name: str, content: bytes) -> str:
        stored = f"{hashlib.sha256(content).hexdigest()}-{name}"
        path = self._folder / stored
        if not path.exists():
            write_bytes_atomically(path, content, durable=True)
        return stored

    def _sweep(self, kept: set[str]) -> None:
        for path in self._folder.iterdir():
            if path.is_file() and path.name != POINTER and path.name not in kept:
                path.unlink(missing_ok=True)

    def documents(self) -> dict[str, Any]:
        """The documents of the model kept last; none where none was kept. Raises IntegrityError."""
        with self._reading():
            if (pointer := self._pointer()) is None:
                return {}
            kept: dict[str, Any] = json.loads(self._checked(pointer["files"]["documents.json"]))
            return kept

    def load(self, case_of: Callable[[Package], UseCase]) -> tuple[Package, Tables, pl.DataFrame] | None:
        """The model kept last, its tables and a sample of rows, hash-checked; None where none was kept.

        `case_of` gives the use case as a version has it. Raises IntegrityError where a file is not what was kept, and what
        `case_of` raises.
        """
        with self._reading():
            if (pointer := self._pointer()) is None:
                return None
            files = {name: self._checked(file) for name, file in pointer["files"].items()}
            documents = json.loads(files["documents.json"])
            package = Package(ModelRef(**pointer["ref"]), files["model.ubj"], files["golden.parquet"], documents)
            case = case_of(package)
            tables = {
                name: _table(case, name, files[f"table-{name}.parquet"], commit)
                for name, commit in pointer["commits"].items()
            }
            return package, tables, _frame(files["sample.parquet"])

    def _pointer(self) -> dict[str, Any] | None:
        try:
            pointer: dict[str, Any] = json.loads((self._folder / POINTER).read_text())
        except FileNotFoundError:
            return None
        return pointer

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
            raise IntegrityError(f"the kept model in {self._folder} cannot be read ({error}); remove that folder") from None

    def _checked(self, name: str) -> bytes:
        content = (self._folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != name.partition("-")[0]:
            raise IntegrityError(f"{self._folder / name} has changed since it was kept; remove that folder")
        return content


def _table(case: UseCase, name: str, content: bytes, commit: str) -> Table:
    schema = table_schema(case, name)
    return build_table(case, name, _frame(content).select(*schema).cast(schema), commit)  # type: ignore[arg-type]


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _frame(content: Any) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(content))

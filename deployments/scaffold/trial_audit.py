"""A drafted module tried on the file it came from, before anything is written: it loads, audits, and makes features."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from deployments.scaffold.sampling import Sample
from schemas.errors import Refused, UsageError
from schemas.reader import Reader
from schemas.usecase import UseCase
from schemas.verdicts import AuditVerdict
from tasks.contracts import audit_parts, with_row_keys
from tasks.ingestion import frame_source
from tasks.parsing import Limits, fingerprint, parse_source


def check(module: str, constant: str, sample: Sample, path: Path, limits: Limits) -> AuditVerdict:
    """What the contract of a module says about its own file, or about the first rows of a large one.

    Raises UsageError, one line, where ingestion refuses the file as a whole.
    """
    with TemporaryDirectory(prefix="penstock-") as scratch, loaded(module, constant, Path(scratch)) as case:
        spec = case.inputs[0]
        whole = sample.whole and sample.frame.height <= MOST_ROWS
        source = fingerprint(path if whole else _written(sample, Path(scratch)))
        reader = spec.reader if whole else _plain_layout(spec.reader)
        try:
            parsed = parse_source(source, spec.delivered, Path(scratch) / "parsed", limits, reader)
            audited = audit_parts(with_row_keys(parsed, spec, Path(scratch) / "keyed"), spec, Path(scratch) / "audited")
        except Refused as refusal:
            raise UsageError(str(refusal)) from None
        for part in audited.accepted[:1]:
            features = [expression.alias(name) for name, expression in case.features.items()]
            pl.scan_parquet(part.path).select(*features, case.target.value.alias("_target")).collect()
        return audited.verdict


def _plain_layout(reader: Reader) -> Reader:
    """A reader of the same values in a file of plain layout, under the contract's names."""
    values = ("decimal", "thousands", "missing", "strip", "columns")
    return Reader(**{name: getattr(reader, name) for name in values})


def _written(sample: Sample, folder: Path) -> Path:
    frame = sample.frame.head(MOST_ROWS)
    if sample.form == "parquet":
        return frame_source(frame, folder, "sample")
    path = folder / f"sample.{sample.form}"
    if sample.form == "csv":
        frame.write_csv(path)
    else:
        frame.write_ndjson(path)
    return path


MOST_ROWS = 200_000  # types, ranges and the key were found over all rows


@contextmanager
def loaded(module: str, constant: str, folder: Path) -> Iterator[UseCase]:
    """The use case of a module's source, loaded from a scratch file under a name of its own."""
    name = f"_penstock_draft_{constant.lower()}"
    path = folder / f"{name}.py"
    path.write_text(module, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    loaded_module = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded_module
    try:
        spec.loader.exec_module(loaded_module)
        yield getattr(loaded_module, constant)
    finally:
        del sys.modules[name]

"""`penstock new` as a function: a file in, a use case's module and test out, tried on that file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from deployments.scaffold import render_module, render_test, source_code
from deployments.scaffold.contract_columns import Column
from deployments.scaffold.draft import Draft, NewUseCaseOptions, draft
from deployments.scaffold.location import Place, place_for
from deployments.scaffold.sampling import read
from deployments.scaffold.trial_audit import check
from deployments.scaffold.write_files import write_all
from schemas.errors import UsageError
from schemas.refs import Value
from schemas.row_key import ROW_COLUMNS
from schemas.verdicts import AuditVerdict, Kind

if TYPE_CHECKING:
    from tasks.parsing import Limits


SHOWN = 5


class ColumnSummary(Value):
    """A column of the file as the draft sees it."""

    name: str
    kind: str = Field(description="type of its values, or 'left out'")
    role: str
    why: str
    values: tuple[str, ...] = Field(description="some of its values as they are read; none of a private column")


class Drafted(Value):
    """A use case that was written, what was guessed, and what its contract says about the file it came from."""

    name: str
    target: str = Field(description="where it lies, as module:NAME")
    kind: Kind
    outcome: str
    classes: tuple[str, ...]
    key: tuple[str, ...]
    time: str | None
    features: tuple[str, ...]
    files: tuple[str, ...]
    notes: tuple[str, ...] = Field(description="what a person should confirm")
    reader: tuple[str, ...] = Field(description="what was seen of how the file is written")
    columns: tuple[ColumnSummary, ...]
    audit: AuditVerdict
    whole: bool = Field(description="whether the audit read all rows of the file")


def new_use_case(
    name: str, source: Path, options: NewUseCaseOptions, folder: Path, limits: Limits, *, force: bool = False
) -> Drafted:
    """Draft a use case from a file and write it where `folder` lies: into the project there, or into the folder itself.

    Raises UsageError, one line, with nothing written: a bad name, file, target or key, or files that are there already.
    """
    place = place_for(name, folder)
    _refuse_taken(place, force)
    sample = read(source, options.reader, options.target)
    drafted = draft(name, source.name, sample, options)
    with source_code.line_length(place.project.line_length if place.project else source_code.WIDTH):
        files = {place.module: render_module.module(drafted), place.test: render_test.source(drafted, place.package)}
    verdict = check(files[place.module], drafted.constant, sample, source, limits)
    if place.project:
        files[place.project.manifest] = place.project.with_use_case(name, f"{place.import_path}:{drafted.constant}")
    write_all(files)
    return _result(drafted, place, tuple(str(path.relative_to(place.root)) for path in files), verdict)


def _summary(column: Column) -> ColumnSummary:
    typed = column.profile.typed
    values = () if column.profile.is_personal else tuple(map(str, column.profile.examples(SHOWN)))
    why = "; ".join(filter(None, (typed.seen, column.note or column.guess)))
    return ColumnSummary(name=column.name, kind=typed.type, role=column.role, why=why, values=values)


def _gone(name: str, why: str) -> ColumnSummary:
    return ColumnSummary(name=name, kind="left out", role="none", why=why, values=())


def _refuse_taken(place: Place, force: bool) -> None:
    existing = [path for path in (place.module, place.test) if path.exists()]
    if existing and not force:
        raise UsageError(f"{existing[0].relative_to(place.root)} exists already; --force overwrites it")


def _result(drafted: Draft, place: Place, files: tuple[str, ...], verdict: AuditVerdict) -> Drafted:
    return Drafted(
        name=drafted.name,
        target=f"{place.import_path}:{drafted.constant}",
        kind=drafted.outcome.kind,
        outcome=drafted.outcome.column,
        classes=drafted.outcome.classes,
        key=drafted.key.columns or ROW_COLUMNS,
        time=drafted.clock.column if drafted.clock else None,
        features=tuple(name for name, _ in drafted.features),
        files=files,
        notes=drafted.notes,
        reader=drafted.seen,
        columns=(*map(_summary, drafted.columns), *(_gone(name, why) for name, why in drafted.left_out.items())),
        audit=verdict,
        whole=verdict.rows >= drafted.rows and drafted.whole,
    )

"""What is predicted: the kind of problem, its classes, and the expression of the outcome."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from deployments.scaffold.column_profile import Profile
from deployments.scaffold.source_code import quote
from schemas.errors import UsageError
from schemas.verdicts import Kind

FEW_NUMBERS = 10
MOST_CLASSES = 50
LEAST_BEGINNING = 12  # characters of a long name that a person typed only the beginning of
YES = (
    "true",
    "yes",
    "y",
    "t",
    "positive",
    "bad",
    "late",
    "churned",
    "fraud",
    "default",
    "ja",
    "oui",
    "si",
    "sí",
    "sim",
    "tak",
    "ano",
    "да",
    "wahr",
    "vrai",
    "verdadero",
    "x",
)


@dataclass(frozen=True)
class Outcome:
    """The target. `value` is code of a polars expression; `classes` are business words, (negative, positive) for binary."""

    profile: Profile
    kind: Kind
    value: str
    classes: tuple[str, ...] = ()
    note: str = ""

    @property
    def column(self) -> str:
        """The target's column."""
        return self.profile.name


def find_outcome(profiles: Sequence[Profile], target: str, kind: Kind | None) -> Outcome:
    """The outcome of a target column, of the kind that was told or that its values suggest.

    Raises UsageError for a column that is not there, is empty or constant, or does not fit the kind.
    """
    names = [p.name for p in profiles]
    target = meant_column(target, names) or target
    if target not in names:
        close = get_close_matches(target, names, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else f"; it has {_list(names)}"
        raise UsageError(f"--target {target}: the file has no such column{meant}")
    profile = profiles[names.index(target)]
    if profile.distinct < 2:
        only = f"holds only {profile.counts[0][0]!r}" if profile.distinct else "is empty"
        raise UsageError(f"--target {target}: {only}, so there is nothing to predict; bring rows with both outcomes")
    make = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}
    return make[kind or _guess(profile)](profile, stated=kind is not None)


def meant_column(name: str, names: Sequence[str]) -> str | None:
    """The column that a person means: its name but for blanks and case, its beginning, or its position if it has no name."""
    if name in names:
        return name
    if name.isdigit() and all(each.startswith("column_") for each in names):
        return f"column_{int(name)}" if f"column_{int(name)}" in names else None
    plain = _plain(name)
    alike = [each for each in names if _plain(each) == plain]
    begun = [each for each in names if _plain(each).startswith(plain)] if len(plain) > LEAST_BEGINNING else []
    return next((found[0] for found in (alike, begun) if len(found) == 1), None)


def _plain(name: str) -> str:
    return re.sub(r"\W+", " ", name).strip().casefold()


def _guess(profile: Profile) -> Kind:
    if profile.distinct == 2:
        return "binary"
    if profile.is_numeric:
        return "multiclass" if profile.type == "integer" and profile.distinct <= FEW_NUMBERS else "regression"
    return "multiclass"


def _binary(profile: Profile, stated: bool) -> Outcome:
    if profile.distinct != 2:
        raise UsageError(f"--kind binary: {profile.name!r} has {profile.distinct:,} different values, not two")
    column = f"pl.col({quote(profile.name)})"
    if profile.type == "flag":
        return Outcome(profile, "binary", column, (f"not {profile.name}", profile.name))
    positive, note = _positive(profile)
    negative = next(value for value, _ in profile.counts if value != positive)
    if profile.is_text:
        return Outcome(profile, "binary", f"{column} == {quote(str(positive))}", (str(negative), str(positive)), note)
    if not profile.is_numeric:
        raise UsageError(f"--target {profile.name}: holds dates, which are no classes; name a column of outcomes")
    classes = (f"{profile.name} {negative}", f"{profile.name} {positive}")
    if {negative, positive} == {0, 1}:
        classes = (f"not {profile.name}", profile.name)
    return Outcome(profile, "binary", f"{_number(profile)} == {positive!r}", classes, note)


def _positive(profile: Profile) -> tuple[object, str]:
    """The value that reads as a yes, or 1 beside 0; else the larger number or the rarer text."""
    values = [value for value, _ in profile.counts]
    if not profile.is_text:
        positive: Any = max(values, key=float)  # type: ignore[arg-type]
        return positive, "" if set(values) == {0, 1} else f"{positive!r} is the positive class, because it is larger"
    yes = [value for value in values if str(value).lower() in YES]
    if len(yes) == 1:
        return yes[0], ""
    return values[-1], f"{values[-1]!r} is the positive class, because it is the rarer one"


def _multiclass(profile: Profile, stated: bool) -> Outcome:
    name, column = profile.name, f"pl.col({quote(profile.name)})"
    if not (profile.is_text or profile.type == "integer"):
        raise UsageError(f"--target {name}: holds {profile.type} values, which are no classes; is it --kind regression?")
    if profile.distinct > min(MOST_CLASSES, profile.rows // 2):
        many = f"{profile.distinct:,} different values in {profile.rows:,} rows are no classes"
        raise UsageError(f"--target {name}: {many}; name a column with at most {MOST_CLASSES} of them")
    values = sorted(value for value, _ in profile.counts)  # type: ignore[type-var]
    guess = "" if stated or profile.is_text else "whole numbers as classes; --kind regression predicts the number"
    value = column if profile.is_text else f"{column}.cast(pl.String)"
    return Outcome(profile, "multiclass", value, tuple(map(str, values)), _rare(profile) or guess)


def _rare(profile: Profile) -> str:
    value, rows = profile.counts[-1]
    return f"class {str(value)!r} has only {rows} rows: enough to learn it?" if rows < 20 else ""


def _regression(profile: Profile, stated: bool) -> Outcome:
    if not profile.is_numeric:
        raise UsageError(f"--kind regression: {profile.name!r} holds {profile.type}, not numbers")
    return Outcome(profile, "regression", _number(profile))


def _number(profile: Profile) -> str:
    column = f"pl.col({quote(profile.name)})"
    return column if profile.type == "integer" else f"{column}.cast(pl.Float64)"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")

"""Each column of the file as a column of the contract: its checks, its role, and the features made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from deployments.scaffold import source_code
from deployments.scaffold.column_profile import Profile
from deployments.scaffold.key_detection import Key
from deployments.scaffold.leaks import leaks
from deployments.scaffold.ranges import bounds, is_share
from deployments.scaffold.target_detection import Outcome
from deployments.scaffold.time_detection import Clock
from schemas.verdicts import Leak
from tasks import evaluation

ANNOTATIONS = {
    "integer": "int",
    "number": "float",
    "flag": "bool",
    "date": "pl.Date",
    "moment": "Moment",
    "utc": "Utc",
    "clock": "pl.Time",
    "text": "str",
}
MEASURED = r"^[~<>+\-" + "\u2248\u00b1\u2212" + r"]?\s*\d[\d.,:'/ ]*\s*[^\d\s]{0,6}(\s*\d+[a-z'\"]{0,3})?$"
MOST = 0.9
TELLING_SHARE = 0.01
TWOS_EXPECTED = 8  # of a count whose ones are as frequent, if it is Poisson: none of them is seen in 1 of 3,000 files


CONFIRM = "confirm"
KNOWN = {"target": "outcome", CONFIRM: "confirm"}


@dataclass(frozen=True)
class Column:
    """A contract column: `checks` are arguments of column() as code, `values` a named tuple of its categories.

    Features of a column to confirm are written down and left out until somebody says that it is known in time.
    """

    profile: Profile
    role: str
    attribute: str
    annotation: str
    checks: tuple[tuple[str, str], ...] = ()
    values: tuple[str, tuple[str, ...]] | None = None
    features: tuple[tuple[str, str], ...] = ()
    note: str = ""
    guess: str = ""
    is_key: bool = False

    @property
    def name(self) -> str:
        """The column's name in the file."""
        return self.profile.name


def columns_of(
    profiles: Sequence[Profile], outcome: Outcome, key: Key, clock: Clock | None, taken: Iterable[str] = ()
) -> tuple[Column, ...]:
    """Every column of the file, in its order; `taken` are names that the module gives to other things."""
    used = set(taken)
    plain_first = sorted(profiles, key=lambda p: not source_code.is_own(p.name))
    attributes = {p.name: source_code.attribute(p.name, used) for p in plain_first}
    named = {p.name: source_code.attribute(attributes[p.name].upper(), used) for p in profiles}
    columns = [_column(p, attributes[p.name], named[p.name], outcome, key, clock) for p in profiles]
    found = leaks(profiles, {c.name for c in columns if c.features}, outcome, clock)
    return tuple(_with_leak(column, outcome, found.get(column.name)) for column in columns)


def _with_leak(column: Column, outcome: Outcome, leak: Leak | None) -> Column:
    """A column that may not be known before the outcome waits for a person's word; one that is only strong is named."""
    if leak is None or not leak.confirm:
        return replace(column, note=column.note or leak.why) if leak else column
    suspect = replace(column, role=CONFIRM, note=f"{evaluation.QUESTION} {leak.why}")
    return replace(suspect, checks=_checks(suspect, outcome)[0])


def _column(profile: Profile, attribute: str, named: str, outcome: Outcome, key: Key, clock: Clock | None) -> Column:
    role, note = _role(profile, outcome, key, clock)
    column = Column(profile, role, attribute, _annotation(profile), note=note, is_key=profile.name in key.columns)
    if role == "target" and profile.is_text and outcome.kind != "regression":
        column = replace(column, values=(named, tuple(sorted(str(value) for value, _ in profile.counts))))
    elif profile.categories and role == "feature":
        column = replace(column, values=(named, profile.categories))
    checks, guess = _checks(column, outcome)
    return replace(column, checks=checks, features=_features(column, clock), guess=guess)


def _role(profile: Profile, outcome: Outcome, key: Key, clock: Clock | None) -> tuple[str, str]:
    """What the column is for, and why where that is a guess."""
    if profile.name == outcome.column:
        return "target", ""
    if clock and profile.name == clock.column:
        return "time", ""
    if profile.rows == 0:
        return "empty", "nothing stands in it; its type is a guess"
    if len(key.columns) == 1 and profile.name in key.columns:
        return "key", ""
    if profile.distinct == 1 and profile.nulls < TELLING_SHARE * profile.rows:
        return "constant", "always the same, so no feature"
    if profile.distinct == 1:
        return "mark", "filled or not: that is what the feature says"
    if profile.is_free_text:
        return "free text", "sentences, so no feature"
    if _is_id(profile, key):
        return "id", _why_no_feature(profile)
    if profile.is_text and (cut := profile.distinct - len(profile.categories)) > 0:
        return "feature", f"{len(profile.categories):,} categories; {cut:,} rarer values are read as missing"
    why = f"{profile.not_finite:,} values are NaN or infinite: these rows are rejected" if profile.not_finite else ""
    return "feature", why


def _why_no_feature(profile: Profile) -> str:
    """Of an id that it is one; of other texts that they were not understood, with an example."""
    values = profile.values.drop_nulls()
    if not profile.is_text or profile.shape or profile.named_id or _share_of(values.str.contains(MEASURED)) < MOST:
        return "names one row or one thing, so no feature"
    return f"no number, date or category as far as could be seen (such as {values[0]!r}): --read can say what it is"


def _share_of(flags: pl.Series) -> float:
    return int(flags.sum()) / max(len(flags), 1)


def _is_id(profile: Profile, key: Key) -> bool:
    if profile.is_text:
        return not profile.categories
    mostly_unique = profile.distinct >= 0.9 * profile.rows
    return profile.type == "integer" and mostly_unique and (profile.named_id or profile.name in key.columns)


def _annotation(profile: Profile) -> str:
    if isinstance(profile.values.dtype, pl.Decimal):
        return f"Annotated[pl.Decimal, {profile.values.dtype.precision}, {profile.values.dtype.scale}]"
    if _has_nanoseconds(profile):
        return f'Annotated[pl.Datetime, "ns", {"None" if profile.type == "moment" else source_code.quote("UTC")}]'
    return ANNOTATIONS[profile.type]


def _has_nanoseconds(profile: Profile) -> bool:
    dtype = profile.values.dtype
    return (
        isinstance(dtype, pl.Datetime)
        and dtype.time_unit == "ns"
        and bool((profile.values.dt.nanosecond() % 1000 != 0).any())
    )


def _checks(column: Column, outcome: Outcome) -> tuple[tuple[tuple[str, str], ...], str]:
    """Arguments of column() as code, and the guess among them."""
    profile, checks = column.profile, []
    if column.attribute != profile.name:
        checks.append(("alias", source_code.quote(profile.name)))
    if known := KNOWN.get(column.role):
        checks.append(("known", source_code.quote(known)))
    if profile.is_personal:
        checks.append(("private", "True"))
    if (profile.nulls and not column.is_key) or column.role in ("target", CONFIRM, "empty"):
        checks.append(("nullable", "True"))
    rules, guess = _rules(column, outcome)
    return (*checks, *rules), guess


def _rules(column: Column, outcome: Outcome) -> tuple[list[tuple[str, str]], str]:
    profile = column.profile
    if column.role == "target" and outcome.kind != "regression" and profile.type != "flag":
        return [("isin", column.values[0] if column.values else _numbers(profile))], ""
    if profile.rows == 0:
        return [], ""
    if profile.is_numeric:
        return _range(profile, numbered=column.role in ("key", "id") or profile.named_id)
    return _text_rule(column) if profile.is_text else ([], "")


def _numbers(profile: Profile) -> str:
    return f"({', '.join(sorted((repr(value) for value, _ in profile.counts), key=float))})"


def _range(profile: Profile, *, numbered: bool) -> tuple[list[tuple[str, str]], str]:
    low, high = profile.extremes
    whole = profile.type == "integer"
    if low is None:
        return [], "no finite number stands in it"
    if whole and (low, high) == (0, 1):
        return _flag(profile)
    if numbered and whole and low >= 0:
        return [("ge", "0")], ""
    least, most = bounds(low, high, whole=whole)
    guess = "a share, from 0 to 1" if is_share(low, high, whole=whole) else ""
    return [("ge", repr(least)), ("le", repr(most))], guess


def _flag(profile: Profile) -> tuple[list[tuple[str, str]], str]:
    """0 and 1 alone: a flag where a count of events would have shown a 2 by now, else a count that may grow."""
    share = int((profile.values == 1).sum()) / profile.rows
    if profile.rows * share**2 / 2 >= TWOS_EXPECTED:
        return [("isin", "(0, 1)")], ""
    return [("ge", "0")], "0 and 1 so far: a flag, or a count that may be larger?"


def _text_rule(column: Column) -> tuple[list[tuple[str, str]], str]:
    profile = column.profile
    if column.values and profile.is_closed:
        return [("isin", column.values[0])], "these are all the values there can be"
    if profile.shape:
        return [
            ("str_matches", source_code.quote(profile.shape))
        ], "" if column.role == "key" else "all values have this form"
    longest = int(profile.values.str.len_chars().max() or 0)  # type: ignore[arg-type]
    most = max(10, -(-longest * 2 // 10) * 10)
    return [("str_length", f'{{"max_value": {most}}}')], ""


def _features(column: Column, clock: Clock | None) -> tuple[tuple[str, str], ...]:
    if column.role == "time" and clock:
        return _time_parts(column, clock)
    if column.role == "mark":
        return ((f"{_feature_name(column)}_filled", f"{_source(column)}.is_not_null().cast(pl.Float32)"),)
    if column.role != "feature":
        return ()
    if column.profile.is_time:
        return _date_feature(column, clock)
    makers: dict[str, Callable[[Column], str]] = {"text": _category, "clock": _hour}
    return ((_feature_name(column), makers.get(column.profile.type, _number)(column)),)


def _feature_name(column: Column) -> str:
    """The column's own name where it can be one; a part of the key needs another."""
    own = column.attribute if column.attribute.rstrip("_") != column.name else column.name
    return f"{own}_feature" if column.is_key else own


def _source(column: Column) -> str:
    return f"pl.col({source_code.quote(column.name)})"


def _number(column: Column) -> str:
    return f"{_source(column)}.cast(pl.Float32)"


def _category(column: Column) -> str:
    assert column.values
    return f"{_source(column)}.cast(pl.Enum({column.values[0]}), strict=False)"


def _hour(column: Column) -> str:
    return f"{_source(column)}.dt.hour().cast(pl.Float32)"


def _date_feature(column: Column, clock: Clock | None) -> tuple[tuple[str, str], ...]:
    """Days before the event; without an event time, days since 1970."""
    days = (
        (f"{column.attribute}_day", f"day_number({source_code.quote(column.name)})")
        if clock is None
        else (f"days_since_{column.attribute}", f"days_since({source_code.quote(column.name)})")
    )
    hours = column.profile.type != "date" and _varies(column.profile.values, "hour")
    return (days, (f"{column.attribute}_hour", _hour(column))) if hours else (days,)


def _time_parts(column: Column, clock: Clock) -> tuple[tuple[str, str], ...]:
    """Weekday and hour where they vary, month where the data holds each twice: otherwise it only tells old from new."""
    wanted = {"weekday": clock.days > 14, "hour": clock.type != "date", "month": clock.days > 730}
    parts = [part for part, due in wanted.items() if due and _varies(clock.values, part)]
    return tuple((f"{column.attribute}_{part}", f"{_source(column)}.dt.{part}().cast(pl.Float32)") for part in parts)


def _varies(values: pl.Series, part: str) -> bool:
    return int(getattr(values.dt, part)().n_unique()) > 1

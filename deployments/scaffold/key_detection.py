"""Which columns tell the rows apart: one that looks like an id, or the fewest columns that do it together, or the row.

Measurements that happen to differ are no key: the next file repeats one. Columns are one where so many rows without a pair
would be a wonder if it were chance (the birthday problem).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import gcd, prod

import polars as pl

from deployments.scaffold.column_profile import Profile
from schemas.errors import UsageError

NEARLY = 0.98
TOGETHER = 3
CANDIDATES = 14
PROBE = 20_000
WONDER = 10  # pairs that are expected and missing: e^-10 is the chance of that


@dataclass(frozen=True)
class Key:
    """The key columns, and how many rows the contract will reject for them: copies of a key, or a part missing.

    No columns: the row itself is the key.
    """

    columns: tuple[str, ...]
    rejected: int
    note: str = ""

    @property
    def by_row(self) -> bool:
        """Whether the row itself is the key."""
        return not self.columns

    def broken(self, rows: int) -> str:
        """What the contract will reject for the key, or ''."""
        if not self.rejected:
            return ""
        return f"{self.rejected:,} of {rows:,} rows share their key or miss a part of it: these are rejected"


def find_key(frame: pl.DataFrame, profiles: Sequence[Profile], target: str, time: str | None, named: Sequence[str]) -> Key:
    """The key that was told, or the one that the rows suggest.

    Raises UsageError for a told key that is no key.
    """
    usable = [p for p in profiles if p.name != target and p.distinct and _can_be_key(p)]
    if named:
        return _named_key(frame, profiles, target, named)
    distinct = frame.filter(frame.hash_rows().is_first_distinct())
    for key in (_single(distinct, usable), _together(distinct, usable, time)):
        if key:
            return Key(key.columns, broken(frame, key.columns), key.note)
    return Key((), 0, _why_the_row(distinct, usable))


def broken(frame: pl.DataFrame, columns: Sequence[str]) -> int:
    """Rows whose key is another row's too, or has a part missing."""
    whole = frame.select(columns).drop_nulls()
    once = whole.group_by(columns).len().filter(pl.col("len") == 1).height
    return frame.height - once


def _can_be_key(profile: Profile) -> bool:
    exact = profile.type not in ("number", "decimal", "flag", "clock")
    return exact and not profile.is_free_text


def _named_key(frame: pl.DataFrame, profiles: Sequence[Profile], target: str, named: Sequence[str]) -> Key:
    types = {p.name: p.type for p in profiles}
    columns = tuple(dict.fromkeys(part for name in named for part in ([name] if name in types else name.split(","))))
    if wrong := [c for c in columns if c not in types]:
        raise UsageError(f"--key {wrong[0]}: the file has no such column; it has {', '.join(types)}")
    if target in columns:
        raise UsageError(f"--key {target}: the target is not known when a row arrives, so it cannot be part of the key")
    if floats := [c for c in columns if types[c] in ("number", "decimal")]:
        raise UsageError(f"--key {floats[0]}: fractions are no key; name columns of whole numbers, text or times")
    rejected = broken(frame, columns)
    if rejected > (1 - NEARLY) * frame.height:
        share = f"{rejected:,} of {frame.height:,} rows share it with another row or miss a part of it"
        raise UsageError(f"--key {' --key '.join(columns)}: {share}; name more columns")
    return Key(columns, rejected)


def _single(frame: pl.DataFrame, usable: Sequence[Profile]) -> Key | None:
    """A column named like an id that is nearly unique; else a unique one that is formed or counts like one."""
    named = [p for p in usable if p.named_id and not p.is_time and _share(frame, p) >= NEARLY]
    if named:
        best = max(named, key=lambda p: _share(frame, p))
        return Key((best.name,), 0)
    formed = [p for p in usable if not p.is_time and _share(frame, p) == 1.0 and _is_formed(p)]
    return Key((formed[0].name,), 0, f"{formed[0].name!r} is unique and formed like an id") if formed else None


def _share(frame: pl.DataFrame, profile: Profile) -> float:
    """Share of rows whose value stands there only once."""
    counted = frame[profile.name].drop_nulls().value_counts(name="count")
    return counted.filter(pl.col("count") == 1).height / frame.height


def _is_formed(profile: Profile) -> bool:
    if profile.type != "integer":
        words = profile.values.drop_nulls().str.contains(r"\s").any() if profile.is_text else False
        return bool(profile.shape) and not profile.is_personal and not words
    values = profile.values
    return bool(values.max() - values.min() + 1 == len(values))  # type: ignore[operator]


def _together(frame: pl.DataFrame, usable: Sequence[Profile], time: str | None) -> Key | None:
    """The fewest columns whose values together are unique, and not by chance; those that look like parts of a key first."""
    fit = [p for p in usable if _is_part(p, frame.height)]
    parts = sorted(fit, key=lambda p: (p.name != time, not p.named_id, not p.is_time))[:CANDIDATES]
    probe = frame.head(PROBE)
    for size in range(1, TOGETHER + 1):
        for chosen in combinations(parts, size):
            names = [p.name for p in chosen]
            enough = prod(p.distinct for p in chosen) >= frame.height and expected_pairs(frame, chosen) >= WONDER
            if enough and _is_unique(probe, names) and _is_unique(frame, names):
                return Key(tuple(names), 0, f"the fewest columns that tell the {frame.height:,} rows apart")
    return None


def _is_part(profile: Profile, rows: int) -> bool:
    repeats = profile.distinct * 2 <= rows
    return profile.nulls == 0 and profile.distinct > 1 and (profile.is_time or profile.named_id or repeats)


def expected_pairs(frame: pl.DataFrame, chosen: Sequence[Profile]) -> float:
    """Pairs of rows that would be equal in these columns if each column's values were drawn by themselves.

    Args:
        frame: The rows.
        chosen: The columns.

    Returns:
        Their expected number: near 0 it says nothing that there is none.

    References:
        Mathis (1991), A generalized birthday problem.
    """
    return frame.height * (frame.height - 1) / 2 * prod(_chance_of_a_pair(p) for p in chosen)


def _chance_of_a_pair(profile: Profile) -> float:
    """How likely two rows have one value: by the values' frequencies, or by the places that they could have taken."""
    counts = profile.values.drop_nulls().value_counts(name="count")["count"].cast(pl.Float64)
    return max(float((counts / counts.sum()).pow(2).sum()), 1 / _places(profile.values.drop_nulls()))


def _places(values: pl.Series) -> float:
    """How many whole numbers, or moments of the values' own grain, lie between the first and the last."""
    if not (values.dtype.is_integer() or isinstance(values.dtype, (pl.Date, pl.Datetime))):
        return float("inf")
    numbers = values.to_physical().cast(pl.Int64).sort().unique()
    steps = numbers.diff().drop_nulls()
    grain = gcd(*steps.to_list()) if len(steps) else 1
    return float(numbers[-1] - numbers[0]) / max(grain, 1) + 1


def _is_unique(frame: pl.DataFrame, names: list[str]) -> bool:
    return frame.select(pl.struct(names).n_unique()).item() == frame.height  # type: ignore[no-any-return]


def _why_the_row(frame: pl.DataFrame, usable: Sequence[Profile]) -> str:
    unlike = [p.name for p in usable if p.nulls == 0 and _is_unique(frame, [p.name])]
    if unlike:
        return f"no column is an id ({', '.join(unlike[:3])}: unique here, perhaps by chance), so the row itself is the key"
    return f"no column tells the rows apart, nor do {TOGETHER} together, so the row itself is the key"

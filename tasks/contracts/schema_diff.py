"""How a contract changed: two described versions compared, and the version that a commit was audited with.

A change widens what the contract accepts, narrows it, or does neither; where a check was replaced by another of which it
cannot be told which accepts more, the change is unclear and counts as one that narrows. Numbers are compared as intervals
and lists as sets, so that `gt=0` turned into `in_range(0, 10)` is told as what it is.
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from schemas.evolution import Change, Effect

Described = Mapping[str, Any]
Demand = Mapping[str, Any]

LOWER = {"greater_than": False, "greater_than_or_equal_to": True, "in_range": None, "equal_to": True}
UPPER = {"less_than": False, "less_than_or_equal_to": True, "in_range": None, "equal_to": True}
WIDER_TYPES = {
    "Int8": {"Int16", "Int32", "Int64", "Int128", "Float32", "Float64"},
    "Int16": {"Int32", "Int64", "Int128", "Float32", "Float64"},
    "Int32": {"Int64", "Int128", "Float64"},
    "Int64": {"Int128"},
    "UInt8": {"UInt16", "UInt32", "UInt64", "Int16", "Int32", "Int64", "Int128", "Float32", "Float64"},
    "UInt16": {"UInt32", "UInt64", "Int32", "Int64", "Int128", "Float32", "Float64"},
    "UInt32": {"UInt64", "Int64", "Int128", "Float64"},
    "UInt64": {"Int128"},
    "Float32": {"Float64"},
}
UNDERSTOOD = ("missing", "units", "times", "true", "false", "spellings")  # more of them, more texts are understood
ENUM = re.compile(r"Enum\(categories=(?P<categories>\[.*\])\)", re.DOTALL)


def compare_contracts(old: Described, new: Described) -> Iterator[Change]:
    """Each difference between two described contracts, columns first, in the new contract's order.

    Args:
        old: The description of the former contract.
        new: The description of the later one.

    Yields:
        One change each: column, what changed, and whether the contract became narrower or wider.
    """
    before, after = old["columns"], new["columns"]
    for name, column in after.items():
        yield from _column(name, before[name], column) if name in before else _added(name, column)
    for name in before.keys() - after.keys():
        yield Change(effect="narrows", column=name, what="is gone: a delivery that still brings it is refused")
    yield from _key(old, new)
    yield from _checks(None, old["rows"], new["rows"])
    yield from _reader(old.get("reader", {}), new.get("reader", {}))


def _reader(old: Described, new: Described) -> Iterator[Change]:
    """How files are read: more texts that are understood widen it, of other facts it cannot be told."""
    yield from _facts(None, old, new)
    before, after = old.get("columns", {}), new.get("columns", {})
    for column in sorted(before.keys() | after.keys()):
        yield from _facts(column, before.get(column, {}), after.get(column, {}))


def _facts(column: str | None, old: Described, new: Described) -> Iterator[Change]:
    for name in sorted((old.keys() | new.keys()) - ({"columns"} if column is None else set())):
        if old.get(name) != new.get(name):
            yield _fact(column, name, old.get(name), new.get(name))


def _fact(column: str | None, name: str, old: Any, new: Any) -> Change:
    items = (
        [list(each.items()) if isinstance(each, Mapping) else list(each or ()) for each in (old, new)]
        if name in UNDERSTOOD
        else []
    )
    understood = bool(items) and all(each in items[1] for each in items[0])
    stated = [f"{name}={value!r}" if value is not None else f"{name} as usual" for value in (new, old)]
    return Change(
        effect="widens" if understood else "unclear", column=column, what=f"is read with {stated[0]}, was {stated[1]}"
    )


def _added(name: str, column: Described) -> Iterator[Change]:
    if not column["required"]:
        yield Change(effect="widens", column=name, what=f"new and optional, {column['dtype']}")
    else:
        yield Change(effect="narrows", column=name, what=f"new and required, {column['dtype']}: a delivery must bring it")


def _column(name: str, old: Described, new: Described) -> Iterator[Change]:
    if old["dtype"] != new["dtype"]:
        yield _retyped(name, old["dtype"], new["dtype"])
    for word, on, off, turned_on in (
        ("nullable", "may be null", "may no longer be null", "widens"),
        ("required", "must be there", "may be missing", "narrows"),
        ("unique", "must be unique", "may repeat", "narrows"),
    ):
        if old[word] != new[word]:
            effect: Effect = "widens" if (turned_on == "widens") == new[word] else "narrows"
            yield Change(effect=effect, column=name, what=on if new[word] else off)
    if old["known"] != new["known"]:
        yield Change(effect="neutral", column=name, what=f"is known {_when(new)}, not {_when(old)}")
    implied = () if "Float" in old["dtype"] else ("finite", "no_nan")  # a number that became a float
    yield from _checks(name, old["checks"], [demand for demand in new["checks"] if demand["name"] not in implied])


def _when(column: Described) -> str:
    words = {"outcome": "with the outcome", "confirm": "after a person has confirmed it"}
    return words.get(column["known"], str(column["known"]).replace("_", " "))


def _retyped(name: str, old: str, new: str) -> Change:
    before, after = ENUM.fullmatch(old), ENUM.fullmatch(new)
    if before and after:
        effect, what = _sets(literal_eval(before["categories"]), literal_eval(after["categories"]), "category")
        return Change(effect=effect, column=name, what=what or "its categories have another order")
    effect = "widens" if new in WIDER_TYPES.get(old, ()) else "narrows"
    return Change(effect=effect, column=name, what=f"is {new}, was {old}")


def _sets(old: Collection[Any], new: Collection[Any], word: str) -> tuple[Effect, str]:
    """The effect of allowing `new` instead of `old`."""
    dropped, come = [[v for v in a if v not in b] for a, b in ((old, new), (new, old))]
    phrases = [
        f"{verb} {_few(values)}" for verb, values in ((f"no {word} any more:", dropped), (f"new {word}:", come)) if values
    ]
    return ("narrows" if dropped else "widens" if come else "neutral"), "; ".join(phrases)


def _few(values: Collection[Any]) -> str:
    shown = ", ".join(map(str, list(values)[:5]))
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"


def _key(old: Described, new: Described) -> Iterator[Change]:
    before, after = set(old["unique"]), set(new["unique"])
    if before != after:
        what = f"the key is {_few(new['unique']) or 'gone'}, was {_few(old['unique']) or 'none'}"
        widens = not after or (bool(before) and before < after)
        narrows = not before or (bool(after) and after < before)
        yield Change(effect="widens" if widens else "narrows" if narrows else "unclear", what=what)
    if old["first_stays"] != new["first_stays"]:
        stays = new["first_stays"]
        what = "of a repeated key the first row stays" if stays else "of a repeated key every row is rejected"
        yield Change(effect="widens" if stays else "narrows", what=what)


def _checks(column: str | None, old: Collection[Demand], new: Collection[Demand]) -> Iterator[Change]:
    before, after = ([d for d in demands if not d.get("warns")] for demands in (old, new))
    for compared in (_interval, _allowed, _forbidden, _lengths):
        yield from compared(column, before, after)
    known = LOWER.keys() | UPPER.keys() | {"isin", "notin", "str_length"}
    rest = [[d for d in demands if d["name"] not in known] for demands in (before, after)]
    yield from _others(column, *rest)
    yield from _nulls(column, *([d for d in demands if d["name"] in known] for demands in (before, after)))


Bound = tuple[Any, bool] | None  # the value, and whether it is allowed itself


def _interval(column: str | None, old: Collection[Demand], new: Collection[Demand]) -> Iterator[Change]:
    for side, names, key, inclusive in (
        ("least", LOWER, "min_value", "include_min"),
        ("most", UPPER, "max_value", "include_max"),
    ):
        bounds = [_bound(demands, names, key, inclusive, side == "least") for demands in (old, new)]
        if bounds[0] != bounds[1]:
            effect = _tighter(bounds[0], bounds[1], side == "least")
            yield Change(effect=effect, column=column, what=f"{_limit(side, bounds[1])}, was {_limit(side, bounds[0])}")


def _bound(demands: Collection[Demand], names: Mapping[str, bool | None], key: str, inclusive: str, lower: bool) -> Bound:
    tightest: Bound = None
    for demand in demands:
        if demand["name"] in names:
            statistics = demand["statistics"]
            included = names[demand["name"]]
            bound = (
                statistics.get(key, statistics.get("value")),
                statistics.get(inclusive, True) if included is None else included,
            )
            if bound[0] is not None and (tightest is None or _tighter(tightest, bound, lower) == "narrows"):
                tightest = bound
    return tightest


def _tighter(old: Bound, new: Bound, lower: bool) -> Effect:
    """The effect of the bound `new` instead of `old`."""
    if old is None or new is None:
        return "narrows" if old is None else "widens"
    try:
        rises = new[0] > old[0]
    except TypeError:
        return "unclear"
    if new[0] == old[0]:
        return "widens" if new[1] else "narrows"
    return "narrows" if rises == lower else "widens"


def _limit(side: str, bound: Bound) -> str:
    if bound is None:
        return "without limit"
    return f"at {side} {bound[0]}" if bound[1] else f"{'more' if side == 'least' else 'less'} than {bound[0]}"


def _listed(demands: Collection[Demand], name: str, key: str) -> list[Any] | None:
    lists = [list(demand["statistics"].get(key) or ()) for demand in demands if demand["name"] == name]
    if not lists:
        return None
    return [value for value in lists[0] if all(value in other for other in lists[1:])]


def _allowed(column: str | None, old: Collection[Demand], new: Collection[Demand]) -> Iterator[Change]:
    before, after = (_listed(demands, "isin", "allowed_values") for demands in (old, new))
    if before is not None and after is not None:
        effect, what = _sets(before, after, "allowed value")
        if what:
            yield Change(effect=effect, column=column, what=what)
    elif before is not None:
        yield Change(effect="widens", column=column, what="may be anything, not only what was listed")
    elif after is not None:
        yield Change(effect="narrows", column=column, what=f"must be one of {_few(after)}")


def _forbidden(column: str | None, old: Collection[Demand], new: Collection[Demand]) -> Iterator[Change]:
    lists = ([d["statistics"].get("forbidden_values") or () for d in ds if d["name"] == "notin"] for ds in (old, new))
    before, after = ([value for listed in lists_of for value in listed] for lists_of in lists)
    if come := [value for value in after if value not in before]:
        yield Change(effect="narrows", column=column, what=f"may not be {_few(come)}")
    elif dropped := [value for value in before if value not in after]:
        yield Change(effect="widens", column=column, what=f"may be {_few(dropped)}")


def _lengths(column: str | None, old: Collection[Demand], new: Collection[Demand]) -> Iterator[Change]:
    for side, key in (("least", "min_value"), ("most", "max_value")):
        before, after = (_length(demands, key, side == "least") for demands in (old, new))
        if before != after:
            effect = _tighter(before, after, side == "least")
            yield Change(effect=effect, column=column, what=f"length {_limit(side, after)}, was {_limit(side, before)}")


def _length(demands: Collection[Demand], key: str, lower: bool) -> Bound:
    pick: Callable[[list[Any]], Any] = max if lower else min
    statistics = [demand["statistics"] for demand in demands if demand["name"] == "str_length"]
    lengths = [length for one in statistics for length in (one.get("exact_value"), one.get(key)) if length is not None]
    return (pick(lengths), True) if lengths else None


def _others(column: str | None, old: Collection[Demand], new: Collection[Demand]) -> Iterator[Change]:
    dropped, come = [demand for demand in old if demand not in new], [demand for demand in new if demand not in old]
    for demand in come:
        replaced = next((other for other in dropped if other["name"] == demand["name"]), None)
        if replaced is not None:
            dropped.remove(replaced)
            yield Change(
                effect="unclear", column=column, what=f"check {_describe_demand(demand)}, was {_describe_demand(replaced)}"
            )
        else:
            yield Change(effect="narrows", column=column, what=f"new check {_describe_demand(demand)}")
    for demand in dropped:
        yield Change(effect="widens", column=column, what=f"no check {_describe_demand(demand)} any more")


def _describe_demand(demand: Demand) -> str:
    shown = ", ".join(str(value) for value in demand["statistics"].values() if value is not None)
    return f"{demand['name']}({shown})" if shown else f"{demand['name']}"


def _nulls(column: str | None, old: Collection[Demand], new: Collection[Demand]) -> Iterator[Change]:
    before, after = (any(demand.get("nulls_fail") for demand in demands) for demands in (old, new))
    if before != after:
        yield Change(
            effect="narrows" if after else "widens", column=column, what=f"nulls {'fail' if after else 'pass'} its checks"
        )

"""What is held out of rows without event times: the newest delivered rows that no living version was fitted on.

One delivery alone is split by a hash of the key, in the same way at every training. From the second one on the newest
deliveries are held out, up to the use case's share; of a delivery that is larger a part, by the same hash. A model that
ships is fitted on all other rows, so that the holdout stays unseen until newer rows come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from schemas.errors import NotFound
from schemas.refs import DataRef, ModelRef, Sha256
from schemas.usecase import UseCase
from tasks import datasets
from tasks.registry import ModelRegistry
from tasks.versions import open_store

HELD_OUT = "held_out"  # in a manifest, of use cases without event times alone
Parts = tuple[tuple[Sha256, float], ...]


@dataclass(frozen=True)
class HeldOut:
    """Deliveries that are held out, each with the part of its rows, by a hash, from above 0 to 1; and the rows' hashes."""

    deliveries: Parts
    hashes: pl.Series


def choose_held_out(
    case: UseCase, registry: ModelRegistry, data: DataRef, versions: Iterable[ModelRef | None]
) -> HeldOut | None:
    """What a training at a commit holds out where rows have no event time.

    Args:
        case: The use case.
        registry: The model registry.
        data: Commit of the data, and the repository that it lies in.
        versions: The living versions, that must not have been fitted on it.

    Returns:
        The newest deliveries and their rows; None where rows have event times, or came in one delivery.
    """
    if case.time is not None:
        return None
    deliveries = datasets.labelled_deliveries(case, data)
    if len(deliveries) < 2:
        return None
    seen = [_unseen_parts(case, registry, version, data) for version in dict.fromkeys(versions) if version]
    room = case.split.holdout_share * sum(map(len, deliveries.values()))
    chosen: list[tuple[Sha256, float]] = []
    for source, hashes in deliveries.items():
        part = min((parts.get(source, 1.0) for parts in seen), default=1.0)
        rows = len(_part(hashes, part))
        if not source or not rows or room < 1:
            continue
        chosen.append((source, part * min(1.0, room / rows)))
        room -= rows
    return HeldOut(tuple(chosen), _hashes(deliveries, chosen))


def recorded_held_out(case: UseCase, data: DataRef, made_from: Mapping[str, Any]) -> HeldOut | None:
    """What a version held out, as its manifest says; None where that was a part of the keys, or the newest days.

    Args:
        case: The use case.
        data: The version's commit, and the repository that it lies in.
        made_from: The manifest.

    Returns:
        The deliveries and their rows.
    """
    recorded = (made_from.get(HELD_OUT) or {}).get("deliveries")
    if recorded is None:
        return None
    parts = tuple((str(source), float(part)) for source, part in recorded)
    return HeldOut(parts, _hashes(datasets.labelled_deliveries(case, data), parts))


def describe_held_out(case: UseCase, held: HeldOut | None) -> dict[str, Any] | None:
    """What a manifest says of the rows that were held out.

    Args:
        case: The use case.
        held: The deliveries that were held out; None where a share of the keys was.

    Returns:
        `deliveries` or `hash_share`; None where rows have event times, which say it themselves.
    """
    if case.time is not None:
        return None
    return {"deliveries": [list(each) for each in held.deliveries]} if held else {"hash_share": case.split.holdout_share}


def _unseen_parts(case: UseCase, registry: ModelRegistry, version: ModelRef, data: DataRef) -> Mapping[Sha256, float]:
    """The part of each delivery that a version was not fitted on; of one that it does not name all."""
    made_from = registry.document(version, "manifest")
    recorded = made_from.get(HELD_OUT) or {"hash_share": case.split.holdout_share if made_from.get("split") else 0.0}
    try:
        sources = datasets.delivered_sources(open_store(data.store), made_from["data_commit"], case)
    except NotFound:  # fitted in a repository of another history: nothing is surely unseen
        sources = datasets.delivered_sources(open_store(data.store), data.commit, case)
    parts = dict.fromkeys(sources, recorded.get("hash_share", 0.0))
    return parts | dict(recorded.get("deliveries", ()))


def _part(hashes: pl.Series, part: float) -> pl.Series:
    """The hashes that a split by the key would hold out for such a share."""
    return hashes if part >= 1 else hashes.filter(hashes / 2.0**64 < part)


def _hashes(deliveries: Mapping[Sha256, pl.Series], parts: Sequence[tuple[Sha256, float]]) -> pl.Series:
    """Hashes of the rows held out, without those of rows that equal one which is fitted on."""
    empty = pl.Series("hash", [], dtype=pl.UInt64)
    held = pl.concat([empty, *(_part(deliveries[source], part) for source, part in parts if source in deliveries)])
    everywhere = pl.concat([empty, *deliveries.values()]).to_frame().group_by("hash").len("all")
    counted = held.to_frame().group_by("hash").len("held").join(everywhere, on="hash", how="left")
    return counted.filter(pl.col("held") == pl.col("all"))["hash"].sort()

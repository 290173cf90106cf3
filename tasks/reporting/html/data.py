"""What a report tells, gathered from the data's history, the record of monitoring and the registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from schemas.errors import NotFound
from schemas.refs import ModelRef
from schemas.results import Monitoring
from schemas.usecase import UseCase
from tasks import monitoring
from tasks.datasets import PublishRecord, live_publishes
from tasks.registry import OVERRIDE, STATE, WHY, ModelRegistry, optional_document
from tasks.versions import VersionStore

OUTCOMES: Mapping[str, Literal["promoted", "refused"]] = {
    "champion": "promoted",
    "archived": "promoted",
    "refused": "refused",
    "superseded": "refused",
}


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One published source that was not retracted."""

    input: str
    name: str
    at: datetime | None  # newest event time that it brought
    accepted: int
    rejected: int
    redelivered: int


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One version that the gate has judged; `at` is the newest event time that it was judged on."""

    version: int
    outcome: Literal["promoted", "refused"]
    why: str
    at: datetime | None
    rows: int


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is stored with the champion."""

    model: ModelRef
    tags: Mapping[str, str]
    manifest: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    verdict: Mapping[str, Any]
    importances: Mapping[str, float]
    level: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Story:
    """All that a page is made from. `windows` holds each window's newest record, `records` every one, oldest first."""

    case: UseCase
    deliveries: tuple[Delivery, ...]
    windows: tuple[Monitoring, ...]
    records: tuple[Monitoring, ...]
    trained: tuple[Trained, ...]
    card: Card | None


def gather_report(case: UseCase, store: VersionStore, log: VersionStore, registry: ModelRegistry) -> Story:
    """The story so far.

    Args:
        case: The use case.
        store: The repository with the use case's data.
        log: The use case's log repository.
        registry: The model registry.

    Returns:
        Deliveries, windows, trainings and the champion's card.

    Raises:
        NotFound: Nothing was published yet.
    """
    if not store.exists():
        raise NotFound(f"{case.name} has no data yet; ingest some first: penstock ingest {case.name} FILE")
    records = monitoring.read_monitoring_log(log)
    champion = registry.champion(case.name)
    return Story(
        case=case,
        deliveries=tuple(_delivery(record) for record in live_publishes(store))[::-1],
        windows=tuple(monitoring.newest_by_window(records)),
        records=tuple(records),
        trained=tuple(_trained(registry, registry.versions(case.name))),
        card=_card(registry, champion) if champion else None,
    )


def _delivery(record: PublishRecord) -> Delivery:
    return Delivery(
        input=record.input,
        name=record.source,
        at=record.watermark,
        accepted=record.accepted,
        rejected=record.rejected,
        redelivered=record.redelivered,
    )


def _trained(registry: ModelRegistry, versions: Iterable[ModelRef]) -> Iterable[Trained]:
    for ref in versions:
        tags = registry.tags(ref)
        outcome = OUTCOMES.get(tags.get(STATE, ""))
        if outcome is None:
            continue
        judged = document(registry, ref, "verdict") or document(registry, ref, "evaluation")
        at = (judged.get("window") or (None, None))[1]
        why = tags.get(OVERRIDE) or tags.get(WHY, "")
        yield Trained(version=ref.version, outcome=outcome, why=why, at=_time(at), rows=judged.get("rows", 0))


def _card(registry: ModelRegistry, champion: ModelRef) -> Card:
    return Card(
        model=champion,
        tags=registry.tags(champion),
        manifest=document(registry, champion, "manifest"),
        evaluation=document(registry, champion, "evaluation"),
        verdict=document(registry, champion, "verdict"),
        importances=document(registry, champion, "importances").get("gain", {}),
        level=document(registry, champion, "estimator").get("level"),
    )


def document(registry: ModelRegistry, ref: ModelRef, name: str) -> Mapping[str, Any]:
    """A document of a version; empty where it has none: versions of earlier releases have fewer."""
    content: Mapping[str, Any] = optional_document(registry, ref, name) or {}
    return content


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

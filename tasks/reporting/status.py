"""Where a use case stands: champion, watermarks, the last publish, branches left open, and how many labels have come."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from schemas.errors import NotFound
from schemas.refs import CommitId, DataRef, ModelRef, Value
from schemas.usecase import UseCase
from tasks import datasets, features, inference, monitoring
from tasks.datasets import PublishRecord
from tasks.registry import WHY, ModelRegistry
from tasks.versions import MAIN, VersionStore


class LastPublish(Value):
    """The newest publish that was not retracted."""

    source: str
    input: str
    commit: CommitId
    time: datetime
    accepted: int = Field(ge=0, description="rows")
    rejected: int = Field(ge=0, description="rows")


class UseCaseStatus(Value):
    """What a person on call asks first."""

    use_case: str
    champion: ModelRef | None
    champion_why: str = ""
    champion_fitted_until: datetime | None = None
    challenger: ModelRef | None = None
    watermarks: Mapping[str, datetime | None] = Field(
        default={}, description="newest published event time, by input; of those whose rows have one"
    )
    last_publish: LastPublish | None = None
    branches: tuple[str, ...] = Field(default=(), description="branches of the lake that are not merged")
    scored: int = Field(default=0, ge=0, description="rows of the newest scoring")
    coverage: float | None = Field(default=None, description="share of them that have a label; None without a scoring")


def use_case_status(case: UseCase, store: VersionStore, log: VersionStore, registry: ModelRegistry) -> UseCaseStatus:
    """Where a use case stands. Nothing is changed.

    Args:
        case: The use case.
        store: The repository with the use case's data.
        log: The use case's log repository.
        registry: The model registry.

    Returns:
        Champion, watermarks, newest publish, open branches, and how many labels have come.
    """
    champion = registry.champion(case.name)
    tags = registry.tags(champion) if champion else {}
    until = tags.get("fitted_until")  # a tag is text: "None" where the manifest says nothing
    base = UseCaseStatus(
        use_case=case.name,
        champion=champion,
        champion_why=tags.get(WHY, ""),
        champion_fitted_until=datetime.fromisoformat(until) if until and until != "None" else None,
        challenger=registry.challenger(case.name),
    )
    if not store.exists():
        return base
    records = list(datasets.publish_log(store))
    scored, coverage = label_coverage(case, store, log, {record.commit.id for record in records if not record.live})
    return base.model_copy(
        update={
            **_live(case, [record for record in records if record.live]),
            "branches": tuple(name for name in store.branches() if name != MAIN),
            "scored": scored,
            "coverage": coverage,
        }
    )


def _live(case: UseCase, records: Sequence[PublishRecord]) -> dict[str, Any]:
    """How far each input has come, and the last publish, of records that are live, newest first."""
    watermarks = datasets.watermarks(records)
    return {
        "watermarks": {spec.name: watermarks.get(spec.name) for spec in case.inputs if spec.time},
        "last_publish": _last_publish(records[0]) if records else None,
    }


def _last_publish(record: PublishRecord) -> LastPublish:
    return LastPublish(
        source=record.source,
        input=record.input,
        commit=record.commit.id,
        time=record.commit.time,
        accepted=record.accepted,
        rejected=record.rejected,
    )


def label_coverage(
    case: UseCase, store: VersionStore, log: VersionStore, retracted: Collection[CommitId]
) -> tuple[int, float | None]:
    """Rows of the newest scoring whose arrival was not retracted, and the share of them whose label has come."""
    entry = monitoring.find_predictions(log, None, retracted)
    if entry is None:
        return 0, None
    predicted = inference.published_predictions(log, entry)
    if not set(case.key) <= set(predicted.collect_schema()):  # a part of the key is private
        return int(entry.metadata["rows"]), None
    scored = predicted.select(list(case.key)).collect()
    try:
        labels = features.newest_labels(case, datasets.load_labels(case, DataRef(store=store.url, commit=store.head(MAIN))))
    except NotFound:
        return scored.height, 0.0
    labelled = scored.join(labels, on=list(case.key), how="semi").height
    return scored.height, labelled / scored.height if scored.height else None

"""Progress of long flows, as an artifact that the dashboard draws while they run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from prefect.artifacts import create_progress_artifact, update_progress_artifact

T = TypeVar("T")


def followed(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, one by one, and how far that is of `total`: an item is done once the next is asked for."""
    artifact = create_progress_artifact(0.0, description=what)
    for number, item in enumerate(items, 1):
        yield item
        update_progress_artifact(artifact, progress=min(100.0, 100.0 * number / total))  # type: ignore[arg-type]

"""Progress of long flows, as an artifact that the dashboard draws while they run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.events import emit_event

T = TypeVar("T")


def track_progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, one by one, and how far that is of `total`: an item is done once the next is asked for.

    Args:
        items: What there is to do.
        total: How many items there are.
        what: What the dashboard calls it.

    Yields:
        Each item.
    """
    artifact = create_progress_artifact(0.0, description=what)
    for number, item in enumerate(items, 1):
        yield item
        update_progress_artifact(artifact, progress=min(100.0, 100.0 * number / total))  # type: ignore[arg-type]


def emit(event: str, use_case: str, payload: Mapping[str, Any]) -> None:
    """Emit the event `penstock.<event>` with the use case as its resource.

    Args:
        event: Name of the event after `penstock.`.
        use_case: Name of the use case.
        payload: What the event carries; JSON must hold it.
    """
    resource = {"prefect.resource.id": f"penstock.use-case.{use_case}", "prefect.resource.name": use_case}
    emit_event(f"penstock.{event}", resource=resource, payload=dict(payload))


def create_page(kind: str, use_case: str, page: str, description: str) -> None:
    """Keep a page with the flow run; pages of one kind and use case form a history in the dashboard.

    Args:
        kind: What it is about, like `audit`.
        use_case: Name of the use case.
        page: Markdown.
        description: One line for the list of pages.
    """
    create_markdown_artifact(page, key=f"{kind}-{use_case}", description=description)

"""Documents that a version may lack."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from schemas.errors import NotFound
from schemas.refs import ModelRef
from tasks.registry.protocol import ModelRegistry


def optional_document(registry: ModelRegistry, model: ModelRef, name: str) -> Any:
    """A document of a version, where it has one: versions of earlier releases have fewer.

    Args:
        registry: The model registry.
        model: The version.
        name: The document's name, such as "estimator".

    Returns:
        Its content, or None.

    Raises:
        IntegrityError: It is not as it was recorded.
    """
    return present_documents(registry, model, [name]).get(name)


def present_documents(registry: ModelRegistry, model: ModelRef, names: Iterable[str]) -> dict[str, Any]:
    """Those of some documents that a version has.

    Args:
        registry: The model registry.
        model: The version.
        names: The documents' names.

    Returns:
        Content by name.

    Raises:
        IntegrityError: One is not as it was recorded.
    """
    documents = {}
    for name in names:
        with suppress(NotFound):
            documents[name] = registry.document(model, name)
    return documents

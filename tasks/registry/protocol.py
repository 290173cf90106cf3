"""What a model registry offers. The champion's alias moves nowhere but in `promote`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from schemas.refs import ModelRef
from schemas.verdicts import Evaluation, GateVerdict

CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A fitted model and all that is stored with it.

    `manifest` says what it was made from; its canonical JSON, hashed, names the candidate: the same manifest is registered
    once. `documents` are further JSON documents (evaluation, reference, ...) by file name without suffix.
    """

    name: str
    model: bytes
    manifest: Mapping[str, Any]
    evaluation: Evaluation
    golden: bytes
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, Any] = field(default_factory=dict)
    input_dtypes: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class ModelRegistry(Protocol):
    """Registered versions of models. Raises ServiceUnavailable where the registry does not answer."""

    @property
    def url(self) -> str:
        """The URL that `open_registry` takes to open the same registry."""
        ...

    def record(self, candidate: Candidate) -> ModelRef:
        """Register a candidate, once per manifest: a second call finds the first version. Sets the challenger alias."""
        ...

    def champion(self, name: str) -> ModelRef | None:
        """The champion, or None."""
        ...

    def challenger(self, name: str) -> ModelRef | None:
        """The challenger, or None."""
        ...

    def version(self, name: str, version: int) -> ModelRef:
        """One version. Raises NotFound."""
        ...

    def versions(self, name: str) -> list[ModelRef]:
        """All versions, oldest first."""
        ...

    def tags(self, ref: ModelRef) -> dict[str, str]:
        """Tags of a version: lineage and state."""
        ...

    def model_bytes(self, ref: ModelRef) -> bytes:
        """The model, hash-checked before anything reads it. Raises IntegrityError."""
        ...

    def document(self, ref: ModelRef, name: str) -> Any:
        """A JSON document stored with a version. Raises NotFound, IntegrityError."""
        ...

    def golden(self, ref: ModelRef) -> bytes:
        """Golden rows with their expected scores, as Parquet, hash-checked."""
        ...

    def promote(self, ref: ModelRef, verdict: GateVerdict, *, expected: ModelRef | None) -> bool:
        """Make a version champion if the verdict says so and the champion still is `expected`.

        The verdict is stored with the version either way; the challenger alias goes. Returns whether the alias moved;
        False too where the version is champion already. Raises StaleCheck where the champion is not `expected`.
        """
        ...


@lru_cache(maxsize=16)
def open_registry(url: str) -> ModelRegistry:
    """The registry at that URL, one client per process and URL. The adapter is imported only when first used."""
    from tasks.registry.mlflow_store import MlflowRegistry

    return MlflowRegistry(url)

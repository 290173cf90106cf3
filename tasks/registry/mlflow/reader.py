"""What is registered, read: versions by alias or number, and their files, each checked against its recorded hash."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from schemas.errors import IntegrityError, NotFound
from schemas.history import Move
from schemas.refs import ModelRef, Sha256
from tasks.registry import artifacts
from tasks.registry.location import locate
from tasks.registry.mlflow.reads import RegistryReads
from tasks.registry.protocol import CHALLENGER, CHAMPION
from tasks.registry.pyfunc_model import MODEL as MODEL_FILE
from tasks.registry.tags import CARD, MODEL, MOVE, RECORD, VERDICT

if TYPE_CHECKING:
    from tasks.registry.mlflow.client import MlflowStore


class Reader:
    """The part of a ModelRegistry that changes nothing. `timeout`: s for one request; `attempts`: how often it is tried."""

    def __init__(self, url: str, *, timeout: int = 15, attempts: int = 3) -> None:
        self._at = locate(url)
        self._timeout, self._attempts = timeout, attempts
        self._reads = RegistryReads(self._at, lambda: self._store)

    @cached_property
    def _store(self) -> MlflowStore:
        """MLflow's client; most of what only reads a local registry never needs it."""
        from tasks.registry.mlflow.client import MlflowStore

        return MlflowStore(self._at, timeout=self._timeout, attempts=self._attempts)

    @property
    def url(self) -> str:
        """The registry's URL; a local one's with its absolute path."""
        return self._at.url

    def champion(self, name: str) -> ModelRef | None:
        """The champion, or None."""
        return self._named(name, CHAMPION)

    def challenger(self, name: str) -> ModelRef | None:
        """The challenger, or None."""
        return self._named(name, CHALLENGER)

    def version(self, name: str, version: int) -> ModelRef:
        """One version. Raises NotFound."""
        return self._ref(self._reads.entry(name, version))

    def versions(self, name: str) -> list[ModelRef]:
        """All versions that Penstock recorded, oldest first."""
        return [self._ref(entry) for entry in self._reads.search(name) if MODEL in entry.tags]

    def tags(self, ref: ModelRef) -> dict[str, str]:
        """Tags of a version: lineage and state."""
        return dict(self._entry(ref).tags)

    def model_bytes(self, ref: ModelRef) -> bytes:
        """The model, checked together with all that MLflow would import beside it; nothing is imported here."""
        entry = self._entry(ref)
        hashes = self._hashes(entry)
        if hashes.get(MODEL_FILE) != ref.sha256:
            raise IntegrityError(f"{shown(ref)} is not the model with SHA-256 {ref.sha256[:12]} any more: look it up again")
        for path in hashes:
            if path == artifacts.MLMODEL or path.startswith(f"{artifacts.CODE}/"):
                self._checked(entry, hashes, path)
        return self._checked(entry, hashes, MODEL_FILE)

    def document(self, ref: ModelRef, name: str) -> Any:
        """A JSON document stored with a version; `verdict` is what the gate said last. Raises NotFound, IntegrityError."""
        entry = self._entry(ref)
        if name == "verdict" and (digest := entry.tags.get(VERDICT)):
            path = artifacts.verdict_path(digest)
            return artifacts.unwrapped(self._checked(entry, {path: digest}, path))
        return artifacts.unwrapped(self._checked(entry, self._hashes(entry), artifacts.document_path(name)))

    def golden(self, ref: ModelRef) -> bytes:
        """Golden rows with their expected scores, as Parquet, hash-checked."""
        entry = self._entry(ref)
        return self._checked(entry, self._hashes(entry), artifacts.GOLDEN)

    def verdict(self, ref: ModelRef, sha256: Sha256) -> Any:
        """A verdict stored with a version, by its hash. Raises IntegrityError, also where it is gone."""
        path = artifacts.verdict_path(sha256)
        return artifacts.unwrapped(self._checked(self._entry(ref), {path: sha256}, path))

    def intended(self, ref: ModelRef) -> Move | None:
        """The last move that made, or was about to make, a version champion."""
        recorded = self._entry(ref).tags.get(MOVE)
        return Move.model_validate_json(recorded) if recorded else None

    def card(self, ref: ModelRef, suffix: str) -> bytes | None:
        """A version's card, hash-checked; None where there is none."""
        entry = self._entry(ref)
        digest = entry.tags.get(CARD + suffix)
        path = artifacts.card_path(digest or "", suffix)
        return self._checked(entry, {path: digest}, path) if digest else None

    def _named(self, name: str, alias: str) -> ModelRef | None:
        version = self._reads.aliases(name).get(alias)
        return None if version is None else self.version(name, version)

    def _entry(self, ref: ModelRef) -> Any:
        return self._reads.entry(ref.name, ref.version)

    def _ref(self, entry: Any) -> ModelRef:
        if MODEL not in entry.tags:
            raise IntegrityError(f"{entry.name} {entry.version} was not recorded by Penstock: it has no tag {MODEL}")
        return ModelRef(
            registry=self.url,
            name=entry.name,
            version=int(entry.version),
            sha256=entry.tags[MODEL],
            run_id=entry.run_id,
        )

    def _hashes(self, entry: Any) -> dict[str, str]:
        expected = entry.tags.get(RECORD, "")
        data = self._checked(entry, {artifacts.RECORD: expected}, artifacts.RECORD)
        return artifacts.recorded(data)

    def _checked(self, entry: Any, hashes: Mapping[str, str], path: str) -> bytes:
        what = f"{path} of {entry.name} {entry.version}"
        if path not in hashes:
            raise NotFound(f"there is no {what}; stored are {', '.join(sorted(hashes))}")
        try:
            data = self._reads.read(entry.source, path)
        except NotFound:
            raise IntegrityError(f"{what} is gone from {entry.source}: restore it from a backup") from None
        return artifacts.checked(data, hashes[path], what)


def shown(ref: ModelRef | None) -> str:
    """A version in a sentence."""
    return "none" if ref is None else f"{ref.name} {ref.version}"

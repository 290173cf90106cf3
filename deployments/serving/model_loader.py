"""A model that may answer: verified by hash, tried in a child process, checked against the frame path, with its papers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from schemas.errors import IntegrityError, NotFound
from schemas.refs import ModelRef
from schemas.usecase import UseCase
from tasks import models
from tasks.inference.online import Prepared, Scorer, Tables
from tasks.registry import OVERRIDE, WHY, ModelRegistry

REMEMBERED = 4
DOCUMENTS = ("manifest", "evaluation", "verdict")


@dataclass(frozen=True)
class Package:
    """What the registry holds of one version, hash-checked: enough to serve it, here or from the local cache."""

    ref: ModelRef
    model: bytes
    golden: bytes
    documents: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Deployed:
    """One verified model with the tables that complete its rows. Replaced as a whole, never changed."""

    package: Package
    scorer: Scorer
    tables: Tables
    receipt_fields: Mapping[str, Any]
    since: datetime

    @property
    def ref(self) -> ModelRef:
        """The version that answers."""
        return self.package.ref


def fetch(registry: ModelRegistry, ref: ModelRef) -> Package:
    """A version from the registry. Raises IntegrityError, ServiceUnavailable, NotFound."""
    model, golden = registry.model_bytes(ref), registry.golden(ref)
    documents = {}
    for name in DOCUMENTS:
        try:
            documents[name] = registry.document(ref, name)
        except NotFound:
            continue
    tags = registry.tags(ref)
    documents["approval"] = {"why": tags.get(OVERRIDE) or tags.get(WHY, "")}
    return Package(ref, model, golden, documents)


class Verifier:
    """Makes models ready to answer, and remembers the last few that it has verified by what they are."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._verified: dict[tuple[str, str], Scorer] = {}

    def deploy(self, package: Package, tables: Tables, lookups: str, sample: pl.DataFrame) -> Deployed:
        """Verify a model and make it ready. Raises IntegrityError where anything is not as it was recorded."""
        digest = hashlib.sha256(package.model).hexdigest()
        if digest != package.ref.sha256:
            raise IntegrityError(
                f"the bytes of {shown(package.ref)} have SHA-256 {digest[:12]}, not {package.ref.sha256[:12]}"
            )
        what = (digest, hashlib.sha256(package.golden).hexdigest())
        scorer = self._verified.pop(what, None) or self._tried(package, tables, sample)
        self._verified = dict([*self._verified.items(), (what, scorer)][-REMEMBERED:])
        return Deployed(
            package, scorer, tables, receipt_fields(self._prepared.use_case, package, lookups), datetime.now(UTC)
        )

    def _tried(self, package: Package, tables: Tables, sample: pl.DataFrame) -> Scorer:
        models.run_smoke_test(package.model, package.golden, self._prepared.use_case)
        scorer = Scorer(self._prepared, package.model)
        scorer.check(package.golden, sample, tables)
        return scorer


def receipt_fields(use_case: UseCase, package: Package, lookups: str) -> dict[str, Any]:
    """What every receipt says of the model."""
    manifest = package.documents.get("manifest", {})
    return {
        "model_name": package.ref.name,
        "model_version": package.ref.version,
        "model_sha256": package.ref.sha256,
        "data_commit": str(manifest.get("data_commit", "")),
        "lookups": lookups,
        "contract_version": use_case.input(use_case.rows).contract.version(),
        "flow_run": str(manifest.get("flow_run", "")),
    }


def shown(ref: ModelRef) -> str:
    """A version as a person names it."""
    return f"{ref.name} v{ref.version}"

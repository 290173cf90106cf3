"""A model that may answer: verified by hash, tried in a child process, checked against the frame path, with its papers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import polars as pl

from deployments.serving import responses
from deployments.serving.lookup_loader import commits
from deployments.serving.version_design import version_case
from schemas.errors import IntegrityError
from schemas.model_design import DOCUMENT, Design, design_digest
from schemas.refs import ModelRef
from schemas.usecase import UseCase
from tasks import models
from tasks.inference.online import Prepared, Scorer, Tables, prepare_version
from tasks.registry import OVERRIDE, WHY, ModelRegistry, present_documents

REMEMBERED = 4
DOCUMENTS = ("manifest", "evaluation", "verdict", DOCUMENT)


@dataclass(frozen=True)
class Package:
    """What the registry holds of one version, hash-checked: enough to serve it, here or from the local cache."""

    ref: ModelRef
    model: bytes
    golden: bytes
    documents: Mapping[str, Any] = field(default_factory=dict)

    @property
    def design(self) -> Design | None:
        """The version's own design; None for a version of an earlier release."""
        return self.documents.get(DOCUMENT)


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

    @property
    def use_case(self) -> UseCase:
        """The use case as the version has it: features, lookups, threshold and words."""
        return self.scorer.prepared.use_case

    @cached_property
    def build_response(self) -> responses.BuildResponse:
        """From scores to an answer in the version's words."""
        return responses.response_builder(self.use_case)


def fetch(registry: ModelRegistry, ref: ModelRef) -> Package:
    """A version from the registry. Raises IntegrityError, ServiceUnavailable, NotFound."""
    model, golden = registry.model_bytes(ref), registry.golden(ref)
    documents = present_documents(registry, ref, DOCUMENTS)
    tags = registry.tags(ref)
    documents["approval"] = {"why": tags.get(OVERRIDE) or tags.get(WHY, "")}
    return Package(ref, model, golden, documents)


class Verifier:
    """Makes models ready to answer, and remembers the last few that it has verified by what they are.

    `prepared` says how the server takes rows; `contract_version` is that of the contract by which it judges them.
    """

    def __init__(self, prepared: Prepared, contract_version: str) -> None:
        self._prepared, self._contract_version = prepared, contract_version
        self._verified: dict[tuple[str, ...], Scorer] = {}

    def case_of(self, package: Package) -> UseCase:
        """The use case as a version has it. Raises UsageError where it cannot be served by this server."""
        return version_case(self._prepared.use_case, package.design, shown(package.ref))

    def deploy(self, package: Package, case: UseCase, tables: Tables, sample: pl.DataFrame) -> Deployed:
        """Verify a model and make it ready. Raises IntegrityError where anything is not as it was recorded."""
        digest = hashlib.sha256(package.model).hexdigest()
        if digest != package.ref.sha256:
            raise IntegrityError(
                f"the bytes of {shown(package.ref)} have SHA-256 {digest[:12]}, not {package.ref.sha256[:12]}"
            )
        design = design_digest(package.design) if package.design else ""
        what = (digest, hashlib.sha256(package.golden).hexdigest(), design)
        scorer = self._verified.pop(what, None) or self._tried(package, case, tables, sample)
        self._verified = dict([*self._verified.items(), (what, scorer)][-REMEMBERED:])
        fields = receipt_fields(package, tables, self._contract_version)
        return Deployed(package, scorer, tables, fields, datetime.now(UTC))

    def renewed(self, deployed: Deployed, tables: Tables) -> Deployed:
        """A model that answers, with newer tables."""
        fields = receipt_fields(deployed.package, tables, self._contract_version)
        return replace(deployed, tables=tables, receipt_fields=fields)

    def _tried(self, package: Package, case: UseCase, tables: Tables, sample: pl.DataFrame) -> Scorer:
        models.run_smoke_test(package.model, package.golden, case)
        scorer = Scorer(prepare_version(self._prepared, case), package.model)
        scorer.check(package.golden, sample, tables)
        return scorer


def receipt_fields(package: Package, tables: Tables, contract_version: str) -> dict[str, Any]:
    """What every receipt says of the model."""
    manifest = package.documents.get("manifest", {})
    return {
        "model_name": package.ref.name,
        "model_version": package.ref.version,
        "model_sha256": package.ref.sha256,
        "data_commit": str(manifest.get("data_commit", "")),
        "lookups": commits(tables),
        "contract_version": contract_version,
        "flow_run": str(manifest.get("flow_run", "")),
    }


def shown(ref: ModelRef) -> str:
    """A version as a person names it."""
    return f"{ref.name} v{ref.version}"

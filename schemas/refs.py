"""Frozen values that travel between tasks instead of frames and clients."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Sha256 = str
CommitId = str


class Value(BaseModel):
    """Base of all values: frozen, no unknown fields, never NaN from JSON by accident."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class DataRef(Value):
    """Data at rest: a repository at an immutable commit."""

    store: str = Field(description="URL of the repository, file://... or lakefs://...")
    commit: CommitId


class StoredObject(Value):
    """One object of a repository at some ref."""

    path: str
    sha256: Sha256
    size: int = Field(ge=0, description="bytes")
    metadata: Mapping[str, str] = {}


class Commit(Value):
    """One commit of a repository."""

    id: CommitId
    parents: tuple[CommitId, ...]
    message: str
    metadata: Mapping[str, str]
    time: datetime


class Change(Value):
    """One path that differs between two refs."""

    path: str
    kind: Literal["added", "removed", "changed"]


class Guard(Value):
    """What a merge relies on: under `prefixes`, the destination is still as it was at `commit`."""

    commit: CommitId
    prefixes: tuple[str, ...]


class ModelRef(Value):
    """One registered model version."""

    registry: str = Field(description="URL of the registry")
    name: str
    version: int = Field(ge=1)
    sha256: Sha256 = Field(description="of the model's bytes")
    run_id: str


class Source(Value):
    """One delivery: a file (or a frame written to one), named and hashed before it is parsed."""

    path: str
    name: str
    sha256: Sha256
    size: int = Field(ge=0, description="bytes")

"""Where a prediction comes from: the way back to the source files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from schemas.refs import CommitId, ModelRef, Sha256, Value


class TracedSource(Value):
    """One source file whose rows were at hand when a model was trained, and what was rejected of it."""

    input: str
    name: str
    sha256: Sha256
    commit: CommitId
    rows: int = Field(ge=0)
    accepted: int = Field(ge=0)
    rejected: int = Field(ge=0)
    reasons: Mapping[str, int] = Field(default={}, description="failed check -> rejected rows, the most frequent first")
    flow_run: str = ""


class Trace(Value):
    """From a prediction to the files that its model was trained on."""

    use_case: str
    prediction_id: str
    receipt: Mapping[str, Any] = Field(description="all that was recorded with the prediction")
    lies_in: str = Field(description="path in the log repository, or the journal it still lies in")
    model: ModelRef
    state: str = Field(description="what became of the version: champion, archived, ...")
    approved: str = Field(description="why it was let through, in the gate's words or a person's")
    manifest: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    verdict: Mapping[str, Any] | None = None
    training_commit: CommitId
    sources: tuple[TracedSource, ...]

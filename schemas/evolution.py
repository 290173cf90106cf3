"""What became of a contract: how two versions of it differ, and which published rows a version would reject."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.refs import CommitId, Value
from schemas.verdicts import Reason

Effect = Literal["widens", "narrows", "unclear", "neutral"]


class Change(Value):
    """One difference between two versions. `unclear`: both demand something, and which demands more cannot be told."""

    effect: Effect
    column: str | None = Field(default=None, description="None: the key, or a check of whole rows")
    what: str = Field(description="one phrase")


class Evolution(Value):
    """How the contract of one input differs from the one that published rows were audited with."""

    input: str
    status: Literal["new", "same", "compatible", "narrower", "unknown"] = Field(
        description="new: nothing was published, nothing can be refused; unknown: the old contract is not recorded"
    )
    why: str = Field(description="one sentence")
    old: str | None = Field(default=None, description="version")
    new: str = Field(description="version")
    commit: CommitId | None = Field(default=None, description="the newest publish with the old version")
    changes: tuple[Change, ...] = ()


class Recheck(Value):
    """What a contract says about an input's published rows at one commit. `files` are those with failing rows."""

    input: str
    contract_version: str
    commit: CommitId
    rows: int = Field(ge=0)
    failing: int = Field(ge=0)
    read: int = Field(ge=0, description="files that were read")
    files: tuple[tuple[str, int], ...] = Field(default=(), description="path and failing rows, the most first")
    reasons: tuple[Reason, ...] = ()
    why: str = Field(description="one sentence")
